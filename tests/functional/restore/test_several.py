"""Restores of one tenant, of all tenants, and of a group."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.branch import branch
from tests.support.stage import PROPERTIES, Stage
from tests.support.waiting import until_available, until_gone

pytestmark = pytest.mark.lab

OWNER = "os-vol-tenant-attr:tenant_id"
GROUP_TYPE = "of the restore tests"


@branch("all volumes of a tenant, side by side, as they were at a time")
def test_all_volumes_of_a_tenant_come_back_as_they_were_at_a_time(stage: Stage) -> None:
    all_of_it = [stage.original(f"tenant {n}", **PROPERTIES) for n in range(3)]
    time.sleep(1)
    moment = datetime.now(UTC).isoformat()
    for was in all_of_it:
        stage.change(was.volume)
    assert str(stage.site.backup(*(was.volume for was in all_of_it)).outcome) == "complete"
    stage.site.cloud.delete(all_of_it[0].volume)
    rows = stage.rows(
        *("restore", "create", "--all", "--name", "tenant ?", "--at", moment, "--yes")
    )
    by_volume = _complete(_covered(rows, "target_id"), 3)
    for number, was in enumerate(all_of_it):
        target = by_volume[was.volume]["target_id"]
        assert (target != was.volume) == (number == 0)
        stage.same_data(was.tree, target)
        stage.same_properties(was.shown, target, own=number > 0)


@branch("of a tenant's volumes, those of a type and with metadata")
def test_filters_choose_volumes_by_type_and_metadata(stage: Stage) -> None:
    wanted = stage.original("by its marks", metadata={"marked": "yes"})
    stage.original("without marks")
    command = ("restore", "create", "--all", "--metadata", "marked=yes", "--type", "lab", "--new")
    planned = _covered(stage.rows(*command, "--dry-run"), "Volume")
    assert [row["Volume"] for row in planned] == [wanted.volume]
    by_volume = _complete(_covered(stage.rows(*command), "target_id"), 1)
    target = by_volume[wanted.volume]["target_id"]
    stage.same_data(wanted.tree, target)
    stage.same_properties(wanted.shown, target)


@branch("all volumes of all tenants: each in its own project")
def test_volumes_of_all_tenants_come_back_in_their_own_projects(stage: Stage) -> None:
    mine = stage.original("every one: mine", **PROPERTIES)
    with stage.other_project() as other:
        theirs = other.original("every one: theirs", **PROPERTIES)
        rows = stage.rows(
            *("restore", "create", "--all-tenants", "--name", "every one: *", "--new")
        )
        by_volume = _complete(_covered(rows, "target_id"), 2)
        for who, was in ((stage, mine), (other, theirs)):
            target = by_volume[was.volume]["target_id"]
            who.site.cloud.adopt(target)
            assert who.site.cloud.show(target)[OWNER] == was.shown[OWNER]
            who.same_data(was.tree, target)
            who.same_properties(was.shown, target)
        assert mine.shown[OWNER] != theirs.shown[OWNER]
        stage.seen.data += other.seen.data
        stage.seen.properties += other.seen.properties


@contextmanager
def _grouped(stage: Stage, name: str, volumes: list[str]) -> Iterator[str]:
    """A group of volumes; all groups are deleted at the end of the block."""
    client = stage.site.cloud.client
    kind = client.group_types.create(GROUP_TYPE)
    kind.set_keys({"consistent_group_snapshot_enabled": "<is> False"})
    types = [t.id for t in client.volume_types.list() if t.name == "lab"]
    group = client.groups.create(kind.id, types[0], name)
    try:
        until_available(client.groups.get, group.id)
        client.groups.update(group.id, add_volumes=",".join(volumes))
        until_available(client.groups.get, group.id)
        yield str(group.id)
    finally:
        for each in client.groups.list():
            _dissolve(client, each.id)
        client.group_types.delete(kind.id)


def _dissolve(client: Any, group: str) -> None:
    """Delete a group, but not its volumes."""
    members = [volume.id for volume in client.volumes.list() if volume.group_id == group]
    if members:
        client.groups.update(group, remove_volumes=",".join(members))
        until_available(client.groups.get, group)
    client.groups.delete(group)
    until_gone(client.groups.get, group)


@branch("all volumes of a group, in place; and beside it, in a group like it")
def test_a_group_comes_back_in_place_and_in_a_new_group(stage: Stage) -> None:
    volumes = [stage.volume(f"member {n}", **PROPERTIES) for n in (1, 2)]
    with _grouped(stage, "pair", volumes) as group:
        shown = [stage.site.cloud.show(volume) for volume in volumes]
        rows = stage.rows("backup", "create", "--group", group)
        assert {row["outcome"] for row in rows} == {"complete"}
        for volume in volumes:
            stage.change(volume)
        command = ("restore", "create", "--group", group, "--yes")
        by_volume = _complete(stage.rows(*command), 2)
        for volume, before in zip(volumes, shown, strict=True):
            assert by_volume[volume]["target_id"] == volume
            stage.same_data(stage.tree, volume)
            stage.same_properties(before, volume, own=True)
        by_volume = _complete(stage.rows(*command, "--new"), 2)
        together = set()
        for volume, before in zip(volumes, shown, strict=True):
            target = by_volume[volume]["target_id"]
            stage.same_data(stage.tree, target)
            stage.same_properties(before, target, but={"group_id"})
            together.add(stage.site.cloud.show(target)["group_id"])
        assert len(together) == 1
        assert together.isdisjoint({None, group})


@branch("one of several cannot be restored: all are told, and nothing is made")
def test_nothing_is_made_if_one_of_several_volumes_cannot_be_restored(stage: Stage) -> None:
    trio = [stage.original(f"of three {n}") for n in range(3)]
    with (
        stage.site.cloud.attached(trio[0].volume),
        stage.site.cloud.attached(trio[2].volume),
    ):
        said = stage.run("restore", "create", *(was.volume for was in trio), "--yes", status=1)
        assert "2 of 3 volumes cannot be restored this way, so nothing was restored" in said
        assert trio[0].volume in said
        assert trio[1].volume not in said
        assert trio[2].volume in said
    for was in trio:
        stage.same_properties(was.shown, was.volume, own=True)
    stage.same_data(trio[1].tree, trio[1].volume)


def _covered(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """The rows without the volumes that the filters left out."""
    return [row for row in rows if row.get(column)]


def _complete(rows: list[dict[str, Any]], count: int) -> dict[str, dict[str, Any]]:
    """The rows by volume; fails unless all of them are complete."""
    assert [row["outcome"] for row in rows] == ["complete"] * count, rows
    return {row["volume_id"]: row for row in rows}
