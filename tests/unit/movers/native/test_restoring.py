"""Images are restored byte for byte, and nothing else is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.native_images import Place, sample
from volflow.errors import HostError, RepositoryError

pytestmark = pytest.mark.heavy


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def written(image: dict[str, Any]) -> bytes:
    return Path(image["device"]).read_bytes()


@pytest.mark.parametrize("seed", range(20, 28))
@pytest.mark.parametrize("blank", [True, False])
def test_an_image_comes_back_byte_for_byte(place: Place, seed: int, blank: bool) -> None:
    content = sample(seed)
    image = place.image(content)
    stored = place.save(image)["id"]
    target = place.target(image, b"\0" if blank else b"\xff")
    place.run("restore", stored, target, blank=blank)
    assert written(target) == content
    place.run("compare", stored, target)


def test_nothing_is_written_outside_of_the_range(place: Place) -> None:
    content = sample(30)
    image = place.image(content)
    stored = place.save(image)["id"]
    for start in (0, 512, 4096, 7):
        path = place.directory / f"large-{start}"
        path.write_bytes(b"\xee" * (start + len(content) + 10_000))
        place.run("restore", stored, {**image, "device": str(path), "start": start})
        found = path.read_bytes()
        assert found[start : start + len(content)] == content
        assert set(found[:start] + found[start + len(content) :]) == {0xEE}


def test_zeros_take_no_space_on_a_blank_target(place: Place) -> None:
    content = bytes(40 * 2**20) + b"end"
    image = place.image(content)
    stored = place.save(image)["id"]
    target = place.target(image)
    with open(target["device"], "wb") as file:
        file.truncate(len(content))
    place.run("restore", stored, target, blank=True)
    assert written(target) == content
    assert Path(target["device"]).stat().st_blocks * 512 < 2**20


def test_an_image_that_restic_stored_is_restored(place: Place) -> None:
    content = sample(31)
    path = place.directory / "namespace/regions/2.img"
    path.write_bytes(content)
    image = place.image(content)
    stored = place.snapshot()
    target = place.target(image)
    place.run("restore", stored, target)
    assert written(target) == content


@pytest.mark.parametrize("offset", [0, 1, 300_000, -1])
def test_a_difference_is_named_by_its_offset(place: Place, offset: int) -> None:
    content = bytearray(sample(32))
    image = place.image(bytes(content))
    stored = place.save(image)["id"]
    content[offset] ^= 0x80
    target = place.target(image)
    Path(target["device"]).write_bytes(content)
    with pytest.raises(HostError, match=f"byte {offset % len(content):,} "):
        place.run("compare", stored, target)


def test_another_size_than_the_region_is_refused(place: Place) -> None:
    image = place.image(bytes(10_000))
    stored = place.save(image)["id"]
    for size in (9_999, 10_001, 0):
        target = place.target({**image, "size": size})
        with pytest.raises(HostError, match="has 10,000 bytes, and not"):
            place.run("restore", stored, target)
        assert set(written(target)) <= {0xFF}


def test_a_damaged_pack_is_an_error(place: Place) -> None:
    image = place.image(sample(33))
    stored = place.save(image)["id"]
    largest = max(place.repository.glob("data/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(content)
    with pytest.raises(RepositoryError, match="damaged"):
        place.run("restore", stored, place.target(image))
    largest.write_bytes(content[: len(content) // 4])
    with pytest.raises(RepositoryError, match="too short"):
        place.run("restore", stored, place.target(image))
    largest.unlink()
    with pytest.raises(RepositoryError, match="is missing"):
        place.run("restore", stored, place.target(image))


@pytest.mark.parametrize("path", ["regions/3.img", "regions/0", "nothing/2.img", "manifest.json/a"])
def test_a_path_without_an_image_is_an_error(place: Place, path: str) -> None:
    image = place.image(b"data")
    stored = place.save(image)["id"]
    with pytest.raises(RepositoryError, match=r"in the backup is no|has no"):
        place.run("restore", stored, place.target({**image, "path": path}))
