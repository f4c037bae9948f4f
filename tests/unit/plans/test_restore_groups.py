"""The restored volumes that join a group."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.fake_cinder import FakeClient
from volflow import times
from volflow.cloud.connection import Cloud
from volflow.movers.base import StoredBackup
from volflow.plans.restore_groups import assign_groups, notes_on_groups
from volflow.plans.restore_target import Destination, Joining, RestoreTarget
from volflow.repositories.manifest import Manifest
from volflow.results.options import RestoreOptions

NEW, IN_PLACE = Destination.NEW, Destination.IN_PLACE


def target(
    volume: str,
    destination: Destination,
    *,
    run: str = "r",
    existing: dict[str, Any] | None = None,
    group: str | None = "g",
) -> RestoreTarget:
    tags = {"volume": volume, "project": "p", "run": run}
    backup = StoredBackup(f"backup of {volume}", datetime(2026, 1, 1, tzinfo=UTC), tags)
    manifest = Manifest(
        *("", {"id": volume, "name": volume}, {}, {}, {"id": group} if group else {}),
        *({"size": 1, "created_at": "then"}, ()),
    )
    return RestoreTarget(backup, manifest, destination, existing)


def cloud(*groups: str, owner: str = "p") -> Cloud:
    """A cloud in which a project has these groups, as an administrator sees it."""
    client = FakeClient()
    for group_id in groups:
        client.groups.create("a type", id=group_id, project_id=owner)
    return cast(Cloud, SimpleNamespace(in_project=client.cinder))


def joins(
    found: Cloud, *targets: RestoreTarget, groups_selected: bool = False, **options: Any
) -> list[Joining | None]:
    assigned = assign_groups(
        found, targets, RestoreOptions(**options), groups_selected=groups_selected
    )
    return [one.joins for one in assigned]


def test_a_new_volume_for_a_lost_one_joins_the_old_group_or_a_new_one() -> None:
    lost = target("a", NEW)
    assert joins(cloud("g"), lost) == [Joining.EXISTING]
    assert joins(cloud(), lost) == [Joining.ANEW]


def test_a_group_of_another_project_counts_as_lost() -> None:
    assert joins(cloud("g", owner="another"), target("a", NEW)) == [Joining.ANEW]


def test_a_volume_that_was_in_no_group_joins_none() -> None:
    assert joins(cloud("g"), target("a", NEW, group=None)) == [None]


def test_a_new_volume_beside_the_old_one_joins_only_with_its_whole_group() -> None:
    beside = target("a", NEW, existing={"id": "a"})
    assert joins(cloud("g"), beside, new=True) == [None]
    assert joins(cloud("g"), beside, new=True, groups_selected=True) == [Joining.ANEW]


@pytest.mark.parametrize(
    ("group_id", "options", "groups_selected", "expected"),
    [
        (None, {}, False, None),
        (None, {"meta_override": {}}, False, Joining.EXISTING),
        (None, {}, True, Joining.EXISTING),
        ("g", {}, True, None),
        (None, {"into": "a"}, True, None),
    ],
)
def test_an_existing_volume_joins_its_group_again_only_on_request(
    group_id: str | None, options: dict[str, Any], groups_selected: bool, expected: Joining | None
) -> None:
    there = target("a", IN_PLACE, existing={"id": "a", "group_id": group_id})
    assert joins(cloud("g"), there, groups_selected=groups_selected, **options) == [expected]


def test_a_note_says_that_the_backups_of_a_group_are_from_different_times() -> None:
    assert notes_on_groups([target("a", NEW, run="r1"), target("b", NEW, run="r1")]) == []
    several = [target("a", NEW, run="r1"), target("b", NEW, run="r2")]
    (note,) = notes_on_groups(several)
    taken = times.local(several[0].backup.taken_at)
    assert note == (
        "group g: the backups of its volumes are from different times: a from run r1, "
        f"{taken}, b from run r2, {taken}"
    )
