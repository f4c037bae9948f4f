"""What connection infos of Cinder's drivers prove about a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from volflow.host.devices import BlockDevice, newest, remaining
from volflow.host.proof import Proof

GIB = 1024**3
MINE = "6d54cb90-a5d1-40d8-9cb2-c6adf43a02af"
OTHER = "0a6f5f82-1111-4222-8333-444455556666"
IQN = f"iqn.2010-10.org.openstack:volume-{MINE}"

# As Cinder's drivers give them: LIO, an array with several portals, HPE 3PAR, Ceph, nvmet.
LIO = {
    "driver_volume_type": "iscsi",
    "target_discovered": False,
    "target_portal": "10.0.0.5:3260",
    "target_iqn": IQN,
    "target_lun": 1,
    "volume_id": MINE,
    "auth_method": "CHAP",
    "auth_username": "user",
    "auth_password": "secret",
    "encrypted": False,
}
ARRAY = {
    "driver_volume_type": "iscsi",
    "target_discovered": False,
    "target_iqns": ["iqn.array:a", "iqn.array:b"],
    "target_portals": ["10.0.0.5:3260", "10.0.0.6:3260"],
    "target_luns": [5, 300],
}
FC = {
    "driver_volume_type": "fibre_channel",
    "target_lun": 3,
    "target_wwn": ["50014380186AF83C", "50014380186AF83E"],
    "initiator_target_map": {"100010604b019419": ["50014380186AF83C"]},
}
RBD = {
    "driver_volume_type": "rbd",
    "name": f"volumes/volume-{MINE}",
    "hosts": ["10.0.0.7"],
    "ports": ["6789"],
    "cluster_name": "ceph",
    "auth_enabled": True,
    "auth_username": "cinder",
}
NVME = {
    "driver_volume_type": "nvmeof",
    "target_nqn": "nqn.2014-08.org.nvmexpress:cinder",
    "portals": [["10.0.0.8", "4420", "tcp"]],
    "vol_uuid": MINE,
    "ns_id": 2,
    "replica_count": None,
    "volume_replicas": None,
}
LOCAL = {"driver_volume_type": "local", "device_path": "/dev/loop3"}


class Sysfs:
    """A tree of files like sysfs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="ascii")

    def disk(self, where: str, size: int = GIB, **files: str) -> BlockDevice:
        """A disk at this place below ``devices``; ``__`` in the name of a file is a slash."""
        name = where.rpartition("/")[2]
        number = len(list((self.root / "class/block").glob("*"))) + 1
        for file, text in {"size": str(size // 512), "diskseq": str(number), **files}.items():
            self.write(f"devices/{where}/{file.replace('__', '/')}", text)
        link = self.root / "class/block" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.root / "devices" / where)
        return BlockDevice(name, self.root)

    def iscsi(self, name: str, lun: int, target: str, session: int = 1) -> BlockDevice:
        self.write(f"class/iscsi_session/session{session}/targetname", target)
        place = f"platform/host3/session{session}/target3:0:0/3:0:0:{lun}/block/{name}"
        return self.disk(place)

    def fibre_channel(self, name: str, lun: int, wwn: str, port: int = 0) -> BlockDevice:
        self.write(f"class/fc_remote_ports/rport-5:0-{port}/port_name", f"0x{wwn}")
        place = f"pci/host5/rport-5:0-{port}/target5:0:{port}/5:0:{port}:{lun}/block/{name}"
        return self.disk(place)

    def multipath(self, *paths: BlockDevice) -> BlockDevice:
        made = self.disk("virtual/block/dm-0", dm__name="mpatha", dm__uuid="mpath-3600")
        for path in paths:
            slave = self.root / "devices/virtual/block/dm-0/slaves" / path.name
            slave.parent.mkdir(exist_ok=True)
            slave.symlink_to(path.sysfs_path)
        return made

    def rbd(self, name: str, pool: str, image: str) -> BlockDevice:
        return self.disk(f"rbd/0/block/{name}", device__pool=pool, device__name=image)

    def nvme(self, name: str, uuid: str) -> BlockDevice:
        return self.disk(f"virtual/nvme-subsystem/nvme-subsys0/{name}", uuid=uuid)

    def loop(self, name: str, file: str) -> BlockDevice:
        return self.disk(f"virtual/block/{name}", loop__backing_file=file)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


def why(sysfs: Sysfs, connection: dict[str, Any], device: BlockDevice, **volume: Any) -> str | None:
    return Proof(connection, {"id": MINE, "size": 1} | volume, sysfs.root).against(device)


def test_an_iscsi_disk_has_the_target_and_lun_of_the_connection(sysfs: Sysfs) -> None:
    assert why(sysfs, LIO, sysfs.iscsi("sda", 1, IQN)) is None
    assert "LUN 2" in str(why(sysfs, LIO, sysfs.iscsi("sdb", 2, IQN)))
    other = sysfs.iscsi("sdc", 1, f"iqn.2010-10.org.openstack:volume-{OTHER}", session=2)
    assert OTHER in str(why(sysfs, LIO, other))


def test_each_path_of_an_array_has_its_own_lun(sysfs: Sysfs) -> None:
    first = sysfs.iscsi("sda", 5, "iqn.array:a")
    # In the flat address space of SAM, bit 14 is set.
    second = sysfs.iscsi("sdb", 300 + 0x4000, "iqn.array:b", session=2)
    assert why(sysfs, ARRAY, sysfs.multipath(first, second)) is None
    swapped = sysfs.iscsi("sdc", 300, "iqn.array:a", session=3)
    assert "LUN 300 of iqn.array:a" in str(why(sysfs, ARRAY, swapped))


def test_a_multipath_device_may_have_paths_that_os_brick_discovered(sysfs: Sysfs) -> None:
    known = sysfs.iscsi("sda", 1, IQN)
    further = sysfs.iscsi("sdb", 1, "iqn.found-by-discovery", session=2)
    assert why(sysfs, LIO, sysfs.multipath(known, further)) is None


def test_a_fibre_channel_disk_has_the_port_and_lun_of_the_connection(sysfs: Sysfs) -> None:
    assert why(sysfs, FC, sysfs.fibre_channel("sda", 3, "50014380186af83c")) is None
    assert "LUN 4" in str(why(sysfs, FC, sysfs.fibre_channel("sdb", 4, "50014380186af83e", 1)))
    assert "5001000000000001" in str(
        why(sysfs, FC, sysfs.fibre_channel("sdc", 3, "5001000000000001", 2))
    )


def test_an_rbd_device_is_the_image_of_the_connection(sysfs: Sysfs) -> None:
    assert why(sysfs, RBD, sysfs.rbd("rbd0", "volumes", f"volume-{MINE}")) is None
    other = sysfs.disk("rbd/1/block/rbd1", device__pool="volumes", device__name=f"volume-{OTHER}")
    assert f"it is the image volumes/volume-{OTHER}" in str(why(sysfs, RBD, other))


def test_an_nvme_namespace_has_the_uuid_of_the_connection(sysfs: Sysfs) -> None:
    assert why(sysfs, NVME, sysfs.nvme("nvme0n1", MINE)) is None
    assert "nvme0n2 is the namespace" in str(why(sysfs, NVME, sysfs.nvme("nvme0n2", OTHER)))
    nguid = NVME | {"vol_uuid": None, "volume_nguid": MINE.replace("-", "").upper()}
    assert why(sysfs, nguid, BlockDevice("nvme0n1", sysfs.root)) is None


def test_a_loop_device_is_not_the_file_of_another_volume(sysfs: Sysfs) -> None:
    assert why(sysfs, LOCAL, sysfs.loop("loop3", f"/pool/volume-{MINE}")) is None
    assert why(sysfs, LOCAL, sysfs.loop("loop4", "/somewhere/disk.img")) is None
    other = sysfs.loop("loop5", f"/pool/volume-{OTHER} (deleted)")
    assert f"it is that of volume {OTHER}" in str(why(sysfs, LOCAL, other))
    migrated = {"os-vol-mig-status-attr:name_id": OTHER}
    assert why(sysfs, LOCAL, other, **migrated) is None


def test_a_logical_volume_is_not_that_of_another_volume(sysfs: Sysfs) -> None:
    name = f"cinder--volumes-volume--{OTHER.replace('-', '--')}"
    found = sysfs.disk("virtual/block/dm-1", dm__name=name, dm__uuid="LVM-abc")
    assert f"it is that of volume {OTHER}" in str(why(sysfs, LOCAL, found))


def test_sizes_are_equal_but_for_the_rounding_of_back_ends(sysfs: Sysfs) -> None:
    rounded = sysfs.disk("virtual/block/sda", size=1026 * 1024**2)
    assert why(sysfs, LOCAL, rounded) is None
    assert why(sysfs, LOCAL, rounded, size=2) is not None
    large = sysfs.disk("virtual/block/sdb", size=8 * GIB)
    assert "it has 8589934592 bytes" in str(why(sysfs, LOCAL, large))
    assert why(sysfs, {"driver_volume_type": "scaleio"}, large) is None


def test_each_use_of_a_device_has_a_number_of_its_own(sysfs: Sysfs) -> None:
    first = sysfs.loop("loop0", "/pool/one")
    assert newest(sysfs.root) == first.sequence
    second = sysfs.loop("loop1", "/pool/two")
    assert newest(sysfs.root) == second.sequence > first.sequence
    known = {"loop0": first.sequence, "loop1": second.sequence, "sdz": 9}
    assert remaining(known, sysfs.root) == ["/dev/loop0", "/dev/loop1"]
    sysfs.write("devices/virtual/block/loop0/diskseq", "7")
    assert remaining(known, sysfs.root) == ["/dev/loop1"]


def test_a_kernel_without_numbers_is_asked_for_the_inode(sysfs: Sysfs) -> None:
    found = sysfs.loop("loop0", "/pool/one")
    (found.sysfs_path / "diskseq").unlink()
    assert found.sequence == (found.sysfs_path / "loop").stat().st_ino


def test_a_multipath_device_is_as_new_as_its_oldest_path(sysfs: Sysfs) -> None:
    first, second = sysfs.iscsi("sda", 1, IQN), sysfs.iscsi("sdb", 1, IQN, session=2)
    assert [part.name for part in sysfs.multipath(first, second).parts] == ["sda", "sdb"]
