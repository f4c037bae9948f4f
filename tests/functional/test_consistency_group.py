"""Legacy consistency groups, which Cinder stores as groups but shows in a separate API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from cinderclient import exceptions

from tests.support.site import Site
from tests.support.waiting import until_available, until_gone

pytestmark = pytest.mark.lab


@pytest.fixture
def group(site: Site) -> Iterator[str]:
    """A consistency group; all of them are deleted at the end."""
    client = site.cloud.client
    (kind,) = (t.id for t in client.volume_types.list() if t.name == "lab")
    made = client.consistencygroups.create(kind, name="of old", description="Since Kilo")
    until_available(client.consistencygroups.get, made.id)
    yield str(made.id)
    for found in client.consistencygroups.list():
        _dissolve(site, found.id)


def _dissolve(site: Site, group: str) -> None:
    client = site.cloud.client
    members = [v.id for v in client.volumes.list() if v.group_id == group]
    if members:
        client.consistencygroups.update(group, remove_volumes=",".join(members))
        until_available(client.consistencygroups.get, group)
    client.consistencygroups.delete(group)
    until_gone(client.consistencygroups.get, group)


@pytest.fixture
def members(site: Site, group: str) -> list[str]:
    volumes = [
        site.cloud.create(name=name, volume_type="lab", consistencygroup_id=group)
        for name in ("first", "second")
    ]
    for name, volume in zip(("first", "second"), volumes, strict=True):
        site.cloud.fill(volume, "ext4", lambda root, name=name: (root / "who").write_text(name))
    return volumes


def test_cinder_lists_consistency_groups_apart(site: Site, group: str) -> None:
    """This is why volflow queries both APIs."""
    with pytest.raises(exceptions.BadRequest, match="reserved for migrating CGs to groups"):
        site.cloud.client.groups.get(group)
    assert group not in {found.id for found in site.cloud.client.groups.list()}


@pytest.mark.parametrize("what", [("--group",), ("--all",)])
def test_a_consistency_group_is_backed_up_together(
    site: Site, group: str, members: list[str], what: tuple[str, ...]
) -> None:
    selected = (*what, group) if what == ("--group",) else what
    done = site.cli("backup", "create", *selected)
    assert done.returncode == 0, done
    assert f"group {group}: its volumes were snapshotted at one moment" in done.stderr
    # The list would show a remaining group snapshot, and it is empty.
    assert site.cloud.client.cgsnapshots.list() == []
    listed = json.loads(site.cli("backup", "list", "-f", "json").stdout)
    assert {row["Volume"] for row in listed} == set(members)


def test_a_consistency_group_comes_back_as_one(site: Site, group: str, members: list[str]) -> None:
    client = site.cloud.client
    assert site.cli("backup", "create", "--group", group).returncode == 0
    _dissolve(site, group)
    for volume in members:
        site.cloud.delete(volume)
    done = site.cli("restore", "create", "--group", group, "-f", "json")
    assert done.returncode == 0, done
    rows = json.loads(done.stdout)
    (made,) = client.consistencygroups.list()
    assert (made.name, made.description) == ("of old", "Since Kilo")
    for row in rows:
        volume = client.volumes.get(site.cloud.adopt(row["target_id"]))
        assert volume.consistencygroup_id == made.id
        read = site.cloud.on(volume.id, lambda root: (root / "who").read_text())
        assert read == row["name"]
        assert "group_id" not in {each["name"] for each in row["differences"]}
