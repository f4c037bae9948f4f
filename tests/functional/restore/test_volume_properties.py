"""A restored volume has the properties of the old one, as far as Cinder can set them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.lab

# Properties that belong to one volume, or to the time of its creation.
OWN = {
    "attachments",
    "cluster_name",
    "created_at",
    "id",
    "os-vol-host-attr:host",
    "service_uuid",
    "source_volid",
    "snapshot_id",
    "updated_at",
}


def _again(site: Site, **properties: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A volume before it is backed up and deleted, and the restored volume."""
    volume = site.cloud.create(**{"size": 1, **properties})
    site.cloud.format(volume, "ext4")
    return _restored(site, volume)


def _restored(site: Site, volume: str) -> tuple[dict[str, Any], dict[str, Any]]:
    before = site.cloud.show(volume)
    assert str(site.backup(volume).outcome) == "complete"
    assert site.cloud.show(volume) == before
    site.cloud.delete(volume)
    result = site.restore(volume)
    assert str(result.outcome) == "complete", result
    assert result.volumes[0].target_id != volume
    return before, site.cloud.show(result.volumes[0].target_id)


def _same(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = {
        key: (before.get(key), after.get(key))
        for key in (before.keys() | after.keys()) - OWN
        if before.get(key) != after.get(key)
    }
    assert changed == {}


def test_every_property_comes_back(site: Site) -> None:
    cloud = site.cloud
    volume = cloud.create(
        2,
        name="names and more ☃",
        description="with a\nsecond line",
        metadata={"colour": "blue", "empty": "", "with space": "a=b,c"},
        availability_zone="second",
    )
    cloud.format(volume, "ext4")
    cloud.client.volumes.set_bootable(volume, True)
    cloud.client.volumes.set_image_metadata(
        volume, {"os_distro": "debian", "hw_disk_bus": "virtio", "image_name": "with space"}
    )
    cloud.client.volumes.update_readonly_flag(volume, True)
    before, after = _restored(site, volume)
    # The volume has the properties that this test is about.
    assert before["availability_zone"] == "second"
    assert before["bootable"] == "true"
    assert before["volume_image_metadata"]["os_distro"] == "debian"
    assert before["metadata"]["readonly"] == "True"
    _same(before, after)


def test_a_multiattach_volume_comes_back(site: Site) -> None:
    before, after = _again(site, name="shared", volume_type="lab-multiattach")
    assert before["multiattach"] is True
    _same(before, after)


def test_a_volume_without_name_and_description_comes_back(site: Site) -> None:
    before, after = _again(site)
    assert not before["name"]
    assert before["description"] is None
    _same(before, after)


def test_a_new_volume_has_the_size_of_the_backup(site: Site) -> None:
    """The new volume has the size at the time of the backup, not the present size."""
    volume = site.cloud.create(name="growing")
    site.cloud.format(volume, "xfs")
    backup = site.backup(volume).volumes[0].backup_id
    site.cloud.client.volumes.extend(volume, 2)
    site.cloud.wait(volume, "available")
    result = site.restore(backup, new=True)
    assert site.cloud.show(result.volumes[0].target_id)["size"] == 1
    # A restore in place keeps the larger size.
    assert str(site.restore(backup).outcome) == "complete"
    assert site.cloud.show(volume)["size"] == 2


def test_in_place_changes_no_property(site: Site) -> None:
    volume = site.cloud.create(name="before", metadata={"a": "1"}, availability_zone="second")
    site.cloud.format(volume, "ext4")
    backup = site.backup(volume).volumes[0].backup_id
    site.cloud.client.volumes.update(volume, name="after", description="new")
    site.cloud.client.volumes.set_metadata(volume, {"a": "2", "b": "3"})
    before = site.cloud.show(volume)
    assert str(site.restore(backup).outcome) == "complete"
    after = site.cloud.show(volume)
    assert {k: v for k, v in after.items() if k != "updated_at"} == {
        k: v for k, v in before.items() if k != "updated_at"
    }


def test_a_missing_volume_type_is_reported(site: Site) -> None:
    client = site.cloud.client
    made = client.volume_types.create("for a while")
    made.set_keys({"volume_backend_name": "lab"})
    try:
        volume = site.cloud.create(name="typed", volume_type="for a while")
        site.cloud.format(volume, "ext4")
        backup = site.backup(volume).volumes[0].backup_id
        site.cloud.delete(volume)
    finally:
        client.volume_types.delete(made)
    done = site.cli("restore", "create", backup)
    assert done.returncode == 1
    assert "no volume type 'for a while' that this user can see; it has: " in done.stderr
    assert "lab-multiattach" in done.stderr
