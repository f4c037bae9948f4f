"""Requests are stored with the keys of 0.1.0, and what 0.1.0 stored reads back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from persistence import Run, RunState
from volflow.errors import UsageError
from volflow.results.options import Overwrite, RestoreOptions
from volflow.results.outcome import LeftOut
from volflow.results.request import (
    BackupRequest,
    RequestedTarget,
    RestoreRequest,
    complete_request,
    request_of,
)

# As 0.1.0 stores them, key by key.
BACKUP = {
    "full": True,
    "parallel": 3,
    "groups": {"group": ["v1", "v2"]},
    "consistent": {"group": True, "other": None},
    "whole": {"project": 2},
    "left_out": [{"volume_id": "v3", "name": "n3", "reason": "is in error", "wanted": True}],
    "projects": {"v1": "project", "v2": "project"},
    "act_in": "caller",
    "repository": "/repository",
    "login": {"auth_url": "http://keystone", "region": None, "project_id": "home"},
}
TARGET = {
    "backup_id": "b1",
    "created_at": "2026-01-01T00:00:00+00:00",
    "tags": {"volume": "v1", "unread": "2"},
    "destination": "in place",
    "existing": {"id": "v1", "status": "available"},
    "in_the_way": None,
    "joins": None,
}
RESTORE = {
    "groups": {},
    "left_out": [],
    "notes": ["A sentence."],
    "parallel": 1,
    "options": {
        "new": False,
        "into": None,
        "recreate_vol_on_error": False,
        "keep_newer": False,
        "grow": True,
        "verify": False,
        "meta_override": {"name": "other"},
        "type_map": {"a": "b"},
        "az_map": {},
        "project_map": {"project": "other project"},
        "remove_old_vol": False,
    },
    "backups": {"v1": "b1"},
    "targets": {"v1": TARGET},
    "projects": {"v1": "project"},
    "act_in": "tenant",
    "repository": "/repository",
    "login": {},
}


def run(kind: str, request: dict[str, Any]) -> Run:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Run("id", kind, RunState.RUNNING, request, "host", "boot", 1, now, now, None, None, None)


@pytest.mark.parametrize(("kind", "stored"), [("backup", BACKUP), ("restore", RESTORE)])
def test_a_request_is_stored_byte_by_byte_as_by_the_first_release(
    kind: str, stored: dict[str, Any]
) -> None:
    again = request_of(run(kind, stored)).to_dict()
    assert json.dumps(again) == json.dumps(stored)


def test_a_stored_backup_reads_back_with_types() -> None:
    request = request_of(run("backup", BACKUP))
    assert isinstance(request, BackupRequest)
    assert request.left_out == (LeftOut("v3", "n3", "is in error", True),)
    assert request.volumes_in_project == {"project": 2}
    assert request.project_of("v1") == "project"
    assert request.project_of("group") == "project"
    assert request.project_of("unknown") is None


def test_a_stored_restore_reads_back_with_types() -> None:
    request = request_of(run("restore", RESTORE))
    assert isinstance(request, RestoreRequest)
    assert request.options == RestoreOptions(
        grow=True,
        meta_override={"name": "other"},
        type_map={"a": "b"},
        project_map={"project": "other project"},
    )
    assert request.targets["v1"].tags == {"volume": "v1", "unread": "2"}


def test_a_target_is_overwritten_in_place_and_replaced_otherwise() -> None:
    target = RequestedTarget.from_dict(TARGET)
    assert (target.overwritten, target.replaced) == ("v1", None)
    beside = replace(target, destination="new")
    assert (beside.overwritten, beside.replaced) == (None, TARGET["existing"])
    alone = replace(beside, existing=None)
    assert (alone.overwritten, alone.replaced) == (None, None)


@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_a_request_without_any_key_can_be_shown(kind: str) -> None:
    request = request_of(run(kind, {}))
    assert (request.repository, request.parallel, request.notes) == ("", 0, ())
    assert (request.left_out, request.consistent, request.groups) == ((), {}, {})


@pytest.mark.parametrize("key", ["repository", "parallel", "projects", "act_in", "targets"])
def test_a_run_is_not_driven_without_what_its_request_must_have(key: str) -> None:
    stored = {name: value for name, value in RESTORE.items() if name != key}
    with pytest.raises(UsageError, match=f"does not contain '{key}'"):
        complete_request(run("restore", stored))


@pytest.mark.parametrize(
    ("kind", "stored", "optional"),
    [
        ("backup", BACKUP, ("full", "groups", "consistent", "whole", "left_out", "login")),
        ("restore", RESTORE, ("groups", "left_out", "notes", "options", "backups", "login")),
    ],
)
def test_what_early_runs_did_not_store_has_its_default(
    kind: str, stored: dict[str, Any], optional: tuple[str, ...]
) -> None:
    early = {name: value for name, value in stored.items() if name not in optional}
    request = complete_request(run(kind, early))
    assert request.to_dict().keys() == stored.keys()
    assert not request.groups


def test_a_run_with_an_option_of_a_later_release_is_shown_and_not_driven() -> None:
    later = run("restore", RESTORE | {"options": {"grow": True, "shrink": True}})
    request = request_of(later)
    assert isinstance(request, RestoreRequest)
    assert request.options.grow
    with pytest.raises(UsageError, match="does not know its options shrink"):
        complete_request(later)


def test_a_stored_restore_has_the_keys_of_the_first_release_unless_it_uses_more() -> None:
    plain = RestoreOptions(keep_extra=True).to_dict()
    assert plain["keep_newer"] is True
    assert plain.keys() == RESTORE["options"].keys()
    more = RestoreOptions(overwrite=Overwrite.NEVER, new=True, name="n")
    stored = json.loads(json.dumps(more.to_dict()))
    assert stored.keys() - plain.keys() == {"overwrite", "name"}
    assert RestoreOptions.from_dict(stored) == more


def test_a_stored_restore_of_the_first_release_keeps_extra_files() -> None:
    stored = RESTORE | {"options": {**RESTORE["options"], "keep_newer": True}}
    request = complete_request(run("restore", stored))
    assert isinstance(request, RestoreRequest)
    assert request.options.keep_extra
