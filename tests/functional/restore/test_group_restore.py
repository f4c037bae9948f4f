"""A killed restore of a group can be resumed, or aborted without leftovers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import controlled_runs
from tests.support.site import Site
from tests.support.waiting import until_available

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

NAMES = ("first", "second")


def _groups(site: Site) -> list[Any]:
    found: list[Any] = site.cloud.client.groups.list()
    return found


def _change(site: Site, group: str, **fields: str) -> None:
    site.cloud.client.groups.update(group, **fields)
    until_available(site.cloud.client.groups.get, group)


@pytest.fixture
def lost(site: Site) -> Iterator[list[str]]:
    """The ids of two volumes and their group, of which only backups exist."""
    client = site.cloud.client
    kinds = {kind.name: kind for kind in client.group_types.list()}
    kind = kinds.get("killed") or client.group_types.create("killed", "Of the tests")
    types = [t.id for t in client.volume_types.list() if t.name == "lab"]
    group = client.groups.create(kind.id, ",".join(types), "pair", "A pair")
    until_available(client.groups.get, group.id)
    volumes = [site.cloud.create(name=name, volume_type="lab", group_id=group.id) for name in NAMES]
    for name, volume in zip(NAMES, volumes, strict=True):
        site.cloud.fill(volume, "ext4", lambda root, name=name: (root / "who").write_text(name))
    site.backup(*volumes)
    _change(site, group.id, remove_volumes=",".join(volumes))
    for volume in volumes:
        site.cloud.delete(volume)
    client.groups.delete(group.id)
    yield volumes
    for found in _groups(site):
        members = [v.id for v in client.volumes.list() if v.group_id == found.id]
        if members:
            _change(site, found.id, remove_volumes=",".join(members))
        client.groups.delete(found.id)


PLACES = [("group", "before"), ("group", "after"), ("new volume", "after"), ("copy", "before")]


@pytest.mark.parametrize(("step", "when"), PLACES)
def test_a_killed_restore_of_a_group_is_resumed(
    site: Site, lost: list[str], step: str, when: str
) -> None:
    run = controlled_runs.killed(site, "restore", *lost, step=step, when=when)
    answer = controlled_runs.run(site, "resume", run)
    assert answer.exit == 0, answer
    assert {volume["outcome"] for volume in answer.volumes} == {"complete"}, answer
    # A single group, as before, with both volumes.
    (group,) = _groups(site)
    assert (group.name, group.description) == ("pair", "A pair")
    client = site.cloud.client
    for one in answer.volumes:
        volume = client.volumes.get(site.cloud.adopt(one["target_id"]))
        assert volume.group_id == group.id
        assert site.cloud.on(volume.id, lambda root: (root / "who").read_text()) == volume.name
    assert len(client.volumes.list()) == 2


@pytest.mark.parametrize(("step", "when"), PLACES)
def test_a_killed_restore_of_a_group_is_aborted(
    site: Site, lost: list[str], step: str, when: str
) -> None:
    run = controlled_runs.killed(site, "restore", *lost, step=step, when=when)
    # Undoing the run needs no repository.
    away = site.repository.rename(site.home / "away")
    answer = controlled_runs.run(site, "abort", run)
    away.rename(site.repository)
    assert answer.exit == 0, answer
    assert answer.error is None
    assert _groups(site) == []
    assert site.cloud.client.volumes.list() == []
    assert [str(finding) for finding in site.findings()] == []


def test_a_member_without_a_backup_fails_alone(site: Site, lost: list[str]) -> None:
    """That volume fails and is undone; the other one is restored into the group."""
    run = controlled_runs.killed(site, "restore", *lost, step="copy", when="before")
    tagged = json.loads(site.restic("snapshots", "--json", "--host", lost[0]))
    site.restic("forget", *(each["id"] for each in tagged))
    answer = controlled_runs.run(site, "resume", run)
    outcomes = {volume["volume_id"]: volume["outcome"] for volume in answer.volumes}
    assert outcomes == {lost[0]: "failed", lost[1]: "complete"}, answer
    told = {volume["volume_id"]: volume for volume in answer.volumes}
    assert "holds no such backup" in told[lost[0]]["error"]
    (volume,) = site.cloud.client.volumes.list()
    assert volume.id == site.cloud.adopt(told[lost[1]]["target_id"])
    assert volume.group_id == _groups(site)[0].id
