"""A python-cinderclient whose Cinder is in memory and answers at once.

volflow's own :class:`~volflow.cloud.cinder.Cinder` runs on top of it. Unit tests use it for what a
real Cinder cannot be made to do at the right moment: to fail, or to change between two calls. The
benchmark uses it to measure volflow alone, so it must stay cheap with thousands of volumes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from cinderclient import api_versions, exceptions

from volflow.cloud.cinder import NEWEST, Cinder
from volflow.cloud.marks import TAG_KEY
from volflow.cloud.wait import Wait

PROJECT = "1ab00000000000000000000000000001"
CREATED = "2026-01-01T00:00:00.000000"
TYPE = {
    "id": "11111111-0000-4000-8000-000000000000",
    "name": "standin",
    "description": None,
    "is_public": True,
    "extra_specs": {"volume_backend_name": "standin"},
    "qos_specs_id": None,
}

_VERSION = api_versions.APIVersion(NEWEST)
_LIMITS = {
    "volumes": "maxTotalVolumes",
    "snapshots": "maxTotalSnapshots",
    "gigabytes": "maxTotalVolumeGigabytes",
}


class _Resource:
    """A resource, as python-cinderclient returns it."""

    def __init__(self, shown: dict[str, Any]) -> None:
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        try:
            return self._shown[name]
        except KeyError:
            raise AttributeError(name) from None

    def to_dict(self) -> dict[str, Any]:
        found = dict(self._shown)
        if "metadata" in found:
            found["metadata"] = dict(found["metadata"])
        return found


class _Manager:
    """All resources of one kind, by id.

    :param done: gets each call that changes something
    :param name: the manager's name in python-cinderclient
    """

    def __init__(self, done: list[str], name: str) -> None:
        self._done, self._name = done, name
        self._prefix = f"{sum(map(ord, name)):08x}-0000-4000-8000-"
        self._numbers = itertools.count(1)
        self._resources: dict[str, dict[str, Any]] = {}
        # The ids by what is looked for: a tag, or the id of a volume.
        self._index: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._resources)

    def __contains__(self, resource_id: str) -> bool:
        return resource_id in self._resources

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._resources))

    def __getitem__(self, resource_id: str) -> dict[str, Any]:
        """What Cinder shows of a resource, to be changed as an administrator could."""
        return self._resources[resource_id]

    def _key(self, shown: Mapping[str, Any]) -> str | None:
        """What the resource is looked for by."""
        return shown.get("volume_id")

    def _note(self, call: str, *what: str) -> None:
        self._done.append(" ".join((f"{self._name}.{call}", *what)))

    def _add(self, shown: dict[str, Any]) -> _Resource:
        resource_id = shown.setdefault("id", f"{self._prefix}{next(self._numbers):012}")
        self._resources[resource_id] = shown
        self._enter(shown)
        return _Resource(shown)

    def _enter(self, shown: Mapping[str, Any]) -> None:
        if key := self._key(shown):
            self._index.setdefault(key, {})[shown["id"]] = None

    def _leave(self, shown: Mapping[str, Any]) -> None:
        if key := self._key(shown):
            self._index.get(key, {}).pop(shown["id"], None)

    def _found(self, key: str) -> list[_Resource]:
        return [_Resource(self._resources[one]) for one in list(self._index.get(key, ()))]

    def _all(self) -> list[_Resource]:
        return [_Resource(shown) for shown in list(self._resources.values())]

    def get(self, resource_id: str) -> _Resource:
        try:
            return _Resource(self._resources[resource_id])
        except KeyError:
            raise exceptions.NotFound(404, resource_id) from None

    def delete(self, resource_id: str) -> None:
        self.get(resource_id)
        self._note("delete", resource_id)
        self._leave(self._resources.pop(resource_id))


class _Volumes(_Manager):
    def _key(self, shown: Mapping[str, Any]) -> str | None:
        tag: str | None = shown["metadata"].get(TAG_KEY)
        return tag

    def list(
        self,
        detailed: bool = True,
        search_opts: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> list[_Resource]:
        wanted = dict(search_opts or {})
        wanted.pop("all_tenants", None)
        if metadata := wanted.pop("metadata", None):
            return self._found(metadata[TAG_KEY])
        found = self._all()
        for name, value in wanted.items():
            found = [one for one in found if getattr(one, name, None) == value]
        return found[:limit]

    def create(self, size: int = 1, **asked: Any) -> _Resource:
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

    def revert_to_snapshot(self, volume: _Resource, snapshot: _Resource) -> None:
        self._note("revert_to_snapshot", volume.id, snapshot.id)


class _OfVolumes(_Manager):
    """Resources that are looked for by their volume."""

    def list(
        self, detailed: bool = True, search_opts: Mapping[str, Any] | None = None
    ) -> list[_Resource]:
        return self._found(search_opts["volume_id"]) if search_opts else self._all()


class _Snapshots(_OfVolumes):
    def create(self, volume_id: str, **asked: Any) -> _Resource:
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


class _Attachments(_OfVolumes):
    def create(
        self, volume_id: str, connector: Mapping[str, Any], instance: str | None = None
    ) -> dict[str, Any]:
        self._note("create", volume_id)
        attachment = {
            "volume_id": volume_id,
            "instance": instance,
            "status": "attaching",
            "connection_info": {"driver_volume_type": "local", "device_path": "/dev/standin"},
        }
        return self._add(attachment).to_dict()

    def show(self, attachment_id: str) -> _Resource:
        return self.get(attachment_id)

    def complete(self, attachment_id: str) -> None:
        self.get(attachment_id)
        self[attachment_id]["status"] = "attached"


class _Groups(_Manager):
    """Volume groups, or consistency groups.

    :param legacy: where these are volume groups: the consistency groups
    """

    def __init__(
        self, done: list[str], name: str, volumes: _Volumes, legacy: _Groups | None = None
    ) -> None:
        super().__init__(done, name)
        self._volumes, self._legacy = volumes, legacy

    def get(self, resource_id: str) -> _Resource:
        if self._legacy is not None and resource_id in self._legacy:
            raise exceptions.BadRequest(400, "use the API of consistency groups")
        return super().get(resource_id)

    def list(self, search_opts: Mapping[str, Any] | None = None) -> list[_Resource]:
        return self._all()

    def create(self, group_type: str, volume_types: str | None = None, **asked: Any) -> _Resource:
        if self._legacy is None:
            group_type, volume_types = "", group_type
        group = {
            "name": "",
            "description": None,
            "status": "available",
            "group_type": group_type,
            "volume_types": volume_types.split(",") if volume_types else [],
            "availability_zone": "nova",
            "created_at": CREATED,
        }
        return self._add(group | asked)

    def update(
        self,
        group_id: str,
        *,
        add_volumes: str | None = None,
        remove_volumes: str | None = None,
        **fields: Any,
    ) -> None:
        self.get(group_id)
        self._note("update", group_id)
        self[group_id].update(fields)
        for volume_id, group in ((add_volumes, group_id), (remove_volumes, None)):
            if volume_id:
                self._volumes[volume_id]["group_id"] = group


class _GroupSnapshots(_Manager):
    """Snapshots of groups, which have one of each volume."""

    def __init__(
        self, done: list[str], name: str, volumes: _Volumes, snapshots: _Snapshots
    ) -> None:
        super().__init__(done, name)
        self._volumes, self._snapshots = volumes, snapshots

    def list(self, search_opts: Mapping[str, Any] | None = None) -> list[_Resource]:
        return self._all()

    def create(self, group_id: str, **asked: Any) -> _Resource:
        made = self._add(
            {"group_id": group_id, "status": "available", "created_at": CREATED} | asked
        )
        for volume in self._volumes.list(search_opts={"group_id": group_id}):
            self._snapshots.create(volume.id, group_snapshot_id=made.id)
        return made

    def delete(self, resource_id: str) -> None:
        super().delete(resource_id)
        for snapshot in self._snapshots.list():
            if snapshot.group_snapshot_id == resource_id:
                self._snapshots.delete(snapshot.id)


class FakeClient:
    """A python-cinderclient, as far as volflow uses it.

    :ivar done: the calls that changed something, in their order
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.volumes = _Volumes(self.done, "volumes")
        self.volume_snapshots = _Snapshots(self.done, "volume_snapshots")
        self.attachments = _Attachments(self.done, "attachments")
        self.consistencygroups = _Groups(self.done, "consistencygroups", self.volumes)
        self.groups = _Groups(self.done, "groups", self.volumes, self.consistencygroups)
        self.group_snapshots = _GroupSnapshots(
            self.done, "group_snapshots", self.volumes, self.volume_snapshots
        )
        self.cgsnapshots = _GroupSnapshots(
            self.done, "cgsnapshots", self.volumes, self.volume_snapshots
        )
        self.types = [TYPE]
        self.volume_types = SimpleNamespace(list=lambda: list(map(_Resource, self.types)))
        self.messages = SimpleNamespace(list=lambda search_opts: [])
        self.services = SimpleNamespace(list=list)
        zone = SimpleNamespace(zoneName="nova", zoneState={"available": True})
        self.availability_zones = SimpleNamespace(list=lambda: [zone])
        # No limits, unless a test sets some.
        absolute: list[SimpleNamespace] = []
        self.limits = SimpleNamespace(get=lambda: SimpleNamespace(absolute=absolute))
        self._of_types: dict[str, Any] = {}
        self.quotas = SimpleNamespace(get=lambda project, usage: _Resource(self._of_types))
        self._changed: list[tuple[Any, str]] = []

    def cinder(self, project_id: str | None = PROJECT) -> Cinder:
        """volflow's own Cinder, on top of this client."""
        return Cinder(self, project_id=project_id, version=_VERSION, wait=Wait())

    # What a test wants to be so

    def put(self, tag: str | None = None, *, volume_id: str | None = None, **more: Any) -> str:
        """Have a volume, or a snapshot of a volume.

        :param tag: the tag that it carries
        """
        more.setdefault("metadata", {TAG_KEY: tag} if tag else {})
        if volume_id:
            return str(self.volume_snapshots.create(volume_id, **more).id)
        return str(self.volumes.create(**more).id)

    def attach(self, volume_id: str, *, server: str | None = None, status: str = "attached") -> str:
        """Have an attachment of a volume.

        :param server: the server's id, where it is attached to one
        """
        made = str(self.attachments.create(volume_id, {}, server)["id"])
        self.attachments[made]["status"] = status
        self.done.pop()
        return made

    def tag(self, volume_id: str) -> str | None:
        """The tag that a volume carries."""
        found: str | None = self.volumes[volume_id]["metadata"].get(TAG_KEY)
        return found

    def leave(self, *, volume_type: str | None = None, **left: int) -> None:
        """Limit what is left of the quota.

        :param volume_type: the name of the type with this limit; else the limit is the project's
        :param left: ``volumes``, ``snapshots`` and ``gigabytes``
        """
        for resource, amount in left.items():
            if volume_type:
                limit = {"limit": amount, "in_use": 0, "reserved": 0}
                self._of_types[f"{resource}_{volume_type}"] = limit
            else:
                limit_of = SimpleNamespace(name=_LIMITS[resource], value=amount)
                self.limits.get().absolute.append(limit_of)

    # What is to happen at a call

    def fail(
        self,
        *calls: str,
        when: Callable[..., bool] = lambda *_, **__: True,
        message: str = "refused",
        error: Exception | None = None,
    ) -> None:
        """Have these calls fail, until :meth:`recover`.

        :param calls: each as ``<manager>.<method>``
        :param when: whether a call with these arguments fails; every call unless given
        :param message: that of the error 500 that they raise
        :param error: what they raise instead
        """
        for call in calls:
            manager, _, method = call.partition(".")
            original = getattr(getattr(self, manager), method)

            def failing(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
                if when(*args, **kwargs):
                    raise error or exceptions.ClientException(500, message)
                return _original(*args, **kwargs)

            self._change(call, failing)

    def after(self, call: str, act: Callable[[], object]) -> None:
        """Act once, when this call has been carried out and before it returns.

        :param call: ``<manager>.<method>``
        """
        manager, _, method = call.partition(".")
        original = getattr(getattr(self, manager), method)

        def acting(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self.recover()
            act()
            return result

        self._change(call, acting)

    def recover(self) -> None:
        """Have all calls succeed again."""
        for manager, method in self._changed:
            vars(manager).pop(method, None)
        self._changed.clear()

    def _change(self, call: str, function: Callable[..., Any]) -> None:
        name, _, method = call.partition(".")
        manager = getattr(self, name)
        setattr(manager, method, function)
        self._changed.append((manager, method))
