"""Replaces the repository and the host where only volflow's own cost is measured.

Cinder is the fake of the unit tests, in ``tests/support/fake_cinder``. Everything answers at once
and does nothing, but the fake Cinder keeps its resources like the real one: a snapshot that was not
deleted still exists at the end. The tasks, flows, engines and the state database are real.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.fake_cinder import FakeClient
from volflow.cloud import connection
from volflow.cloud.login import Login
from volflow.host import host, privilege
from volflow.host.program import Ended
from volflow.movers.base import MountedTree, RawImage, Saved, StoredBackup
from volflow.repositories import opened
from volflow.results.outcome import CopyProgress, Figures
from volflow.tasks import mount_clone

_GIB = 2**30


# What xfs_db and superblocks.py print of an XFS of one GiB.
_INFO = """\
meta-data=/dev/standin           isize=512    agcount=4, agsize=65536 blks
data     =                       bsize=4096   blocks=262144, imaxpct=25
log      =internal log           bsize=4096   blocks=16384, version=2
"""
_XFS = {"family": "xfs", "mark": 0, "end": 512, "size": _GIB}
_SUPERBLOCKS = json.dumps({"superblocks": [_XFS], "partitions": []})
# What gpt.py prints of a device without a table.
_NO_TABLE = json.dumps({"size": _GIB, "sector": 512, "primary": None, "backup": None})


class Client(FakeClient):
    """A Cinder with volumes to back up.

    :param count: number of volumes
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        for number in range(count):
            self.volumes.create(1, name=f"volume {number}")

    def temporary(self) -> int:
        """The number of resources that a run has created and not deleted."""
        made = (self.volumes, self.volume_snapshots, self.attachments)
        return sum(map(len, made)) - self._count


class Cloud(connection.Cloud):
    """A cloud that accepts every login."""

    def __init__(self, client: Client) -> None:
        vars(self).update(cinder=client.cinder(), login=Login())


class Mover:
    """A mover that copies nothing, but counts the backups."""

    location = "standin"
    local_path = None

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.saved = 0

    def check(self) -> None: ...

    def check_writable(self) -> None: ...

    def backups(self) -> Sequence[StoredBackup]:
        return ()

    def unlock(self, *args: Any) -> None: ...

    def save(
        self,
        namespace: Namespace,
        regions: Sequence[MountedTree | RawImage],
        *,
        volume_id: str,
        tags: Mapping[str, str],
        listed_at: datetime,
        parent_id: str | None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> Saved:
        self.saved = number = next(self._numbers)
        progress(CopyProgress(files=1, files_total=1, bytes=_GIB, bytes_total=_GIB))
        return Saved(f"{number:064x}", Figures(files_new=1, bytes_total=_GIB, bytes_stored=_GIB))

    def confirm(self, namespace: Namespace, copy_id: str, **options: Any) -> bool:
        return False


class Namespace:
    """A mount namespace in which nothing is mounted."""

    root = Path("/nowhere")

    def run(self, *command: str | Path, stdin: str | None = None) -> str:
        if any(str(part).endswith("/attributes.py") for part in command):
            return '{"found": {}, "left_out": {}, "encrypted": []}'
        return "4096 262144 250000 100 90" if command[0] == "stat" else ""

    def records(self, *command: str | Path) -> Iterator[bytes]:
        return iter(())

    def write(self, path: Path, text: str) -> None: ...

    def mount(self, device: str, path: Path, fs_type: str, options: Sequence[str]) -> None: ...

    def remount(self, device: str, path: Path, fs_type: str, options: Sequence[str]) -> None: ...

    def unmount(self, *paths: Path) -> None: ...

    def close(self) -> None: ...


class Connector:
    """An os-brick for which every device exists already."""

    def properties(self) -> dict[str, Any]:
        return {"host": "standin", "ip": "127.0.0.1"}

    def connect(self, connection: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "block", "path": connection["device_path"]}

    def disconnect(
        self, connection: Mapping[str, Any], info: Mapping[str, Any], *, discard: bool
    ) -> None: ...

    def paths(self, connection: Mapping[str, Any]) -> list[str]:
        return []

    def address(self, connection: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def ends_with_attachment(self, connection: Mapping[str, Any]) -> bool:
        return True


@dataclass(frozen=True)
class Device:
    """A block device of one GiB that has just appeared.

    :ivar sequence: a number that no other one has
    """

    sequence: int
    name = "standin"
    size = _GIB
    sysfs_path = Path("/nowhere/at/all")

    @property
    def parts(self) -> list[Device]:
        return [self]

    def attribute(self, name: str) -> str:
        return ""


class Privilege(privilege.Privilege):
    """Answers only the programs that examine a file system."""

    def attempt(self, *command: str, stdin: str | None = None, enter: Sequence[str] = ()) -> Ended:
        if any(part.endswith("/gpt.py") for part in command):
            return Ended(0, _NO_TABLE, "")
        if command[0] != "blkid":
            return Ended(0, _SUPERBLOCKS, "")
        told = "" if "LABEL" in command else "TYPE=xfs\nUUID=33333333-0000-4000-8000-000000000000\n"
        return Ended(0, told, "")

    def run(self, *command: str, stdin: str | None = None, enter: Sequence[str] = ()) -> str:
        return "" if any(part.endswith("/boot_sector.py") for part in command) else _INFO


class Loop:
    """A loop device that is none."""

    paths = ("/dev/standin",)

    def __init__(self, *args: Any, **options: Any) -> None: ...

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None: ...


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
        # A loop device is the kernel's, of which there is no stand-in.
        vars(mount_clone).update(Mapping=Loop)
        self._sequences = itertools.count(1)

    def namespace(self) -> Namespace:  # type: ignore[override]
        return Namespace()

    def device_size(self, path: str) -> int:
        return _GIB

    def block_device(self, path: str) -> Device:  # type: ignore[override]
        return Device(next(self._sequences))

    def newest_device(self) -> int:
        return 0

    def remaining(self, sequences: Mapping[str, int]) -> list[str]:
        return []
