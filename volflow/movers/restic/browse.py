"""Looking into a backup: its files, its differences to another, and whether it can be read."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from volflow.errors import HostError, RepositoryError
from volflow.host.privilege import Privilege
from volflow.movers.restic.mover import time_of
from volflow.movers.restic.program import ResticProgram

# Bytes read at a time of what is only read to be checked.
_CHUNK = 1024 * 1024
# Seconds that FUSE may take to show a repository.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Node:
    """A file, directory or other thing in a backup.

    :ivar path: in the volume
    :ivar type: as restic calls it: file, dir, symlink, fifo, socket, chardev, dev
    :ivar size: bytes; 0 for what has none
    """

    path: str
    type: str
    permissions: str
    uid: int
    gid: int
    size: int
    modified_at: datetime


@dataclass(frozen=True)
class Change:
    """A path that differs between two backups.

    :ivar kind: ``added``, ``removed``, ``changed`` in content, or only in ``metadata``
    """

    path: str
    kind: str


# Owner, mode and times, as restic lists them; a change of an attribute or ACL changes ctime.
_METADATA = ("uid", "gid", "mode", "mtime", "ctime")

_KINDS = {"+": "added", "-": "removed", "M": "changed", "T": "changed", "U": "metadata"}


def unmount(privilege: Privilege, point: Path) -> bool:
    """Unmount what is mounted at a directory, at once; whether nobody was in it any more."""
    if privilege.attempt("umount", str(point)).returncode == 0:
        return True
    # Whoever still stands in it keeps it for himself.
    privilege.attempt("umount", "--lazy", str(point))
    return False


class Browser:
    """Looks into the backups of a repository.

    :param restic: the repository
    :param tree: where the volume's tree stands in a backup
    """

    def __init__(self, restic: ResticProgram, tree: Path) -> None:
        self._restic = restic
        self._tree = f"/{tree}"

    def list(self, backup_id: str, path: str = "/", *, recursive: bool = False) -> list[Node]:
        """What is in a directory of the volume, or the file of that name.

        :raises RepositoryError: the backup has no such path
        """
        nodes = self._nodes(backup_id, path, recursive=recursive)
        return [*(nodes[1:] if nodes[0].type == "dir" else nodes)]

    def directory(self, backup_id: str, path: str = "/") -> Node:
        """A directory of the volume itself.

        :raises RepositoryError: the backup has no such path
        """
        return self._nodes(backup_id, path)[0]

    def _nodes(self, backup_id: str, path: str, *, recursive: bool = False) -> Sequence[Node]:
        """What has a path; of a directory it comes first, and then what is in it."""
        inside = path.strip("/")
        wanted = f"{self._tree}/{inside}".rstrip("/")
        options = ["--recursive"] if recursive else []
        lines = self._restic.lines("ls", "--json", *options, backup_id, wanted)
        nodes = [node for node in map(json.loads, lines) if node["struct_type"] == "node"]
        if not nodes:
            raise RepositoryError(f"The backup holds no '/{inside}'.")
        return [self._node(node) for node in nodes]

    def changes(self, old_id: str, new_id: str, *, metadata: bool = False) -> Iterator[Change]:
        """What has changed from one backup to another.

        :param metadata: tell too of what has changed in its metadata alone
        :raises RepositoryError: restic cannot tell
        """
        options = ["--metadata"] if metadata else []
        # restic compares the number of the device too, which may be another for each backup.
        before, after = [self._metadata(one) if metadata else {} for one in (old_id, new_id)]
        for line in self._restic.lines("diff", "--json", *options, old_id, new_id):
            message = json.loads(line)
            if message["message_type"] != "change":
                continue
            path = message["path"]
            # The volume's root has no name, and is always there.
            if path.startswith(f"{self._tree}/") and path != f"{self._tree}/":
                kind = _KINDS.get(message["modifier"][:1], message["modifier"])
                name = path.rstrip("/")
                if kind != "metadata" or before.get(name) != after.get(name):
                    yield Change(path.removeprefix(self._tree), kind)

    def _metadata(self, backup_id: str) -> dict[str, int]:
        """A number for the metadata of each path; the time of its change stands for all of it."""
        lines = self._restic.lines("ls", "--json", "--recursive", backup_id, self._tree)
        return {
            node["path"]: hash(tuple(node.get(field) for field in _METADATA))
            for node in map(json.loads, lines)
            if node["struct_type"] == "node"
        }

    def read_all(self, backup_id: str) -> int:
        """Read every byte of a backup, which restic compares with its checksums.

        :returns: the bytes read
        :raises RepositoryError: something is missing or damaged
        """
        # What the cache holds says nothing of what the repository holds.
        command = ("dump", "--no-cache", backup_id, self._tree)
        size = 0
        with self._restic.started(*command) as (process, errors):
            assert process.stdout is not None
            while chunk := process.stdout.read(_CHUNK):
                size += len(chunk)
            status = process.wait()
            if status:
                raise self._restic.error("dump", status, errors())
        return size

    def check(self, percent: float) -> str:
        """Check the repository, and read so much of its data; gives restic's report.

        :raises RepositoryError: something is missing or damaged
        """
        return self._restic.run("check", f"--read-data-subset={percent:g}%")

    @contextmanager
    def mounted(
        self, backup_id: str, mount_point: Path, privilege: Privilege
    ) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
        """Mount the whole repository as long as the block runs.

        :param mount_point: an empty directory
        :param privilege: files of volumes are root's to see
        :returns: the root of the volume in this backup, and the process that serves it
        :raises HostError: FUSE is not there, or restic could not mount it
        """
        if not Path("/dev/fuse").exists():
            raise HostError("This host has no /dev/fuse: load the kernel module 'fuse'.")
        tree = mount_point / backup_id / self._tree.lstrip("/")
        with self._restic.started("mount", "--path-template", "%I", str(mount_point)) as (
            process,
            errors,
        ):
            deadline = time.monotonic() + _PATIENCE
            try:
                while privilege.attempt("test", "-d", str(tree)).returncode:
                    if process.poll() is not None:
                        raise HostError(f"restic could not mount it: {' '.join(errors())}")
                    if time.monotonic() > deadline:
                        raise HostError(f"restic has not mounted it after {_PATIENCE:g} s.")
                    time.sleep(0.1)
                yield tree, process
            finally:
                unmount(privilege, mount_point)

    def _node(self, node: dict[str, object]) -> Node:
        return Node(
            path=str(node["path"]).removeprefix(self._tree),
            type=str(node["type"]),
            permissions=str(node["permissions"]),
            uid=int(str(node["uid"])),
            gid=int(str(node["gid"])),
            size=int(str(node.get("size", 0))),
            modified_at=time_of(str(node["mtime"])),
        )
