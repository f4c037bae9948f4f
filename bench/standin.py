"""What stands in for a cloud, a repository and a host where only volflow's own part is measured.

Everything here answers at once and does nothing, but keeps what it is asked for as the real thing
does: a snapshot that is not made is not found, and one that is not deleted is still there at the
end. What runs on top of it, tasks, flows, engines and the state database, is volflow's own.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest import mock

from cinderclient import api_versions, exceptions

from volflow.cloud import connection
from volflow.cloud.cinder import NEWEST, Cinder
from volflow.cloud.login import Login
from volflow.cloud.marks import TAG_KEY
from volflow.cloud.wait import Wait
from volflow.host import host, privilege
from volflow.movers.base import MountedTree, Saved, StoredBackup
from volflow.repositories import opened
from volflow.results.outcome import CopyProgress, Figures

_PROJECT = "1ab00000000000000000000000000001"
_MOMENT = "2026-01-01T00:00:00.000000"
_GIB = 2**30
_VERSION = api_versions.APIVersion(NEWEST)
_TYPE = {
    "id": "11111111-0000-4000-8000-000000000000",
    "name": "standin",
    "description": None,
    "is_public": True,
    "extra_specs": {"volume_backend_name": "standin"},
    "qos_specs_id": None,
}


class _Resource:
    """Something that Cinder tells of, as python-cinderclient has it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def __getattr__(self, name: str) -> Any:
        try:
            return self._told[name]
        except KeyError:
            raise AttributeError(name) from None

    def to_dict(self) -> dict[str, Any]:
        return dict(self._told)


class _Things:
    """One kind of thing that there is in Cinder, by id."""

    def __init__(self, letter: str) -> None:
        self._prefix = f"{ord(letter):08x}-0000-4000-8000-"
        self._numbers = itertools.count(1)
        self._things: dict[str, dict[str, Any]] = {}
        # By what they are looked for: a tag, or the id of their volume.
        self._found: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._things)

    def add(self, told: dict[str, Any], found_by: str | None) -> _Resource:
        told["id"] = f"{self._prefix}{next(self._numbers):012}"
        self._things[told["id"]] = told
        if found_by:
            self._found[found_by] = told["id"]
        return _Resource(told)

    def get(self, thing_id: str) -> _Resource:
        try:
            return _Resource(self._things[thing_id])
        except KeyError:
            raise exceptions.NotFound(404, thing_id) from None

    def delete(self, thing_id: str) -> None:
        self.get(thing_id)
        del self._things[thing_id]

    def all(self) -> list[_Resource]:
        return [_Resource(told) for told in list(self._things.values())]

    def found(self, by: str) -> list[_Resource]:
        told = self._things.get(self._found.get(by, ""))
        return [_Resource(told)] if told else []


class _Volumes(_Things):
    def list(
        self, detailed: bool = True, search_opts: Mapping[str, Any] | None = None
    ) -> list[_Resource]:
        wanted = (search_opts or {}).get("metadata")
        return self.found(wanted[TAG_KEY]) if wanted else self.all()

    def create(self, size: int, **asked: Any) -> _Resource:
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
            "created_at": _MOMENT,
            "encrypted": False,
            "group_id": None,
            "links": [{"rel": rel, "href": "http://127.0.0.1/"} for rel in ("self", "bookmark")],
            "metadata": {},
            "migration_status": None,
            "multiattach": False,
            "os-vol-host-attr:host": "standin@one#standin",
            "os-vol-mig-status-attr:migstat": None,
            "os-vol-mig-status-attr:name_id": None,
            "os-vol-tenant-attr:tenant_id": _PROJECT,
            "provider_id": None,
            "replication_status": None,
            "service_uuid": "22222222-0000-4000-8000-000000000000",
            "shared_targets": False,
            "snapshot_id": None,
            "source_volid": None,
            "updated_at": _MOMENT,
            "user_id": "standin",
            "volume_type": _TYPE["name"],
            "volume_type_id": _TYPE["id"],
        } | asked
        return self.add(volume, volume["metadata"].get(TAG_KEY))

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        self.get(volume_id).metadata.update(metadata)


class _Snapshots(_Things):
    def list(
        self, detailed: bool = True, search_opts: Mapping[str, Any] | None = None
    ) -> list[_Resource]:
        return self.found(search_opts["volume_id"]) if search_opts else self.all()

    def create(self, volume_id: str, **asked: Any) -> _Resource:
        snapshot: dict[str, Any] = {
            "name": "",
            "description": None,
            "status": "available",
            "size": 1,
            "volume_id": volume_id,
            "metadata": {},
            "created_at": _MOMENT,
            "updated_at": _MOMENT,
            "group_snapshot_id": None,
            "user_id": "standin",
            "consumes_quota": True,
            "os-extended-snapshot-attributes:progress": "100%",
            "os-extended-snapshot-attributes:project_id": _PROJECT,
        }
        return self.add(snapshot | asked, volume_id)


class _Attachments(_Things):
    def list(
        self, detailed: bool = True, search_opts: Mapping[str, Any] | None = None
    ) -> list[_Resource]:
        return self.found(search_opts["volume_id"]) if search_opts else self.all()

    def create(self, volume_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        attachment = {
            "volume_id": volume_id,
            "instance": None,
            "status": "attached",
            "connection_info": {"driver_volume_type": "local", "device_path": "/dev/standin"},
        }
        return self.add(attachment, volume_id).to_dict()

    def show(self, attachment_id: str) -> _Resource:
        return self.get(attachment_id)

    def complete(self, attachment_id: str) -> None:
        self.get(attachment_id)


class Client:
    """A python-cinderclient whose Cinder is in memory, as far as a backup uses it.

    :param count: how many volumes there are
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.volumes, self.attachments = _Volumes("v"), _Attachments("a")
        self.volume_snapshots = _Snapshots("s")
        self.volume_types = mock.Mock(list=lambda: [_Resource(_TYPE)])
        # No limits: nothing to be reckoned with.
        self.limits = mock.Mock(get=lambda: mock.Mock(absolute=[]))
        self.quotas = mock.Mock(get=lambda *args, **options: _Resource({}))
        for number in range(count):
            self.volumes.create(1, name=f"volume {number}")

    def temporary(self) -> int:
        """How many things there are that a run has made."""
        made = (self.volumes, self.volume_snapshots, self.attachments)
        return sum(map(len, made)) - self._count


class Cloud(connection.Cloud):
    """A cloud to which everybody may log in."""

    def __init__(self, client: Client) -> None:
        cinder = Cinder(client, project_id=_PROJECT, version=_VERSION, wait=Wait())
        vars(self).update(cinder=cinder, login=Login())


class Mover:
    """A mover that moves nothing, but counts."""

    location = "standin"
    local_path = None

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.saved = 0

    def check(self) -> None: ...

    def backups(self) -> Sequence[StoredBackup]:
        return ()

    def unlock(self, *args: Any) -> None: ...

    def save(
        self,
        namespace: Namespace,
        regions: Sequence[MountedTree],
        *,
        volume_id: str,
        tags: Mapping[str, str],
        parent_id: str | None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> Saved:
        self.saved = number = next(self._numbers)
        progress(CopyProgress(files=1, files_total=1, bytes=_GIB, bytes_total=_GIB))
        return Saved(f"{number:064x}", Figures(files_new=1, bytes_total=_GIB, bytes_stored=_GIB))


class Namespace:
    """A mount namespace in which nothing is mounted."""

    root = Path("/nowhere")

    def run(self, *command: str | Path, stdin: str | None = None) -> str:
        return ""

    def records(self, *command: str | Path) -> Iterator[bytes]:
        return iter(())

    def write(self, path: Path, text: str) -> None: ...

    def mount(self, device: str, path: Path, fs_type: str, options: Sequence[str]) -> None: ...

    def unmount(self) -> None: ...

    def close(self) -> None: ...


class Connector:
    """An os-brick to which every device is there already."""

    def properties(self) -> dict[str, Any]:
        return {"host": "standin", "ip": "127.0.0.1"}

    def connect(self, connection: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "block", "path": connection["device_path"]}

    def disconnect(
        self, connection: Mapping[str, Any], info: Mapping[str, Any], *, discard: bool
    ) -> None: ...

    def paths(self, connection: Mapping[str, Any]) -> list[str]:
        return []


class Privilege(privilege.Privilege):
    """The right to run the programs that look at a file system, and no others."""

    def attempt(self, *command: str, stdin: str | None = None) -> CompletedProcess[str]:
        told = "" if "LABEL" in command else "TYPE=xfs\nUUID=33333333-0000-4000-8000-000000000000\n"
        return CompletedProcess(command, 0, told, "")

    def run(self, *command: str, stdin: str | None = None) -> str:
        return "meta-data isize=512\ndata = bsize=4096\n"


class Repositories(opened.Repositories):
    """One repository for all projects."""

    per_project = False
    location = "standin"

    def __init__(self, mover: Mover) -> None:
        self._mover = mover

    def of(self, project_id: str | None = None) -> Mover:  # type: ignore[override]
        return self._mover

    def mover(self, project_id: str | None = None) -> Mover:  # type: ignore[override]
        return self._mover


class Host(host.Host):
    """A host on which nothing is attached or mounted."""

    def __init__(self) -> None:
        vars(self).update(connector=Connector(), privilege=Privilege())

    def namespace(self) -> Namespace:  # type: ignore[override]
        return Namespace()

    def device_size(self, path: str) -> int:
        return _GIB
