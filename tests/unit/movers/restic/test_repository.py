"""Backups as restic snapshots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.restic import replaced
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
