"""What the result of a backup says of encrypted directories, and of what did not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.disk.attributed import Collected
from volflow.disk.filesystem import FileSystem
from volflow.repositories.manifest import Manifest, Region
from volflow.tasks import attributes
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work


def manifest(count: int) -> Manifest:
    regions = [Region(f"regions/{n}", 2**30, FileSystem("ext4", "")) for n in range(count)]
    return Manifest("run", {}, {}, {}, {}, {}, tuple(regions))


@pytest.fixture
def work(state: State, cloud: FakeClient) -> Work:
    return work_of(state, cloud, cloud.put())


def test_encrypted_directories_are_told_in_one_line(work: Work) -> None:
    found = [Collected(encrypted=tuple(f"home/{n}" for n in range(2000)))]
    attributes.tell_left_out(work, manifest(1), found)
    said = str(Remark.ENCRYPTED.read(work))
    assert "fscrypt" in said
    assert "/home/4 and 1,995 more" in said
    assert "\n" not in said


def test_encrypted_directories_count_as_unread_directories() -> None:
    found = [Collected(encrypted=("a",)), Collected(encrypted=("b/c",))]
    assert attributes.unread(manifest(2), found) == ("/0/a/", "/1/b/c/")
    assert attributes.unread(manifest(1), found[:1]) == ("/a/",)


def test_an_image_has_no_file_of_attributes() -> None:
    image = Region("regions/1.img", 512, None)
    assert attributes.files([*manifest(1).regions, image]) == [Path("attributes/0")]
    assert attributes.collected(cast(Any, None), [image])[1] == (Collected(),)


def test_what_did_not_fit_into_memory_is_counted(work: Work) -> None:
    found = [Collected(left_out={"births": 3_000_000, "flags": 7}), Collected()]
    attributes.tell_left_out(work, manifest(2), found)
    said = str(Remark.ATTRIBUTES.read(work))
    assert "the birth times of 3,000,000 files and flags and project ids of 7 files" in said


def test_nothing_is_told_of_a_backup_that_has_everything(work: Work) -> None:
    attributes.tell_left_out(work, manifest(1), [Collected()])
    assert (Remark.ENCRYPTED.read(work), Remark.ATTRIBUTES.read(work)) == (None, None)
