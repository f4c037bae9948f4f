"""File systems are identified without guessing, and made again with the same parameters."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from volflow.disk import filesystem
from volflow.errors import DiskError
from volflow.host.privilege import Limits, Privilege, find_program

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="without sudo, probing is for root alone"),
    pytest.mark.skipif(
        not all(map(find_program, ("blkid", "mkfs.ext4", "mkfs.xfs", "mkswap"))),
        reason="blkid, mkfs.ext4, mkfs.xfs or mkswap is not installed",
    ),
]

# XFS needs at least 300 MiB.
SIZE = 320 * 1024**2
UUID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty disk: a sparse file."""
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


def run(*command: str | Path) -> str:
    program, *arguments = map(str, command)
    found = find_program(program)
    assert found
    return subprocess.run(
        [found, *arguments], check=True, capture_output=True, encoding="utf-8"
    ).stdout


def probe(disk: Path) -> filesystem.FileSystem:
    return filesystem.probe(Privilege(), str(disk))


def again(tmp_path: Path, found: filesystem.FileSystem, size: int = SIZE) -> Path:
    """Another disk with the same file system."""
    other = tmp_path / "other"
    with open(other, "wb") as file:
        file.truncate(size)
    made = found.make(Privilege(), str(other), size)
    assert made.parameters == probe(other).parameters
    assert found.differences(made) == {}
    return other


@pytest.mark.parametrize(
    "options",
    [
        "-t ext2",
        "-t ext2 -r 0",
        "-t ext3",
        "-t ext4",
        "-t ext4 -b 1024 -I 256 -O ^has_journal,inline_data",
        "-t ext4 -m 0 -i 65536 -O ^64bit,^metadata_csum",
        "-t ext4 -O bigalloc -C 131072",
        "-t ext4 -O mmp -E mmp_update_interval=9",
        "-t ext4 -O fast_commit -J size=32,fast_commit_size=2048",
        "-t ext4 -O meta_bg,^resize_inode",
        "-t ext4 -O sparse_super2,^resize_inode -E num_backup_sb=1",
        "-t ext4 -E stride=16,stripe_width=64 -G 64 -J size=8",
        "-t ext4 -G 1 -E packed_meta_blocks=1",
        "-t ext4 -N 2000 -m 0 -J size=4 -E resize=20000000",
        "-t ext4 -O casefold -E encoding=utf8-12.1,encoding_flags=strict",
        "-t ext4 -O orphan_file,metadata_csum_seed",
    ],
)
def test_ext_is_made_again_exactly(tmp_path: Path, disk: Path, options: str) -> None:
    run("mke2fs", "-q", "-F", "-U", UUID, "-L", "a b", *options.split(), disk)
    found = probe(disk)
    assert (found.type, found.uuid, found.label) == (options.split()[1], UUID, "a b")
    other = probe(again(tmp_path, found))
    assert (other.uuid, other.label, other.size) == (UUID, "a b", found.size)


def test_what_tune2fs_has_set_comes_back(tmp_path: Path, disk: Path) -> None:
    run("mkfs.ext4", "-q", "-F", disk)
    run("tune2fs", "-c", "30", "-i", "180d", "-e", "remount-ro", "-r", "1000", "-u", "7", disk)
    run("tune2fs", "-o", "journal_data,nobarrier", "-E", "mount_opts=commit=30", disk)
    run("tune2fs", "-E", "hash_alg=tea", "-E", "test_fs", "-M", "/srv/data", disk)
    found = probe(disk)
    other = again(tmp_path, found)
    assert found.parameters["Last mounted on"] == "/srv/data"
    run("tune2fs", "-M", "/of/this/host", other)
    found.settle(Privilege(), str(other))
    assert probe(other).parameters["Last mounted on"] == "/srv/data"


@pytest.mark.parametrize(
    "options",
    [
        "",
        "-b size=1024 -i size=512",
        "-m rmapbt=1,reflink=0 -i sparse=0",
        "-m crc=0,finobt=0",
        "-d su=64k,sw=2",
        "-i nrext64=1 -s size=4096 -n size=16384",
        "-i maxpct=5 -d agcount=5 -l su=32k",
        "-r extsize=64k",
    ],
)
def test_xfs_is_made_again_exactly(tmp_path: Path, disk: Path, options: str) -> None:
    os.truncate(disk, 2**30)
    run("mkfs.xfs", "-q", "-f", "-L", "label", *options.split(), disk)
    found = probe(disk)
    assert (found.type, found.label) == ("xfs", "label")
    other = probe(again(tmp_path, found, 2**30))
    assert (other.uuid, other.label, other.size) == (found.uuid, "label", found.size)


@pytest.mark.parametrize(
    "mkfs",
    [
        "mkfs.ext4 -q -F -N 4000",
        # One of the backups of its superblock is in the last group.
        "mkfs.ext4 -q -F -O sparse_super2,^resize_inode",
        # It has as many inodes as clusters: there cannot be more.
        "mkfs.ext4 -q -F -O bigalloc -b 2048 -C 16384 -I 128",
        "mkfs.xfs -q -f",
    ],
)
def test_a_larger_one_has_the_same_features(tmp_path: Path, disk: Path, mkfs: str) -> None:
    run(*mkfs.split(), disk)
    found = probe(disk)
    other = probe(again(tmp_path, found, 2 * SIZE))
    assert other.size == 2 * found.size
    assert other.features == found.features


def test_what_the_kernel_sets_on_first_use_is_no_difference(tmp_path: Path, disk: Path) -> None:
    run("mkfs.xfs", "-q", "-f", disk)
    found = probe(disk)
    # The bits of the first extended attribute and the first quota.
    used = hex(int(found.parameters["superblock.versionnum"], 16) | 0x10 | 0x40)
    run("xfs_db", "-x", "-c", "sb 0", "-c", f"write -d versionnum {used}", disk)
    found = probe(disk)
    assert found.parameters["superblock.versionnum"] == used
    other = tmp_path / "other"
    other.touch()
    os.truncate(other, SIZE)
    assert found.differences(found.make(Privilege(), str(other), SIZE)) == {}


def test_a_file_system_without_a_uuid_is_made_again_without_one(tmp_path: Path, disk: Path) -> None:
    for commands in (
        (["mkfs.ext4", "-q", "-F"], ["tune2fs", "-U", "clear"]),
        (["mkfs.xfs", "-q", "-f"], ["xfs_admin", "-U", "nil"]),
    ):
        for command in commands:
            run(*command, disk)
        found = probe(disk)
        assert found.uuid == ""
        assert probe(again(tmp_path, found)).uuid == ""


def test_states_are_no_features(tmp_path: Path, disk: Path) -> None:
    """A running guest sets them."""
    run("mkfs.ext4", "-q", "-F", "-O", "orphan_file", disk)
    for state in ("needs_recovery", "orphan_present"):
        run("debugfs", "-w", "-R", f"feature {state}", disk)
    assert "orphan_present" in run("dumpe2fs", "-h", disk)
    assert not {"needs_recovery", "orphan_present"} & set(probe(disk).features)
    again(tmp_path, probe(disk))


def test_no_text_on_a_volume_can_look_like_another_line(tmp_path: Path, disk: Path) -> None:
    sizes = ("-b", "4096", "-I", "256")
    run("mkfs.ext4", "-q", "-F", *sizes, "-L", "\nBlock size: 1", "-M", "\nInode size: 7", disk)
    found = probe(disk)
    assert (found.parameters["Block size"], found.parameters["Inode size"]) == ("4096", "256")
    assert found.label == "\nBlock size: 1"
    other = tmp_path / "other"
    other.touch()
    os.truncate(other, SIZE)
    made = found.make(Privilege(), str(other), SIZE)
    assert found.differences(made) == {}


def test_no_name_of_a_function_or_host_can_look_like_another_line(disk: Path) -> None:
    run("mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256", "-O", "^metadata_csum,mmp", disk)
    (number,) = re.findall(r"MMP block number: *(\d+)", run("dumpe2fs", "-h", disk))
    with open(disk, "r+b") as file:
        for at, text in (
            # The number of errors, and the times of the first and last one.
            *((1024 + at, b"\1") for at in (0x194, 0x198, 0x1CC)),
            (1024 + 0x1A8, b"\nBlock size: 1"),
            (1024 + 0x1E0, b"\nFilesystem features: a"),
            (int(number) * 4096 + 16, b"\nInode size: 7"),
        ):
            file.seek(at)
            file.write(text)
    assert "\nInode size: 7" in run("dumpe2fs", "-h", disk)
    found = probe(disk)
    assert (found.parameters["Block size"], found.parameters["Inode size"]) == ("4096", "256")
    assert "mmp" in found.features


def test_nothing_waits_for_another_host_that_uses_a_new_file_system(
    tmp_path: Path, disk: Path
) -> None:
    """With such an interval, tune2fs would wait for more than eight minutes, each time."""
    run("mkfs.ext4", "-q", "-F", "-O", "mmp", "-E", "mmp_update_interval=250", disk)
    run("tune2fs", "-f", "-r", "100", "-M", "/there", disk)
    found = probe(disk)
    other = tmp_path / "other"
    with open(other, "wb") as file:
        file.truncate(SIZE)
    impatient = Privilege(limits=Limits(work=20))
    made = found.make(impatient, str(other), SIZE)
    found.settle(impatient, str(other))
    assert found.differences(made) == {}


def test_what_differs_is_named(tmp_path: Path, disk: Path) -> None:
    run("mkfs.ext4", "-q", "-F", "-J", "size=4", disk)
    found = probe(disk)
    larger = tmp_path / "other"
    with open(larger, "wb") as file:
        file.truncate(SIZE)
    run("mkfs.ext4", "-q", "-F", "-J", "size=16", "-U", found.uuid, "-E", "stride=4", larger)
    differences = found.differences(probe(larger))
    assert differences["RAID stride"] == (None, "4")
    assert differences["Total journal size"] == ("4096k", "16M")


def _write(disk: Path, offset: int, data: bytes) -> None:
    with open(disk, "r+b") as file:
        file.seek(offset)
        file.write(data)


def _place(disk: Path, what: str) -> int:
    """The offset of the journal, or of its inode."""
    if what == "journal":
        return 4096 * int(run("debugfs", "-R", "bmap <8> 0", disk))
    found = re.search(r"block (\d+), offset (0x\w+)", run("debugfs", "-R", "imap <8>", disk))
    assert found
    return 4096 * int(found[1]) + int(found[2], 16)


@pytest.mark.parametrize(
    ("what", "content", "reason"),
    [
        ("groups", bytes(4096), "A block group is missing an inode table"),
        ("groups", b"\xa5" * 4096, "Corrupt group descriptor"),
        ("inode of the journal", b"\xa5" * 128, "Inode checksum does not match"),
        ("journal", bytes(1024), "Journal superblock magic number invalid"),
    ],
)
def test_a_damaged_ext4_is_refused_with_the_reason(
    disk: Path, what: str, content: bytes, reason: str
) -> None:
    run("mkfs.ext4", "-q", "-F", "-b", "4096", disk)
    _write(disk, 4096 if what == "groups" else _place(disk, what), content)
    with pytest.raises(DiskError, match=f"is damaged: {reason}[^!]*. Run 'e2fsck -f' in the guest"):
        probe(disk)


@pytest.mark.parametrize("label", ["", "a'b", "with\\slash", 'q"x', "$x `y`", "é☃"])
def test_odd_labels_are_kept(disk: Path, label: str) -> None:
    run("mkfs.ext4", "-q", "-F", "-L", label, disk)
    assert probe(disk).label == label


def test_an_empty_device_is_refused(disk: Path) -> None:
    with pytest.raises(DiskError, match="has no known file system: is it formatted"):
        probe(disk)


def test_swap_is_refused(disk: Path) -> None:
    run("mkswap", disk)
    with pytest.raises(DiskError, match=r"has 'swap'.* these are ext2, ext3, ext4, xfs"):
        probe(disk)


def test_a_partition_table_is_refused(disk: Path) -> None:
    _write(disk, 446, struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0x83, 0, 0, 0, 2048, 100_000))
    _write(disk, 510, b"\x55\xaa")
    with pytest.raises(DiskError, match=r"has a partition table \(dos\)"):
        probe(disk)


def test_luks_is_refused(disk: Path) -> None:
    header = b"LUKS\xba\xbe" + struct.pack(">H", 1)
    header += b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")
    _write(disk, 0, header)
    _write(disk, 168, UUID.encode().ljust(40, b"\0"))
    with pytest.raises(DiskError, match="has 'crypto_LUKS'"):
        probe(disk)


def test_two_file_systems_at_once_are_refused(disk: Path) -> None:
    """volflow must not choose one of them."""
    run("mkfs.ext4", "-q", "-F", disk)
    with open(disk, "rb") as file:
        superblock = file.read(2048)[1024:]
    run("mkfs.xfs", "-q", "-f", disk)
    _write(disk, 1024, superblock)
    with pytest.raises(DiskError, match="signatures of several file systems"):
        probe(disk)


def test_what_cannot_be_probed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        probe(tmp_path / "nothing")


def test_nothing_on_a_volume_can_act_on_this_host(disk: Path) -> None:
    run("mkfs.xfs", "-q", "-f", disk)
    for read_only in (True, False):
        options = probe(disk).mount_options(read_only=read_only)
        assert {"nosuid", "nodev", "noexec", "nouuid"} <= set(options)
        assert ("ro" in options) is read_only
