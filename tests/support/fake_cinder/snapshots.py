"""The snapshots of the fake Cinder."""

from __future__ import annotations

from typing import Any

from tests.support.fake_cinder.manager import CREATED, PROJECT, OfVolumes, Resource


class Snapshots(OfVolumes):
    def create(self, volume_id: str, **asked: Any) -> Resource:
        snapshot: dict[str, Any] = {
            "name": "",
            "description": None,
            "status": "available",
            "size": 1,
            "volume_id": volume_id,
            "metadata": {},
            "created_at": CREATED,
            "updated_at": CREATED,
            "group_snapshot_id": None,
            "user_id": "standin",
            "consumes_quota": True,
            "os-extended-snapshot-attributes:progress": "100%",
            "os-extended-snapshot-attributes:project_id": PROJECT,
        }
        return self._add(snapshot | asked)
