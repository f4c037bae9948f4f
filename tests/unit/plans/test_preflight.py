"""What volflow refuses before a run creates anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.fake_cinder import FakeClient
from volflow.errors import RepositoryError, ResourceNotFoundError, UsageError, VolumeStateError
from volflow.host.connector import Connector
from volflow.host.devices import devices_below
from volflow.plans import preflight
from volflow.repositories.manifest import Manifest


def manifest(size: int = 1, volume_type: str | None = None, zone: str = "nova") -> Manifest:
    volume = {"id": "v", "volume_type": volume_type, "availability_zone": zone}
    return Manifest("", volume, {}, {}, {}, {"size": size}, ())


def volume(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": "v",
        "name": "name",
        "size": 1,
        "status": "available",
        "attachments": [],
        "metadata": {},
        "encrypted": False,
    }
    return found | changes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "in-use"}, "is attached"),
        ({"attachments": [{}]}, "is attached"),
        ({"status": "error"}, "is 'error'"),
        ({"metadata": {"readonly": "True"}}, "is read-only"),
        ({"encrypted": True}, "is encrypted"),
    ],
    ids=str,
)
def test_a_volume_that_cannot_be_overwritten_is_refused(changes: dict[str, Any], says: str) -> None:
    preflight.check_in_place(volume(), manifest())
    with pytest.raises(VolumeStateError, match=rf"Volume name \(v\) {says}"):
        preflight.check_in_place(volume(**changes), manifest())


def test_a_volume_smaller_than_the_backup_is_refused() -> None:
    preflight.check_in_place(volume(size=3), manifest(size=2))
    with pytest.raises(VolumeStateError, match=r"has 1 GiB, and .* had 2 GiB: extend it to 2 GiB"):
        preflight.check_in_place(volume(size=1), manifest(size=2))


def test_a_map_of_what_no_backup_has_is_refused() -> None:
    preflight.check_map("--type-map", ["a"], {"a", "b"})
    with pytest.raises(UsageError, match=r"--type-map x=.*none of the backups has 'x'.*: a, b"):
        preflight.check_map("--type-map", ["a", "x"], {"a", "b"})


def test_what_this_cloud_lacks_is_named_with_the_option_that_replaces_it() -> None:
    cinder = FakeClient().cinder()
    preflight.check_volume_can_be_created(cinder, manifest(volume_type="standin"))
    preflight.check_volume_can_be_created(cinder, manifest(volume_type=None))
    with pytest.raises(ResourceNotFoundError, match="--type-map ceph=TYPE"):
        preflight.check_volume_can_be_created(cinder, manifest(volume_type="ceph"))
    with pytest.raises(ResourceNotFoundError, match=r"it has: nova\. Use --az-map moon=ZONE"):
        preflight.check_volume_can_be_created(cinder, manifest(zone="moon"))


@pytest.mark.parametrize(
    ("changes", "snapshots", "why"),
    [
        ({}, 0, None),
        ({"status": "in-use", "attachments": [{}]}, 0, "it is 'in-use', attached"),
        ({"status": "error"}, 0, "it is 'error'"),
        ({}, 1, "it has snapshots"),
        ({"group_id": "g"}, 0, "it belongs to group g"),
    ],
)
def test_an_old_volume_that_something_uses_is_not_removable(
    changes: dict[str, Any], snapshots: int, why: str | None
) -> None:
    client = FakeClient()
    for _ in range(snapshots):
        client.put(volume_id="v")
    assert preflight.why_not_removable(client.cinder(), volume(**changes)) == why


def test_a_repository_on_the_volume_itself_is_refused(tmp_path: Path) -> None:
    devices = sorted(devices_below(tmp_path))
    if not devices:
        pytest.skip("the temporary directory is on no block device")
    client = FakeClient()
    attachment = client.attach(client.put(id="v"))
    attached = volume(attachments=[{"attachment_id": attachment, "host_name": None}])

    def check(*paths: str) -> None:
        connector = cast(Connector, SimpleNamespace(paths=lambda connection: list(paths)))
        repository = tmp_path / "repository"
        preflight.check_repositories_elsewhere(client.cinder(), connector, [repository], [attached])

    check("/dev/another")
    with pytest.raises(RepositoryError, match=r"is stored on volume name \(v\) itself"):
        check(devices[0])
