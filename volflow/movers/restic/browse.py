"""Reads backups in a repository of restic: lists, compares, checks and mounts them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from volflow.errors import HostError
from volflow.host.mount import unmount
from volflow.movers.base import Change, Node, ServedBackup
from volflow.movers.restic.program import ResticProgram, time_of

# Seconds that FUSE may take to show a repository.
_PATIENCE = 60.0
# Owner, mode and times, as restic lists them; a change of an attribute or ACL changes ctime.
_METADATA = ("uid", "gid", "mode", "mtime", "ctime")

_KINDS = {"+": "added", "-": "removed", "M": "changed", "T": "changed", "U": "metadata"}


class Browser:
    """Reads the backups of a repository.

    :param program: restic, set up for this repository
    """

    def __init__(self, program: ResticProgram) -> None:
        self._program = program

    def nodes(self, backup_id: str, path: Path, *, recursive: bool = False) -> Sequence[Node]:
        """The object with this path. If it is a directory, its contents follow."""
        options = ["--recursive"] if recursive else []
        lines = self._program.lines("ls", "--json", *options, backup_id, f"/{path}")
        found = [node for node in map(json.loads, lines) if node["struct_type"] == "node"]
        return [_node(node) for node in found]

    def size(self, backup_id: str) -> int:
        """The bytes of all files of a backup; of those with several names once."""
        found = self._program.run("stats", "--mode", "restore-size", "--json", backup_id)
        return int(json.loads(found)["total_size"])

    def changes(self, old_id: str, new_id: str, *, metadata: bool = False) -> Iterator[Change]:
        """The differences between two backups, with paths in the backup."""
        options = ["--metadata"] if metadata else []
        # restic compares the number of the device too, which can differ between backups.
        before, after = [self._metadata(one) if metadata else {} for one in (old_id, new_id)]
        for line in self._program.lines("diff", "--json", *options, old_id, new_id):
            message = json.loads(line)
            if message["message_type"] != "change":
                continue
            kind = _KINDS.get(message["modifier"][:1], message["modifier"])
            path = message["path"]
            name = path.rstrip("/")
            if kind != "metadata" or before.get(name) != after.get(name):
                yield Change(path, kind)

    def _metadata(self, backup_id: str) -> dict[str, int]:
        """A hash of the metadata of each path."""
        lines = self._program.lines("ls", "--json", "--recursive", backup_id)
        return {
            node["path"]: hash(tuple(node.get(field) for field in _METADATA))
            for node in map(json.loads, lines)
            if node["struct_type"] == "node"
        }

    def read_all(self, backup_id: str, path: Path) -> int:
        """Read every byte below a path of a backup; restic compares it with its checksums."""
        # The cache says nothing about what is in the repository.
        command = ("dump", "--no-cache", backup_id, f"/{path}")
        return sum(map(len, self._program.chunks(*command)))

    @contextmanager
    def mounted(self, backup_id: str, mount_point: Path) -> Iterator[ServedBackup]:
        """Mount the whole repository, and show one backup of it, while the block runs."""
        if not Path("/dev/fuse").exists():
            raise HostError("This host has no /dev/fuse: load the kernel module 'fuse'.")
        # restic mounts as root, and only root has access.
        privilege, tree = self._program.privilege, mount_point / backup_id
        command = ("mount", "--path-template", "%I", str(mount_point))
        with self._program.start(*command) as process:
            deadline = time.monotonic() + _PATIENCE
            try:
                while privilege.attempt("test", "-d", str(tree)).returncode:
                    if process.ended:
                        said = " ".join(process.said().splitlines())
                        raise HostError(f"restic could not mount it: {said}")
                    if time.monotonic() > deadline:
                        raise HostError(f"restic has not mounted it after {_PATIENCE:g} s.")
                    time.sleep(0.1)
                yield ServedBackup(tree, ended=lambda: process.ended)
            finally:
                unmount(privilege, mount_point)


def _node(node: dict[str, object]) -> Node:
    return Node(
        path=str(node["path"]),
        type=str(node["type"]),
        permissions=str(node["permissions"]),
        uid=int(str(node["uid"])),
        gid=int(str(node["gid"])),
        size=int(str(node.get("size", 0))),
        modified_at=time_of(str(node["mtime"])),
    )
