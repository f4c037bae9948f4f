"""Images are stored, and restic reads them byte for byte."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.support.native_images import Place, sample
from tests.support.restic_programs import newest
from volflow.errors import HostError, RepositoryError
from volflow.movers.native.chunks import LEAST, RUN

pytestmark = pytest.mark.heavy


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_restic_reads_any_image_as_it_was(place: Place, seed: int) -> None:
    content = sample(seed)
    image = place.image(content)
    stored = place.save(image)["id"]
    assert place.dump(stored, image) == content
    place.check()


def test_every_version_of_restic_reads_several_images(place: Place) -> None:
    contents = [
        sample(100),
        bytes(3 * RUN),
        b"x",
        bytes(RUN + 5),
        random.Random(0).randbytes(LEAST),
    ]
    images = [place.image(content, f"{n + 2}.img") for n, content in enumerate(contents)]
    stored = place.save(*images)["id"]
    for restic in filter(None, ("restic", newest())):
        place.check(restic)
        to = place.directory / f"out-{Path(restic).name}"
        place.restic("restore", stored, "--target", str(to), restic=restic)
        for image, content in zip(images, contents, strict=True):
            assert (to / image["path"]).read_bytes() == content
            assert place.dump(stored, image, restic) == content
        assert (to / "regions/0/file").read_text() == "content\n"
        assert (to / "manifest.json").read_text() == "{}"


def test_an_unchanged_image_is_not_stored_again(place: Place) -> None:
    image = place.image(sample(1))
    assert place.save(image)["changed"] == 1
    for more in ({}, {"full": True}, {"maps": None}):
        summary = place.save(image, **more)
        assert (summary["stored"], summary["changed"]) == (0, 0)


def test_only_changed_chunks_are_stored(place: Place) -> None:
    content = bytearray(random.Random(1).randbytes(8 * 2**20))
    image = place.image(bytes(content))
    place.save(image)
    content[3_000_000] ^= 1
    image = place.image(bytes(content))
    summary = place.save(image)
    assert summary["stored"] == LEAST
    assert place.dump(summary["id"], image) == content


def test_the_snapshot_keeps_what_restic_wrote(place: Place) -> None:
    image = place.image(b"data" * 1000)
    first = place.snapshot()
    before = json.loads(place.restic("cat", "snapshot", first))
    stored = place.run("save", first, image)["id"]
    after = json.loads(place.restic("cat", "snapshot", stored))
    assert after.pop("tree") != before.pop("tree")
    tags = [dict(tag.partition("=")[::2] for tag in each.pop("tags")) for each in (before, after)]
    assert tags[0].pop("stored") == "1"
    assert tags[1].pop("stored") > "2026"
    assert tags[0] == tags[1]
    summary = after.pop("summary", None), before.pop("summary", None)
    assert after == before
    assert (summary[0] is None) == (summary[1] is None)
    listed = json.loads(place.restic("snapshots", "--json"))
    assert [one["id"] for one in listed] == [stored]


def test_a_backup_of_images_alone_has_the_manifest_too(place: Place) -> None:
    image = place.image(b"data" * 1000)
    stored = place.run("save", place.snapshot("manifest.json"), image)["id"]
    paths = place.restic("ls", stored, "--recursive").decode().splitlines()[-3:]
    assert paths == ["/manifest.json", "/regions", "/regions/2.img"]
    (listed,) = json.loads(place.restic("snapshots", "--json"))
    assert [Path(path).name for path in listed["paths"]] == ["manifest.json", "regions"]
    place.check()


def test_the_next_backup_with_restic_takes_it_as_its_parent(place: Place) -> None:
    stored = place.save(place.image(b"data" * 1000))["id"]
    said = place.restic(
        *("backup", "--json", "--parent", stored, "regions", "manifest.json"),
        cwd=place.directory / "namespace",
    )
    summary = json.loads(said.splitlines()[-1])
    assert (summary["files_unmodified"], summary["files_new"]) == (2, 0)


def test_a_damaged_map_only_costs_time(place: Place) -> None:
    content = sample(2)
    image = place.image(content)
    place.save(image)
    (path,) = place.maps.glob("volume/*")
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:100] + b"\0" * 64 + whole[164:], b"x" * len(whole)):
        path.write_bytes(damaged)
        summary = place.save(image)
        assert summary["stored"] == 0
        assert path.read_bytes() == whole
        assert place.dump(summary["id"], image) == content


def test_a_map_of_another_repository_is_not_used(place: Place, tmp_path: Path) -> None:
    content = sample(3)
    image = place.image(content)
    place.save(image)
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.maps = place.maps
    stored = other.save(image)
    assert stored["changed"] == 1
    assert other.dump(stored["id"], image) == content


def test_a_device_that_is_shorter_is_refused(place: Place) -> None:
    image = place.image(bytes(5000))
    with pytest.raises(HostError, match="has 5,000 bytes"):
        place.save({**image, "size": 5001})
    place.check()


def test_a_range_of_a_device_is_stored_alone(place: Place) -> None:
    content = sample(4)
    image = place.image(b"before!" + content + b"after")
    image |= {"start": 7, "size": len(content)}
    assert place.dump(place.save(image)["id"], image) == content


def test_a_snapshot_that_is_missing_is_an_error(place: Place) -> None:
    with pytest.raises(RepositoryError, match="holds no backup"):
        place.run("save", "0" * 64, place.image(b"data"))
