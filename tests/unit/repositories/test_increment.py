"""A backup reads again what may have changed without a trace, and everything when it must."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from volflow.disk.survey import Survey
from volflow.errors import RepositoryError
from volflow.movers.base import StoredBackup
from volflow.repositories.increment import Increment

VOLUME = str(UUID(int=1))
TAKEN = datetime(2026, 11, 10, 22, tzinfo=UTC)
SNAPSHOT = {"created_at": "2026-11-10T22:00:00.000000"}
PARENT = datetime(2026, 11, 9, 22, tzinfo=UTC)
TAGS = {
    "taken": "2026-11-09T22:00:00Z",
    "full": "2026-11-09T22:00:00Z",
    "file_system": "uuid",
    "newest": repr(PARENT.timestamp() + 5),
    "recent": repr(PARENT.timestamp() - 5),
}


class Repository:
    """Has the manifest of one backup, or none."""

    def __init__(self, text: str = "") -> None:
        self._text = text

    def manifest(self, backup_id: str) -> str:
        if not self._text:
            raise RepositoryError("It is away.")
        return self._text


def plan(
    *without: str, every: timedelta = timedelta(), repository: Any = None, **tags: str
) -> Increment:
    """What a backup reads whose parent has these tags."""
    found = {key: value for key, value in (TAGS | tags).items() if key not in without}
    parent = StoredBackup("parent", PARENT + timedelta(hours=1), found)
    return Increment.plan(
        *(VOLUME, SNAPSHOT, "uuid"), parent=parent, repository=repository, full_every=every
    )


def since(increment: Increment) -> float:
    """Seconds before the parent's snapshot from which on files are read again."""
    assert increment.window
    return PARENT.timestamp() - increment.window.since


def test_files_changed_a_minute_before_the_parent_are_unsettled() -> None:
    found = plan(settled="yes")

    assert found.parent
    assert found.full_at == PARENT
    assert since(found) == 61
    assert found.window
    assert found.window.until == PARENT.timestamp() + 5


def test_a_clock_that_is_behind_moves_the_window() -> None:
    behind = repr(PARENT.timestamp() - 3600)

    assert since(plan(recent=behind, newest=behind)) == 3600 + 61


def test_old_files_are_settled_once_a_backup_has_read_them_again() -> None:
    old = repr(PARENT.timestamp() - 3600)

    assert since(plan(recent=old, newest=old, settled="yes")) == 61


@pytest.mark.parametrize("recent", [TAGS["recent"], "1.0"])
def test_a_backup_is_settled_if_its_parent_had_its_newest_times(recent: str) -> None:
    found = replace(plan(recent=recent), surveys=(Survey(recent=float(TAGS["recent"])),))

    assert ("settled" in found.tags) == (recent == TAGS["recent"])
    assert ("settled" in found.full().tags) == (recent == TAGS["recent"])


def test_nothing_written_into_tags_breaks_a_backup() -> None:
    found = plan(recent="nan", newest="much", full="sometime")

    assert since(found) == 61
    assert found.window
    assert found.window.until == math.inf
    assert found.full_at == PARENT


def test_another_file_system_is_read_completely() -> None:
    found = plan(file_system="another")

    assert (found.parent, found.full_at, found.window) == (None, TAKEN, None)


def test_a_full_read_is_due_after_its_period() -> None:
    assert plan(every=timedelta(days=30), full="2026-09-01T00:00:00Z").parent is None
    assert plan(every=timedelta(), full="2026-09-01T00:00:00Z").parent


def test_the_time_of_the_last_full_read_goes_from_parent_to_child() -> None:
    assert plan(full="2026-11-05T00:00:00Z").tags["full"] == "2026-11-05T00:00:00Z"
    assert plan().full().tags["full"] == "2026-11-10T22:00:00Z"


def test_a_parent_of_the_first_release_has_the_time_of_its_data_in_its_manifest() -> None:
    volume = {"id": VOLUME, "name": "", "volume_type": "", "availability_zone": "", "metadata": {}}
    region = {"path": "regions/0", "size": 1, "file_system": {"type": "ext4", "uuid": "uuid"}}
    text = json.dumps(
        {
            **{key: {} for key in ("volume_type", "encryption", "group")},
            "run_id": "",
            "volume": volume,
            "snapshot": {"created_at": "2026-11-09T20:00:00", "size": 1},
            "regions": [region],
            "format": 1,
        }
    )
    tags = ("taken", "full", "newest", "recent")

    assert since(plan(*tags, repository=Repository(text))) == 2 * 3600 + 61
    assert plan(*tags, repository=Repository()).parent is None
