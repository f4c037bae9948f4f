"""volflow names the flags that it could not set, and restores no others."""

from __future__ import annotations

from pathlib import Path

from volflow.disk.attributed import Applied, Collected
from volflow.disk.filesystem import FileSystem
from volflow.repositories.attributes import but_unread, file_of, not_set
from volflow.repositories.manifest import Region

REGION = Region("regions/3", 2**30, FileSystem("ext4", ""))


def test_each_region_has_its_own_file() -> None:
    assert file_of(REGION) == Path("attributes/3")


def test_what_the_backup_lacks_keeps_its_flags() -> None:
    region = Region("regions/0", 1, FileSystem("ext4", ""), unread=("/a/lost", "/home/alice/", "/"))
    assert but_unread(region) == (["a/lost", "home/alice"], False)


def test_nothing_is_told_if_everything_was_set() -> None:
    assert not_set([Applied(), Applied()]) == ""


def test_a_few_of_the_files_are_named_and_the_others_counted() -> None:
    first = Applied(5_000, {f"file {n}": "Operation not supported" for n in range(20)})
    said = not_set([first, Applied(1, {"x": "why"})])
    assert "/file 4 (Operation not supported) and 4,996 more" in said
    assert "file 5" not in said


def test_nothing_that_is_encrypted_is_in_the_manifest() -> None:
    found = Collected(encrypted=("home/alice", "b"))
    visible = found.visible({"home/alice/x/y": 1, "home/alicex": 2, "b": 3, "a/b": 4, "": 5})
    assert visible == {"home/alicex": 2, "a/b": 4, "": 5}
