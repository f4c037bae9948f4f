"""Locks keep those away who remove data, and nobody else."""

from __future__ import annotations

import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import restic as support
from tests.support.native_images import Place, ignoring_hangup
from tests.support.waiting import until
from volflow.errors import RepositoryError
from volflow.host.identity import Process
from volflow.movers.native import documents
from volflow.movers.native.directory import Kind
from volflow.movers.native.locks import Lock
from volflow.movers.restic.locks import Locks


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def other(place: Place, **values: Any) -> None:
    """Write the lock of another process."""
    store = place.store()
    lock = {
        "time": datetime.now(UTC).isoformat(),
        "exclusive": True,
        "hostname": "elsewhere",
        "username": "root",
        "pid": 1,
    }
    store.directory.write(Kind.LOCK, documents.seal(store.key, lock | values))


def test_an_exclusive_lock_is_heeded(place: Place) -> None:
    other(place, pid=4711)
    with pytest.raises(RepositoryError, match="locked by process 4711 on host elsewhere"):
        place.run("save", "", place.image(b"data"))
    assert len(list((place.repository / "locks").iterdir())) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"exclusive": False},
        {"time": (datetime.now(UTC) - timedelta(minutes=31)).isoformat()},
        {"time": "2026-01-01T10:00:00.123456789+02:00"},
    ],
)
def test_a_lock_that_counts_for_nothing_is_no_obstacle(
    place: Place, values: dict[str, Any]
) -> None:
    other(place, **values)
    with place.store().lock().held() as lock:
        lock.check()


def test_a_lock_is_refreshed_by_a_new_one(place: Place) -> None:
    store = place.store()
    locks = place.repository / "locks"
    with Lock(store.directory, store.key, refresh=0.05).held() as lock:
        (first,) = locks.iterdir()
        until(lambda: first not in list(locks.iterdir()))
        lock.check()
    assert not list(locks.iterdir())


def test_a_lock_that_somebody_removed_is_noticed(place: Place) -> None:
    with place.store().lock().held() as lock:
        place.restic("unlock", "--remove-all")
        with pytest.raises(RepositoryError, match="was removed"):
            lock.check()


def test_volflow_lets_restic_unlock_beside_a_program_of_its_own(tmp_path: Path) -> None:
    """restic sends SIGHUP to the process of each lock, which this one ignores."""
    restic = support.program(tmp_path)
    place = Place(tmp_path)
    with subprocess.Popen(["sleep", "1000"]) as ended:
        owner = Process.of(ended.pid)
        other(place, exclusive=False, hostname=socket.gethostname(), pid=ended.pid)
        ended.kill()
    with ignoring_hangup(), place.store().lock().held():
        Locks(restic).remove([owner])
        assert len(list((place.repository / "locks").iterdir())) == 1
