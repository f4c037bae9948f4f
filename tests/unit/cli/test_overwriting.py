"""What a person learns of a volume before it is overwritten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from volflow import times
from volflow.cli.overwriting import overwriting
from volflow.movers.base import StoredBackup
from volflow.plans.restore import LastBackup, RestorePlan
from volflow.plans.restore_target import Destination, RestoreTarget
from volflow.repositories.manifest import Manifest
from volflow.results.options import Overwrite, RestoreOptions

NOW = datetime(2026, 3, 1, tzinfo=UTC)
VOLUME: dict[str, Any] = {
    "id": "v",
    "name": "notes",
    "size": 3,
    "attachments": [],
    "bootable": "false",
    "os-vol-tenant-attr:tenant_id": "p",
    "updated_at": "2026-02-27T12:00:00.000000",
}


def _backup(backup_id: str, age: timedelta) -> StoredBackup:
    return StoredBackup(backup_id, NOW - age, {"volume": "v", "name": "notes"})


OLD = _backup("0123456789", timedelta(days=9))
LAST = _backup("fedcba9876", timedelta(hours=3, minutes=4))


def _plan(volume: dict[str, Any] | None = None, **options: Any) -> RestorePlan:
    manifest = Manifest("r", {"id": "v", "name": "notes"}, {}, {}, {}, {}, ())
    target = RestoreTarget(OLD, manifest, Destination.IN_PLACE, VOLUME | (volume or {}))
    known = {"v": LastBackup(LAST, ("xfs",))}
    return RestorePlan((target,), RestoreOptions(**options), 1, last_backups=known)


def test_the_question_says_what_is_lost_and_how_old_the_backup_is() -> None:
    changed = times.local(datetime(2026, 2, 27, 12, tzinfo=UTC))
    assert overwriting(_plan(), NOW) == [
        "Volume v will be overwritten: 'notes', project p, 3 GiB, not attached, last attached or "
        f"changed {changed}.",
        f"  On it: xfs at its last backup, fedcba98, of {times.local(LAST.taken_at)}, 3 h 04 min "
        "ago.",
        f"  With: backup 01234567, of {times.local(OLD.taken_at)}, 9 days ago.",
        "  Everything on it is lost, also what was written after the backup.",
    ]


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ({"bootable": "true"}, "On it: bootable, so probably a partition table; xfs"),
        ({"volume_image_metadata": {"image_name": "debian"}}, "made from image 'debian'"),
        ({"name": None}, "will be overwritten: without a name"),
        ({"attachments": [{}]}, "1 attachment,"),
    ],
)
def test_what_cinder_knows_of_the_volume_is_told(volume: dict[str, Any], says: str) -> None:
    assert says in "\n".join(overwriting(_plan(volume), NOW))


def test_a_volume_without_a_backup_has_unknown_content() -> None:
    plan = replace(_plan(), last_backups={})
    assert "On it: unknown, because it has no backup." in overwriting(plan, NOW)[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep_extra": True}, "newer ones too; files that the backup does not have stay."),
        ({"overwrite": Overwrite.IF_NEWER}, "except newer ones; files that the backup does not"),
        ({"overwrite": Overwrite.NEVER, "keep_extra": True}, "Only files that are missing on it"),
    ],
)
def test_what_becomes_of_the_existing_files_is_told(options: dict[str, Any], says: str) -> None:
    assert says in overwriting(_plan(**options), NOW)[-1]
