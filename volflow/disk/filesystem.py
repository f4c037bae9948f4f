"""File systems: recognises, describes, creates and mounts them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from volflow.errors import DiskError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

# Guests are not trusted: nothing on their file systems may act on this host.
_SAFE = ("nosuid", "nodev", "noexec")


@dataclass(frozen=True)
class FileSystem:
    """A file system, with everything that is needed to create one like it.

    :ivar type: as in mount(8): ``ext4`` or ``xfs``
    :ivar parameters: for mkfs; the names depend on the type. ``size`` in bytes is for information
    """

    type: str
    uuid: str
    label: str = ""
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Its size in bytes, which can be smaller than its device; 0 if it is not known."""
        return int(self.parameters.get("size", 0))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def mount_options(self, *, read_only: bool) -> list[str]:
        """Options for mount(8). The journal is replayed in either case."""
        # This host may have mounted a volume with the same UUID.
        own = ["nouuid"] if self.type == "xfs" else []
        return ["ro" if read_only else "rw", *_SAFE, *own]

    def make(self, runs: Privilege | MountNamespace, device: str, size: int | None = None) -> None:
        """Create this file system on a device or in a file. The previous content is lost.

        :param runs: runs mkfs; in a namespace, mkfs ends with this process
        :param size: size in bytes; that of the device by default
        :raises HostError: mkfs failed, or cannot create such a file system
        """
        runs.run(*_KINDS[self.type].mkfs(self, device, size))


@dataclass(frozen=True)
class _Kind:
    describe: Callable[[Privilege, str], dict[str, str]]
    mkfs: Callable[[FileSystem, str, int | None], list[str]]
    programs: tuple[str, ...]


def probe(privilege: Privilege, device: str) -> FileSystem:
    """Describe the file system that fills a device.

    :raises DiskError: the device has no file system, several, an unknown one, or a partition table
    """
    # Low-level probing: the cache of blkid may be out of date.
    done = privilege.attempt("blkid", "--probe", "--output", "export", device)
    if done.returncode == 8:
        raise DiskError("The volume has signatures of several file systems.")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode == 2 or not found:
        raise DiskError("The volume has no known file system: is it formatted?")
    if done.returncode:
        raise DiskError(f"The volume could not be probed: {done.stderr.strip()}")
    if "PTTYPE" in found:
        raise DiskError(
            f"The volume has a partition table ({found['PTTYPE']}); so far volflow supports only "
            "volumes that are one plain file system."
        )
    kind = found.get("TYPE", "")
    if kind not in _KINDS:
        raise DiskError(
            f"The volume has '{kind}', which volflow does not support; it supports "
            f"{' and '.join(_KINDS)} so far."
        )
    return FileSystem(
        type=kind,
        uuid=found.get("UUID", ""),
        label=_label(privilege, device),
        parameters=_KINDS[kind].describe(privilege, device),
    )


def signature(privilege: Privilege, device: str) -> tuple[str, str]:
    """What is on a device, for people, and its UUID; both are empty if it is blank.

    :raises DiskError: the device could not be read
    """
    done = privilege.attempt("blkid", "--probe", "--output", "export", device)
    if done.returncode == 8:
        return "signatures of several file systems", ""
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode not in (0, 2):
        raise DiskError(f"The volume could not be probed: {done.stderr.strip()}")
    uuid = found.get("UUID", "")
    if "TYPE" in found:
        label = f" '{found['LABEL']}'" if found.get("LABEL") else ""
        return f"{found['TYPE']}{label}{f' with the UUID {uuid}' if uuid else ''}", uuid
    if "PTTYPE" in found:
        return f"a partition table ({found['PTTYPE']})", ""
    return "something that blkid recognises" if found.keys() - {"DEVNAME"} else "", ""


def _label(privilege: Privilege, device: str) -> str:
    # blkid escapes everything but plain ASCII, unless it prints only one value.
    only = ("--output", "value", "--match-tag", "LABEL")
    return privilege.attempt("blkid", "--probe", *only, device).stdout.removesuffix("\n")


def programs() -> dict[str, tuple[str, ...]]:
    """The programs that each type of file system needs on this host."""
    return {name: kind.programs for name, kind in _KINDS.items()}


def _describe_ext4(privilege: Privilege, device: str) -> dict[str, str]:
    text = privilege.run("dumpe2fs", "-h", device)
    values = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in text.splitlines())
    }
    # needs_recovery is a state, not a feature for mkfs.
    features = [f for f in values["Filesystem features"].split() if f != "needs_recovery"]
    blocks, inodes = int(values["Block count"]), int(values["Inode count"])
    block_size = int(values["Block size"])
    reserved = int(values["Reserved block count"])
    return {
        "features": ",".join(features),
        "block_size": str(block_size),
        "inode_size": values["Inode size"],
        "bytes_per_inode": str(max(1024, blocks * block_size // max(1, inodes))),
        "reserved_percent": f"{min(50.0, 100 * reserved / blocks):.4f}",
        "default_mount_options": values.get("Default mount options", ""),
        "size": str(blocks * block_size),
    }


def _mkfs_ext4(fs: FileSystem, device: str, size: int | None) -> list[str]:
    p = fs.parameters
    return [
        *("mkfs.ext4", "-q", "-F", "-U", fs.uuid, "-L", fs.label, "-O", f"none,{p['features']}"),
        *("-b", p["block_size"], "-I", p["inode_size"], "-i", p["bytes_per_inode"]),
        *("-m", p["reserved_percent"], "-E", "root_owner=0:0", device),
        *([f"{size // 1024}k"] if size else []),
    ]


# The features of XFS that mkfs.xfs takes by name, by its option.
_XFS_FEATURES = {
    "-m": ("crc", "finobt", "rmapbt", "reflink", "bigtime", "inobtcount"),
    "-i": ("sparse",),
}


def _describe_xfs(privilege: Privilege, device: str) -> dict[str, str]:
    text = privilege.run("xfs_db", "-r", "-c", "info", device)
    values = dict(re.findall(r"(\w+)=(\w+)", text))
    names = [name for group in _XFS_FEATURES.values() for name in group]
    found = {name: values[name] for name in names if name in values}
    block_size = re.search(r"^data\s+=\s+bsize=(\d+)", text, re.MULTILINE)
    inode_size = re.search(r"\bisize=(\d+)", text)
    if not block_size or not inode_size:
        raise DiskError("xfs_db does not say the block and inode size of the volume's XFS.")
    blocks = re.search(r"^data\s.*\bblocks=(\d+)", text, re.MULTILINE)
    size = {"size": str(int(block_size[1]) * int(blocks[1]))} if blocks else {}
    return {**found, "block_size": block_size[1], "inode_size": inode_size[1], **size}


def _mkfs_xfs(fs: FileSystem, device: str, size: int | None) -> list[str]:
    p = fs.parameters

    def named(option: str) -> list[str]:
        return [f"{name}={p[name]}" for name in _XFS_FEATURES[option] if name in p]

    meta = [*named("-m"), f"uuid={fs.uuid}"]
    inode = [f"size={p['inode_size']}", *named("-i")]
    label = ["-L", fs.label] if fs.label else []
    data = ["-d", f"size={size}"] if size else []
    block = ["-b", f"size={p['block_size']}"]
    features = ["-m", ",".join(meta), "-i", ",".join(inode)]
    return ["mkfs.xfs", "-q", "-f", *label, *block, *features, *data, device]


_KINDS = {
    "ext4": _Kind(_describe_ext4, _mkfs_ext4, ("mkfs.ext4", "dumpe2fs")),
    "xfs": _Kind(_describe_xfs, _mkfs_xfs, ("mkfs.xfs", "xfs_db")),
}
