"""Descriptions of file systems by volflow 0.1.0 can still be restored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volflow.disk.filesystem import FileSystem
from volflow.host.privilege import Privilege

UUID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
EXT4 = {
    "features": "has_journal,ext_attr,dir_index,filetype,extent,64bit,sparse_super,orphan_present",
    "block_size": "1024",
    "inode_size": "256",
    "bytes_per_inode": "65536",
    "reserved_percent": "2.0000",
    "default_mount_options": "user_xattr acl",
}
XFS = {
    **dict.fromkeys(("crc", "finobt", "bigtime", "inobtcount", "sparse"), "1"),
    "rmapbt": "0",
    "reflink": "0",
    "block_size": "1024",
    "inode_size": "512",
}


@pytest.mark.parametrize("size", [{}, {"size": str(400 * 1024**2)}], ids=["first", "with a size"])
@pytest.mark.parametrize(("kind", "values"), [("ext4", EXT4), ("xfs", XFS)], ids=["ext4", "xfs"])
def test_it_is_created_as_it_was_described(
    tmp_path: Path, kind: str, values: dict[str, str], size: dict[str, str]
) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 400 * 1024**2)
    stored = {"type": kind, "uuid": UUID, "label": "a", "parameters": values | size}
    found = FileSystem.from_dict(stored)
    assert found.size == int(size.get("size", 0))
    made = found.make(Privilege(helper=""), str(disk), 400 * 1024**2)
    assert found.differences(made) == {}
    parameters = made.parameters
    if kind == "xfs":
        assert (parameters["data.bsize"], parameters["meta-data.reflink"]) == ("1024", "0")
        return
    assert "orphan_present" not in found.features
    assert set(made.features) == set(found.features)
    assert int(parameters["Inode count"]) == pytest.approx(6400, rel=0.05)
    assert int(parameters["Reserved block count"]) == pytest.approx(8192, rel=0.01)


def test_a_description_of_this_release_stays_as_it_is() -> None:
    values = {"Block size": "1024", "Inode size": "256"}
    stored = FileSystem("ext4", UUID, parameters=values, raw="text").to_dict()
    assert FileSystem.from_dict(stored).parameters == values
