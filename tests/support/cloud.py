"""Direct use of the lab's cloud by tests: volumes, attachments, and trees on volumes.

It uses no code of volflow, so that tests can compare its results with those of volflow.
"""

from __future__ import annotations

import ctypes
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from cinderclient import exceptions

from tests.support.auditor import Known
from tests.support.waiting import LIMIT, until, until_available, until_gone

T = TypeVar("T")

CLONE_NEWNS = 0x00020000
CONNECTOR = {
    "host": "the-tests",
    "ip": "127.0.0.1",
    "initiator": "iqn.2026-01.tests:1",
    "platform": "x86_64",
    "os_type": "linux",
    "multipath": False,
}
MKFS = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}


class Cloud:
    """A cloud's volumes, with a record of every resource made here.

    :param client: a cinderclient of the project that owns the volumes
    :param scratch: an empty directory to mount things at
    :param administrator: a cinderclient that may reset states; the same unless given
    """

    def __init__(self, client: Any, scratch: Path, administrator: Any = None) -> None:
        self.client = client
        self._administrator = administrator or client
        self.known = Known()
        self._scratch = scratch

    # Volumes

    def create(self, size: int = 1, **properties: Any) -> str:
        """Make a volume, wait until it is available, and return its id."""
        volume = self.client.volumes.create(size, **properties)
        self.known.volumes.add(volume.id)
        self.wait(volume.id, "available")
        return str(volume.id)

    def clones(self, source_id: str, names: list[str]) -> list[str]:
        """Make volumes with these names and the content of another one, in parallel."""
        size = self.client.volumes.get(source_id).size
        made = [
            self.client.volumes.create(size, source_volid=source_id, name=name) for name in names
        ]
        self.known.volumes.update(volume.id for volume in made)
        for volume in made:
            self.wait(volume.id, "available")
        return [str(volume.id) for volume in made]

    def adopt(self, volume_id: str | None) -> str:
        """Count a permanent volume that volflow made as one of the tests' own."""
        assert volume_id
        self.known.volumes.add(volume_id)
        return volume_id

    def show(self, volume_id: str) -> dict[str, Any]:
        """Everything that the API shows about a volume."""
        told: dict[str, Any] = self.client.volumes.get(volume_id).to_dict()
        return {k: v for k, v in told.items() if k not in ("x_openstack_request_ids", "links")}

    def delete(self, volume_id: str) -> None:
        """Delete a volume, if it exists, and wait until it no longer exists."""
        with suppress(exceptions.NotFound):
            self.client.volumes.delete(volume_id)
        until_gone(self.client.volumes.get, volume_id)
        self.known.volumes.discard(volume_id)

    def wait(self, volume_id: str, status: str, seconds: float = LIMIT) -> None:
        """Wait until a volume has this status."""
        deadline = time.monotonic() + seconds
        while (found := self.client.volumes.get(volume_id).status) != status:
            assert found != "error", f"volume {volume_id} is in error"
            assert time.monotonic() < deadline, f"volume {volume_id} is still {found}"
            time.sleep(0.05)

    def clean(self) -> None:
        """Remove everything that was made here, by its id, and whatever prevents that."""
        for attachment in list(self.known.attachments):
            self._end(attachment)
        for snapshot in list(self.known.snapshots):
            self.delete_snapshot(snapshot)
        for volume in list(self.known.volumes):
            try:
                self._administrator.volumes.reset_state(volume, "available")
                self.delete(volume)
            except exceptions.NotFound:
                self.known.volumes.discard(volume)

    def create_snapshot(self, volume_id: str, **properties: Any) -> str:
        """Make a snapshot, wait until it is available, and return its id."""
        snapshot = self.client.volume_snapshots.create(volume_id, **properties)
        self.known.snapshots.add(snapshot.id)
        until_available(self.client.volume_snapshots.get, snapshot.id)
        return str(snapshot.id)

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot, if it exists, and wait until it no longer exists."""
        with suppress(exceptions.NotFound):
            self.client.volume_snapshots.delete(snapshot_id)
        until_gone(self.client.volume_snapshots.get, snapshot_id)
        self.known.snapshots.discard(snapshot_id)

    # Attachments

    @contextmanager
    def attached(self, volume_id: str, *, host: str | None = None) -> Iterator[str]:
        """The device of a volume, which is attached while the block runs.

        :param host: the host in the attachment
        """
        connector = CONNECTOR | {"host": host or CONNECTOR["host"]}
        made = self.client.attachments.create(volume_id, connector)
        attachment = made["id"] if isinstance(made, dict) else made.id
        self.known.attachments.add(attachment)
        try:
            told = self.client.attachments.show(attachment)
            self.client.attachments.complete(attachment)
            yield str(told.connection_info["device_path"])
        finally:
            self._end(attachment)

    def _end(self, attachment: str) -> None:
        with suppress(exceptions.NotFound):
            self.client.attachments.delete(attachment)
        self.known.attachments.discard(attachment)

    # Content

    def format(self, volume_id: str, kind: str, *options: str) -> None:
        """Make a file system on a volume."""
        with self.attached(volume_id) as device:
            run(*MKFS[kind], *options, device)

    def on(self, volume_id: str, do: Callable[[Path], T], *, read_only: bool = False) -> T:
        """Mount a volume in a private namespace, call a function there, and return its result."""
        with self.attached(volume_id) as device:
            return self.mounted(device, do, read_only=read_only)

    def mounted(
        self, device: str, do: Callable[[Path], T], *, read_only: bool = False, kind: str = ""
    ) -> T:
        """Mount an attached device, call a function there, and return its result.

        :param kind: its type, where blkid sees several
        """
        tag = ("--output", "value", "--match-tag", "TYPE")
        kind = kind or run("blkid", "--probe", *tag, device).strip()
        options = ["ro" if read_only else "rw", *(["nouuid"] if kind == "xfs" else [])]
        point = self._scratch / Path(device).name
        point.mkdir(exist_ok=True)

        def inside() -> T:
            run("mount", "-t", kind, "-o", ",".join(options), device, str(point))
            try:
                return do(point)
            finally:
                unmount(point)

        try:
            return in_a_namespace(inside)
        finally:
            point.rmdir()

    def fill(self, volume_id: str, kind: str, do: Callable[[Path], T], *options: str) -> T:
        """Make a file system on a volume and fill it."""
        with self.attached(volume_id) as device:
            run(*MKFS[kind], *options, device)
            return self.mounted(device, do)


def run(*command: str, **arguments: Any) -> str:
    """Run a program and return its output. A failure shows the program's message."""
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False, **arguments
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}: {done.stderr}"
    return done.stdout


def unmount(point: Path) -> None:
    """Unmount. Waits while a loop device, or what another thread has just started, holds files."""
    until(
        lambda: subprocess.run(["umount", point], capture_output=True, check=False).returncode == 0
    )


def in_a_namespace(do: Callable[[], T]) -> T:
    """Call a function in a thread with its own mount namespace, and return its result.

    Only that thread and the programs that it starts see mounts made there. The mounts end with
    the thread.
    """

    def inside() -> T:
        # For this thread only, as it unshares the file system attributes too (unshare(2)).
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")
        # A file system that is unmounted outside must not stay mounted here.
        run("mount", "--make-rslave", "/")
        return do()

    with ThreadPoolExecutor(1, "namespace") as thread:
        return thread.submit(inside).result()


def this_host() -> str:
    """The properties that a connector reports for this host."""
    return socket.gethostname()
