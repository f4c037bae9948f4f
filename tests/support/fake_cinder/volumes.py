"""The volumes of the fake Cinder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.fake_cinder.manager import CREATED, PROJECT, Manager, Resource
from volflow.cloud.marks import TAG_KEY

TYPE = {
    "id": "11111111-0000-4000-8000-000000000000",
    "name": "standin",
    "description": None,
    "is_public": True,
    "extra_specs": {"volume_backend_name": "standin"},
    "qos_specs_id": None,
}


class Volumes(Manager):
    def _key(self, shown: Mapping[str, Any]) -> str | None:
        tag: str | None = shown["metadata"].get(TAG_KEY)
        return tag

    def list(
        self,
        detailed: bool = True,
        search_opts: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> list[Resource]:
        wanted = dict(search_opts or {})
        wanted.pop("all_tenants", None)
        if metadata := wanted.pop("metadata", None):
            return self._found(metadata[TAG_KEY])
        found = self._all()
        for name, value in wanted.items():
            found = [one for one in found if getattr(one, name, None) == value]
        return found[:limit]

    def create(self, size: int = 1, **asked: Any) -> Resource:
        volume: dict[str, Any] = {
            "name": "",
            "description": None,
            "status": "available",
            "size": size,
            "attachments": [],
            "availability_zone": "nova",
            "bootable": "false",
            "cluster_name": None,
            "consistencygroup_id": None,
            "consumes_quota": True,
            "created_at": CREATED,
            "encrypted": False,
            "group_id": None,
            "links": [{"rel": rel, "href": "http://127.0.0.1/"} for rel in ("self", "bookmark")],
            "metadata": {},
            "migration_status": None,
            "multiattach": False,
            "os-vol-host-attr:host": "standin@one#standin",
            "os-vol-mig-status-attr:migstat": None,
            "os-vol-mig-status-attr:name_id": None,
            "os-vol-tenant-attr:tenant_id": PROJECT,
            "provider_id": None,
            "replication_status": None,
            "service_uuid": "22222222-0000-4000-8000-000000000000",
            "shared_targets": False,
            "snapshot_id": None,
            "source_volid": None,
            "updated_at": CREATED,
            "user_id": "standin",
            "volume_type": TYPE["name"],
            "volume_type_id": TYPE["id"],
        } | asked
        return self._add(volume)

    def update(self, volume_id: str, **fields: Any) -> None:
        self.get(volume_id)
        self._note("update", volume_id, *fields)
        self[volume_id].update(fields)

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        self.get(volume_id)
        self._note("set_metadata", volume_id, *metadata.values())
        self._leave(self[volume_id])
        self[volume_id]["metadata"].update(metadata)
        self._enter(self[volume_id])

    def delete_metadata(self, volume_id: str, keys: Iterable[str]) -> None:
        self.get(volume_id)
        self._note("delete_metadata", volume_id, *keys)
        self._leave(self[volume_id])
        for key in keys:
            del self[volume_id]["metadata"][key]
        self._enter(self[volume_id])

    def set_bootable(self, volume_id: str, bootable: bool) -> None:
        self.update(volume_id, bootable=str(bootable).lower())

    def set_image_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        found = self[volume_id].get("volume_image_metadata", {})
        self.update(volume_id, volume_image_metadata={**found, **metadata})

    def delete_image_metadata(self, volume_id: str, keys: Iterable[str]) -> None:
        for key in keys:
            del self[volume_id]["volume_image_metadata"][key]

    def update_readonly_flag(self, volume_id: str, readonly: bool) -> None:
        self.set_metadata(volume_id, {"readonly": str(readonly)})

    def revert_to_snapshot(self, volume: Resource, snapshot: Resource) -> None:
        self._note("revert_to_snapshot", volume.id, snapshot.id)
