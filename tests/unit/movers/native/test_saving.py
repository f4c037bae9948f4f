"""Chunks that were pruned meanwhile are stored again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.native_images import Place, sample
from volflow.errors import HostError
from volflow.movers.native import blobs, saving
from volflow.movers.native.chunks import COUNT, LEAST, MOST, RUN, ChunkMap, size_for
from volflow.movers.native.device import Device
from volflow.movers.native.known import Known
from volflow.movers.native.memory import Memory
from volflow.movers.native.plan import Plan
from volflow.movers.native.restoring import Restorer
from volflow.movers.native.saving import Saver

CONTENT = sample(50)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("mapped", [True, False])
def test_what_a_prune_removed_is_stored_again(place: Place, mapped: bool) -> None:
    image = place.image(CONTENT)
    stored = place.save(image)["id"]
    store = place.store()
    store.know(Known())
    saver = Saver(store, LEAST, 2, lambda _: None)
    before, after = (ChunkMap(-(-len(CONTENT) // LEAST)) for _ in range(2))
    bound = f"{store.id} {LEAST} {len(CONTENT)}"
    assert before.load(next(place.maps.glob("volume/*")), bound)
    with Device(Path(image["device"]), 0, len(CONTENT)).opened() as device:
        contents = saver.save(device, before if mapped else None, after)
        assert contents.stored == 0
        # Somebody has removed the lock, or there was none.
        place.restic("forget", "--prune", stored)
        saving.settle(store, saver, [(device, contents, after)])
    assert contents.stored > 0
    place.check()
    target = place.target(image)
    with Device(Path(target["device"]), 0, len(CONTENT), write=True).opened() as device:
        plan = Plan(store.index, b"".join(contents.ids), len(CONTENT), "it")
        Restorer(store, device, plan, 2, lambda _: None).restore(blank=False)
    assert Path(target["device"]).read_bytes() == CONTENT


def test_what_another_backup_stores_meanwhile_is_no_obstacle(place: Place) -> None:
    image = place.image(CONTENT)
    store = place.store()
    store.know(Known())
    saver = Saver(store, LEAST, 2, lambda _: None)
    after = ChunkMap(-(-len(CONTENT) // LEAST))
    with Device(Path(image["device"]), 0, len(CONTENT)).opened() as device:
        contents = saver.save(device, None, after)
        place.save(image)
        saving.settle(store, saver, [(device, contents, after)])
    place.check()
    assert len(json.loads(place.restic("snapshots", "--json"))) == 1


@pytest.mark.parametrize("total", [0, 1, LEAST * COUNT, LEAST * COUNT + 1, 2**40, 2**42, 2**46])
def test_the_number_of_chunks_is_limited(total: int) -> None:
    size = size_for(total)
    assert LEAST <= size <= MOST
    assert RUN % size == 0
    assert total <= size * COUNT or size == MOST
    assert size == LEAST or total > size // 2 * COUNT


def test_ids_that_begin_alike_are_told_apart() -> None:
    known = Known()
    some = [bytes(30) + number.to_bytes(2) for number in range(5000)]
    assert all(known.add(each) for each in some[::2])
    assert not any(known.add(each) for each in some[::2])
    assert all((each in known) == (number % 2 == 0) for number, each in enumerate(some))
    assert sorted(known) == some[::2]
    # In the middle of two others.
    one, two = b"a" * 32, b"a" * 16 + b"b" * 16
    for each in (one, two):
        known.append(each)
    assert b"b" * 16 + b"a" * 16 not in known
    assert len(known) == 2502


def test_an_unreadable_byte_of_the_device_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = place.image(CONTENT)

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with Device(Path(image["device"]), 0, len(CONTENT)).opened() as device:
        monkeypatch.setattr(device, "_read", broken)
        with pytest.raises(HostError, match="cannot be read at byte 4,096: Input/output error"):
            device.read(4096, 4096, Memory(4096))


def test_zeros_are_found_whatever_surrounds_them() -> None:
    memory = Memory(3 * 4096)
    memory.view[4096:8192] = b"\1" * 4096
    assert memory.is_zero(0, 4096)
    assert memory.is_zero(8192, 4096)
    assert memory.is_zero(8192, 1)
    assert not memory.is_zero(4096, 1)
    assert not memory.is_zero(0, 4097)
    assert not memory.is_zero(8191, 2)
    assert blobs.id_of(memory.view[:0]).hex().startswith("e3b0c442")
