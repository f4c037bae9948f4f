"""What killed processes and deleted volumes have left is removed, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.native_images import Place
from volflow.movers.native.upkeep import daily

DAY = 24 * 3600.0


def aged(path: Path, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    when = time.time() - days * DAY
    os.utime(path, (when, when))
    return path


def test_only_old_files_of_its_own_are_removed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    pack = place.repository / "data/00" / ("0" * 64)
    old = aged(pack.with_name(f"{pack.name}-tmp-volflow-17"), 2)
    others = [
        aged(pack.with_name(f"{pack.name}-tmp-volflow-18"), 0.5),
        aged(pack.with_name(f"{pack.name}-tmp-4711"), 2),
    ]
    daily(place.maps, place.store())
    assert not old.exists()
    assert all(other.exists() for other in others)
    place.check()


def test_it_is_done_once_a_day(tmp_path: Path) -> None:
    place = Place(tmp_path)
    daily(place.maps, place.store())
    name = f"{'0' * 64}-tmp-volflow-17"
    old = aged(place.repository / "index" / name, 2)
    daily(place.maps, place.store())
    assert old.exists()
    (done,) = place.maps.iterdir()
    aged(done, 1.1)
    daily(place.maps, place.store())
    assert not old.exists()


def test_maps_of_volumes_that_are_gone_are_removed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    used, unused = (
        aged(place.maps / "used/map", 0).parent,
        aged(place.maps / "unused/map", 0).parent,
    )
    when = time.time() - 91 * DAY
    os.utime(unused, (when, when))
    daily(place.maps, place.store())
    assert used.exists()
    assert not unused.exists()
