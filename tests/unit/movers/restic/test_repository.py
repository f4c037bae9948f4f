"""Backups as restic snapshots, and the locks of dead processes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.restic import replaced
from volflow.errors import RepositoryError
from volflow.host.identity import host_name
from volflow.movers.restic import repository
from volflow.movers.restic.program import ResticProgram
from volflow.movers.restic.repository import ResticRepository


@pytest.mark.parametrize(
    "value", ["plain", "a,b", "a=b", "", "with space", "new\nline", "schön ☃", "%2C"]
)
def test_a_tag_comes_back(value: str) -> None:
    """restic splits tags at commas, and volume names can contain commas."""
    packed = repository.pack({"name": value, "volume": "v"})
    assert not any("," in tag for tag in packed)
    assert repository.unpack(packed) == {"name": value, "volume": "v"}


def test_tags_of_others_are_left_out() -> None:
    assert repository.unpack(["volflow", "daily", "a=b"]) == {"a": "b"}


class Recorded(ResticProgram):
    """A repository with these snapshots (id, run, volume, second) that records the commands."""

    snapshots: list[tuple[str, str, str, int]]
    done: list[tuple[str, ...]]

    def say(self, *command: str, limit: float | None = None) -> tuple[str, str]:
        self.done.append(command)
        shown = json.dumps(
            [
                {
                    "id": one,
                    "time": f"2026-01-02T03:04:{second:02}Z",
                    "tags": ["volflow", f"run={run}", f"volume={volume}"],
                }
                for one, run, volume, second in self.snapshots
            ]
        )
        return shown, ""


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    found = replaced(tmp_path, Recorded)
    found.snapshots = [
        ("b2", "b", "v", 5),
        ("a1", "a", "v", 1),
        ("a2", "a", "v", 3),
        ("w1", "a", "w", 2),
        ("b1", "b", "v", 4),
    ]
    found.done = []
    return found


def test_the_last_snapshot_of_a_run_is_the_backup(recorded: Recorded) -> None:
    assert [backup.id for backup in ResticRepository(recorded).backups()] == ["w1", "a2", "b2"]


def test_forgetting_a_backup_forgets_what_it_replaced(recorded: Recorded) -> None:
    ResticRepository(recorded).forget("a2")
    assert recorded.done[-1] == ("forget", "a1", "a2")


def test_pruning_forgets_what_was_replaced(recorded: Recorded) -> None:
    ResticRepository(recorded).prune()
    assert recorded.done[1:] == [("forget", "a1", "b1"), ("prune",)]


class Locked(ResticProgram):
    """A repository with one lock that restic does not remove."""

    holder: int
    host: str

    def run(self, *command: str, limit: float | None = None) -> str:
        if command[0] == "cat":
            time = datetime.now(UTC).isoformat()
            return json.dumps({"hostname": self.host, "pid": self.holder, "time": time})
        return "f00d" * 16 + "\n" if command[0] == "list" else ""


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that has ended and that its parent has not yet waited for."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


def test_the_lock_of_a_zombie_is_reported(
    tmp_path: Path, zombie: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic counts a zombie as a running process, and reports nothing."""
    monkeypatch.setattr(repository, "_ENDS_WITHIN", 0.2)
    found = replaced(tmp_path, Locked)
    found.holder, found.host = zombie, host_name()
    with pytest.raises(RepositoryError, match=f"Lock f00df00d .* process {zombie} .* zombie"):
        ResticRepository(found).unlock()
    found.holder = os.getpid()
    ResticRepository(found).unlock()
    found.holder, found.host = zombie, "another"
    ResticRepository(found).unlock()
