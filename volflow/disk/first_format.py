"""File systems as volflow 0.1.0 described them, in backups and in states of runs."""

from __future__ import annotations

from collections.abc import Mapping

from volflow.disk import extended

# The names of sections and values of xfs_info(8), by the names that volflow 0.1.0 gave them.
_XFS = {
    **{
        name: f"meta-data.{name}"
        for name in ("crc", "finobt", "rmapbt", "reflink", "bigtime", "inobtcount", "sparse")
    },
    "block_size": "data.bsize",
    "inode_size": "meta-data.isize",
}


def translated(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """A description of this release; one of volflow 0.1.0 is translated.

    :param kind: the type of the file system
    :param values: its description
    """
    if "block_size" not in values:
        return dict(values)
    block, size = int(values["block_size"]), int(values.get("size", 0))
    if kind == "xfs":
        found = {_XFS[name]: value for name, value in values.items() if name in _XFS}
        return found | ({"data.blocks": str(size // block)} if size else {})
    found = extended.classified(values.get("features", "").replace(",", " ").split())
    found["Block size"] = str(block)
    if size:
        found["Block count"] = str(size // block)
    for old, new in (
        ("inode_size", "Inode size"),
        ("default_mount_options", "Default mount options"),
        ("bytes_per_inode", extended.BYTES_PER_INODE),
        ("reserved_percent", extended.RESERVED_PERCENT),
    ):
        if old in values:
            found[new] = values[old]
    return found
