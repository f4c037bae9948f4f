"""How file systems of guests are mounted, and what is said when the kernel refuses one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cloud import run
from tests.support.namespaces import missing
from volflow.disk import mounting
from volflow.errors import HostError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

MIB = 1024**2
# Each type as mkfs makes it, and whether it has a journal.
MADE: dict[str, tuple[list[str], bool]] = {
    "ext2": (["mke2fs", "-q", "-F", "-t", "ext2"], False),
    "ext3": (["mke2fs", "-q", "-F", "-t", "ext3"], True),
    "ext4": (["mke2fs", "-q", "-F", "-t", "ext4"], True),
    "ext4 1k": (["mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-I", "128"], True),
    "ext4 ^has_journal": (["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal"], False),
    "ext4 bigalloc": (["mke2fs", "-q", "-F", "-t", "ext4", "-O", "bigalloc,inline_data"], True),
    "xfs": (["mkfs.xfs", "-q", "-f"], True),
    "xfs 64k": (["mkfs.xfs", "-q", "-f", "-b", "size=65536"], True),
    "xfs rmapbt": (["mkfs.xfs", "-q", "-f", "-m", "rmapbt=1,reflink=0", "-s", "size=4096"], True),
}


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[MountNamespace]:
    (tmp_path / "mount").mkdir()
    found = MountNamespace(Privilege(), tmp_path / "mount")
    yield found
    found.close()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Makes an image of a file system."""

    def made(*mkfs: str) -> Path:
        path = tmp_path / "image"
        with open(path, "wb") as file:
            file.truncate((400 if "xfs" in mkfs[0] else 64) * MIB)
        run(*mkfs, str(path))
        return path

    return made


def mounted(
    namespace: MountNamespace, image: Path, kind: str, *, journal: bool, read_only: bool
) -> str:
    """Mount an image; returns what the kernel says of the mount, and of its ext4 options."""
    place = namespace.root / "regions/0"
    options = mounting.options(kind, journal=journal, read_only=read_only)
    with _attached(image) as device:
        namespace.mount(device, place, kind, options)
        shown = namespace.run("findmnt", "--noheadings", "--output", "OPTIONS", str(place))
        of_ext4 = Path(f"/proc/fs/ext4/{os.path.basename(device)}/options")
        all_of_them = of_ext4.read_text().split() if of_ext4.exists() else []
        namespace.unmount()
    return ",".join([*shown.strip().split(","), *all_of_them])


@contextmanager
def _attached(image: Path) -> Iterator[str]:
    """A loop device of an image, which no other test uses meanwhile: the kernel tells of it."""
    device = run("losetup", "--find", "--show", str(image)).strip()
    try:
        # The flag of whoever used it before stays.
        run("blockdev", "--setrw", device)
        yield device
    finally:
        run("losetup", "--detach", device)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("name", MADE)
def test_each_type_mounts_with_its_options(
    namespace: MountNamespace, make: Callable[..., Path], name: str, read_only: bool
) -> None:
    mkfs, journal = MADE[name]
    image = make(*mkfs)
    found = mounted(namespace, image, name.split()[0], journal=journal, read_only=read_only)
    assert {"nosuid", "nodev", "noexec", "ro" if read_only else "rw"} <= set(found.split(","))


ASKED = {
    "panic": (["-e", "panic"], "errors=remount-ro"),
    "journal_data": (["-o", "journal_data"], "data=ordered"),
    "journal_data_writeback": (["-o", "journal_data_writeback"], "data=ordered"),
    "nobarrier": (["-o", "nobarrier"], "barrier"),
    "nodelalloc": (["-o", "nodelalloc"], "delalloc"),
    "discard": (["-o", "discard"], "nodiscard"),
    "no acl": (["-o", "^acl"], "acl"),
    "no user_xattr": (["-o", "^user_xattr"], "user_xattr"),
    "bsdgroups": (["-o", "bsdgroups"], "nogrpid"),
    "no block_validity": (["-o", "^block_validity"], "block_validity"),
    "text panic": (["-E", "mount_opts=errors=panic"], "errors=remount-ro"),
    "text data": (["-E", "mount_opts=data=journal"], "data=ordered"),
    "text commit": (["-E", "mount_opts=commit=300"], "commit=5"),
    "text nobarrier": (["-E", "mount_opts=nobarrier"], "barrier"),
    "text minixdf": (["-E", "mount_opts=minixdf"], "bsddf"),
    "text max_dir_size": (["-E", "mount_opts=max_dir_size_kb=1"], "max_dir_size_kb=0"),
}


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("asked", ASKED)
def test_nothing_that_a_superblock_asks_for_is_in_force(
    namespace: MountNamespace, make: Callable[..., Path], asked: str, read_only: bool
) -> None:
    options, right = ASKED[asked]
    image = make(*MADE["ext4"][0])
    run("tune2fs", *options, str(image))
    found = mounted(namespace, image, "ext4", journal=True, read_only=read_only)
    assert right in found.split(",")
    assert "panic" not in found


def test_ext3_and_ext2_that_ask_for_a_panic_do_not_get_it(
    namespace: MountNamespace, make: Callable[..., Path]
) -> None:
    for kind in ("ext2", "ext3"):
        mkfs, journal = MADE[kind]
        image = make(*mkfs)
        run("tune2fs", "-e", "panic", str(image))
        found = mounted(namespace, image, kind, journal=journal, read_only=False)
        assert "errors=remount-ro" in found.split(",")


def _debugfs(command: str) -> Callable[[Path], None]:
    return lambda image: run("debugfs", "-w", "-R", command, str(image))


def _garbage(offset: int, length: int) -> Callable[[Path], None]:
    def write(image: Path) -> None:
        with open(image, "r+b") as file:
            file.seek(offset)
            file.write(b"\xa5" * length)

    return write


def _xfs_db(field: str, value: str) -> Callable[[Path], None]:
    command = ["xfs_db", "-x", "-c", "sb 0", "-c", f"write -d {field} {value}"]
    return lambda image: run(*command, str(image))


# What is done to the file system, and what must be said; not what this kernel's configuration
# decides.
REFUSED: dict[str, tuple[str, list[str], Callable[[Path], None], bool, str]] = {
    "incompatible": (
        "ext4",
        [],
        _debugfs("feature FEATURE_I20"),
        True,
        r"does not support the feature FEATURE_I20 of this ext4\. .*optional features \(100000\)",
    ),
    "read-only compatible": (
        "ext4",
        [],
        _debugfs("feature FEATURE_R29"),
        False,
        r"does not support the feature FEATURE_R29 of this ext4 for writing\.",
    ),
    "xfs incompatible": (
        "xfs",
        [],
        _xfs_db("features_incompat", "0x40000003"),
        True,
        r"does not support the feature FEATURE_I30 of this xfs\.",
    ),
    "xfs read-only compatible": (
        "xfs",
        [],
        _xfs_db("features_ro_compat", "0x4000000d"),
        False,
        r"does not support the feature FEATURE_R30 of this xfs for writing\.",
    ),
    "group descriptors": (
        "ext4",
        [],
        _garbage(2048, 1024),
        True,
        r"The ext4 is damaged: run 'e2fsck -f' in the guest",
    ),
    "root inode": (
        "xfs",
        [],
        _xfs_db("rootino", "99"),
        True,
        r"The xfs is damaged: run 'xfs_repair' in the guest",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_reason_of_the_kernel_is_told(
    namespace: MountNamespace, make: Callable[..., Path], case: str
) -> None:
    kind, options, spoil, read_only, told = REFUSED[case]
    image = make(*MADE[kind][0], *options)
    spoil(image)
    with pytest.raises(HostError, match=told) as refused:
        mounted(namespace, image, kind, journal=True, read_only=read_only)
    assert "dmesg" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_without_the_kernels_log_the_words_of_mount_are_told(
    namespace: MountNamespace, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make(*MADE["ext4"][0])
    _garbage(2048, 1024)(image)
    monkeypatch.setattr("volflow.host.kernel_log.LOG_DEVICE", Path("/nonexistent"))
    told = "The ext4 is damaged: .* 'mount' failed with exit status 32"
    with pytest.raises(HostError, match=told):
        mounted(namespace, image, "ext4", journal=True, read_only=True)


def test_a_mount_after_a_refused_one_is_not_confused(
    namespace: MountNamespace, make: Callable[..., Path]
) -> None:
    """What the kernel said of the device before the call does not count."""
    image = make(*MADE["ext4"][0])
    _garbage(2048, 1024)(image)
    with pytest.raises(HostError, match="damaged"):
        mounted(namespace, image, "ext4", journal=True, read_only=True)
    other = make(*MADE["ext4 ^has_journal"][0])
    with pytest.raises(HostError, match="w/o journal") as refused:
        mounted(namespace, other, "ext4", journal=True, read_only=True)
    assert "damaged" not in str(refused.value)
