"""How a restore's target is named and stored, and what a resumed run reads back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from volflow.movers.base import StoredBackup
from volflow.plans.quota import VolumeSize
from volflow.plans.restore_target import Destination, Joining, RestoreTarget, one_of_each
from volflow.repositories.manifest import Manifest
from volflow.results.options import RestoreOptions

BACKUP = StoredBackup("b" * 64, datetime(2026, 1, 1, tzinfo=UTC), {"volume": "v", "project": "p"})


def target(**arguments: Any) -> RestoreTarget:
    volume = {"id": "v", "name": "", "volume_type": "old", "availability_zone": "z", "size": 2}
    manifest = Manifest("", volume, {}, {}, {"id": "g", "availability_zone": "z"}, {"size": 2}, ())
    return RestoreTarget(**{"backup": BACKUP, "manifest": manifest, **arguments})


def test_the_stored_form_holds_what_stored_runs_hold() -> None:
    """The state database stores these keys, and an older or newer volflow reads them."""
    stored = target(destination=Destination.NEW, joins=Joining.ANEW, per_project=True).to_dict()
    assert json.loads(json.dumps(stored)) == {
        "backup_id": "b" * 64,
        "created_at": "2026-01-01T00:00:00+00:00",
        "tags": {"volume": "v", "project": "p"},
        "destination": "new",
        "existing": None,
        "in_the_way": None,
        "joins": "anew",
    }


def test_a_target_is_read_as_it_was_stored() -> None:
    existing = {"id": "v", "size": 3, "volume_type": "old"}
    before = target(destination=Destination.COPY, existing=existing, in_the_way="it has snapshots")
    after = RestoreTarget.from_dict(json.loads(json.dumps(before.to_dict())), None)
    assert after.to_dict() == before.to_dict()
    # Enough to undo it: the repository may no longer exist.
    assert after.manifest.volume_id == "v"


def test_a_target_stored_before_groups_were_restored_is_read() -> None:
    stored = target(destination=Destination.NEW).to_dict()
    for key in ("in_the_way", "joins"):
        del stored[key]
    assert RestoreTarget.from_dict(stored, None).joins is None


def test_keys_name_the_project_where_the_id_is_ambiguous() -> None:
    one = target(destination=Destination.NEW)
    assert one.key == "v"
    assert replace(one, per_project=True).key == "v@p"
    assert one.group_key is None
    assert replace(one, joins=Joining.EXISTING).group_key == "g@p"


@pytest.mark.parametrize(
    ("destination", "overwritten", "replaced"),
    [
        (Destination.IN_PLACE, "v", None),
        (Destination.COPY, None, "v"),
        (Destination.NEW, None, "v"),
    ],
)
def test_only_a_restore_in_place_overwrites_the_old_volume(
    destination: Destination, overwritten: str | None, replaced: str | None
) -> None:
    one = target(destination=destination, existing={"id": "v"})
    assert one.overwritten == overwritten
    assert (one.replaced or {}).get("id") == replaced


def test_a_copy_is_as_large_as_the_volume_is_now_and_a_new_volume_as_the_backup() -> None:
    options = RestoreOptions(type_map={"old": "new"})
    existing = {"id": "v", "size": 3, "volume_type": "fast"}
    copy = target(destination=Destination.COPY, existing=existing)
    assert copy.created_size(options) == VolumeSize(3, "fast")
    assert target(destination=Destination.NEW).created_size(options) == VolumeSize(2, "new")


def test_the_backups_of_the_caller_are_not_changed_by_choosing_among_them() -> None:
    first = target(destination=Destination.NEW)
    tags = {**BACKUP.tags, "project": "q"}
    second = replace(first, backup=replace(BACKUP, id="c" * 64, tags=tags))
    given = [first, second]
    found, superseded = one_of_each(given, per_project=True)
    assert given == [first, second]
    assert [one.key for one in found] == ["v@p", "v@q"]
    assert superseded == {}
