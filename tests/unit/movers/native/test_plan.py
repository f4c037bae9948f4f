"""A list of blobs that somebody else wrote never makes volflow write outside of the region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.native_images import Place
from volflow.errors import RepositoryError, VolflowError
from volflow.movers.native import blobs, trees
from volflow.movers.native.blobs import ID, BlobKind
from volflow.movers.native.plan import Plan
from volflow.movers.native.store import BlobWriter
from volflow.times import moment_of

A, B = b"a" * 5000, b"b" * 3000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    store = place.store()
    writer = BlobWriter(store, BlobKind.DATA)
    for content in (A, B):
        writer.put(blobs.id_of(content), content)
    writer.flush()
    store.index.flush()
    return place


def plan(place: Place, size: int, *contents: bytes) -> Plan:
    ids = b"".join(map(blobs.id_of, contents))
    return Plan(place.store().index, ids, size, "regions/2.img")


def test_each_blob_is_read_once_for_all_its_places(place: Place) -> None:
    ((_, wanted),) = plan(place, 18_000, A, B, A, A).packs()
    assert [(one.place.id, one.offsets) for one in wanted] == [
        (blobs.id_of(A), (0, 8_000, 13_000)),
        (blobs.id_of(B), (5_000,)),
    ]


def test_an_image_of_no_bytes_has_no_blobs(place: Place) -> None:
    assert list(plan(place, 0).packs()) == []


@pytest.mark.parametrize("size", [0, 7_999, 8_001, 2**62])
def test_blobs_of_another_size_than_the_image_are_refused(place: Place, size: int) -> None:
    with pytest.raises(RepositoryError, match="has 8,000 bytes, and not"):
        plan(place, size, A, B)


def test_a_blob_that_is_missing_is_named(place: Place) -> None:
    missing = blobs.id_of(b"elsewhere").hex()[:8]
    with pytest.raises(RepositoryError, match=f"blob {missing} is missing"):
        plan(place, 5_009, A, b"elsewhere")


def test_a_tree_is_no_content_of_an_image(place: Place) -> None:
    place.snapshot()
    tree = next(
        line.split()[1]
        for line in place.restic("list", "blobs").decode().splitlines()
        if line.startswith("tree")
    )
    with pytest.raises(RepositoryError, match="is missing"):
        Plan(place.store().index, bytes.fromhex(tree), 400, "regions/2.img")


def hostile(place: Place, **changes: Any) -> str:
    """A backup with an image whose node somebody changed."""
    store = place.store()
    when = moment_of("2026-11-01T00:00:00Z")
    assert when
    node = trees.file("2.img", 8_000, [blobs.id_of(A).hex(), blobs.id_of(B).hex()], when, 1)
    writer = BlobWriter(store, BlobKind.TREE)
    inner = trees.encode([node | changes])
    writer.put(blobs.id_of(inner), inner)
    outer = trees.encode([trees.directory("regions", blobs.id_of(inner), when, 1)])
    writer.put(blobs.id_of(outer), outer)
    writer.flush()
    store.index.flush()
    root = {"tree": blobs.id_of(outer).hex(), "time": "2026-11-01T00:00:00Z", "paths": ["/r"]}
    return store.snapshots.write(root)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": "8000"},
        {"size": 10**30},
        {"size": None},
        {"type": "symlink"},
        {"type": "dir"},
        {"content": None},
        {"content": []},
        {"content": 5},
        {"content": [5]},
        {"content": ["x" * 64]},
        {"content": ["ab"]},
        {"content": [blobs.id_of(A).hex()]},
        {"content": [blobs.id_of(A).hex()] * 1000},
        {"content": [blobs.id_of(A).hex().upper(), blobs.id_of(B).hex()]},
        {"name": "../2.img"},
    ],
    ids=str,
)
def test_a_hostile_backup_changes_nothing(place: Place, changes: dict[str, Any]) -> None:
    stored = hostile(place, **changes)
    image = place.image(bytes(8_000))
    path = Path(image["device"])
    path.write_bytes(b"\xee" * 10_000)
    with pytest.raises(VolflowError):
        place.run("restore", stored, image)
    assert set(path.read_bytes()) == {0xEE}


def test_the_untouched_backup_is_restored(place: Place) -> None:
    image = place.image(bytes(8_000))
    place.run("restore", hostile(place), image)
    assert Path(image["device"]).read_bytes() == A + B


def test_ids_are_whole_ones(place: Place) -> None:
    assert len(blobs.id_of(A)) == ID
