"""Trees of files to back up: a real one, and every special case that a file system can hold."""

from __future__ import annotations

import os
import shutil
import struct
import sysconfig
from collections.abc import Iterator
from pathlib import Path

MIB = 2**20

# Installed packages, which can have any size, and compiled files.
_NOT_THE_LIBRARY = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__")


def library() -> Path:
    """The directory of this Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def plant(root: Path) -> None:
    """Fill an empty file system."""
    shutil.copytree(library(), root / "library", symlinks=True, ignore=_NOT_THE_LIBRARY)
    odd = root / "odd"
    odd.mkdir()
    _links(odd / "links")
    _holes(odd / "holes")
    _attributes(odd / "attributes")
    _names(odd / "names")
    _special_files(odd / "special")
    _directories(odd / "directories")
    _owners_and_times(odd / "owners")
    # The root directory has properties of its own, which are easy to forget.
    os.setxattr(root, "user.root", b"of the file system")
    os.chown(root, 1000, 33)
    os.chmod(root, 0o2751)
    os.utime(root, ns=(0, 1_234_567_890_123_456_789))


def change(root: Path) -> str:
    """Make the changes of a day, and describe them."""
    readme = root / "library" / "this.py"
    readme.write_text(readme.read_text() + "\n# Although never is often better than *right* now.\n")
    (root / "library" / "antigravity.py").unlink()
    (root / "library" / "new.py").write_text("print('hello')\n")
    (root / "library" / "ast.py").chmod(0o640)
    return "One file is edited, one removed, one added, and one gets another mode."


def _links(place: Path) -> None:
    place.mkdir()
    (place / "one").write_bytes(b"one file with three names")
    for name in ("two", "a/b/three"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(place / "one", place / name)
    (place / "relative").symlink_to("a/b/three")
    (place / "absolute").symlink_to("/etc/hostname")
    (place / "dangling").symlink_to("nowhere")
    (place / "long").symlink_to("x/" * 500)
    (place / "loop").symlink_to("loop")
    os.lchown(place / "dangling", 12345, 54321)
    os.utime(place / "dangling", ns=(1, 999_999_999), follow_symlinks=False)


def _holes(place: Path) -> None:
    place.mkdir()
    with (place / "islands").open("wb") as file:
        for offset in (0, 16 * MIB, 40 * MIB):
            file.seek(offset)
            file.write(os.urandom(64 * 1024))
        file.truncate(64 * MIB)
    with (place / "nothing-but-a-hole").open("wb") as file:
        file.truncate(64 * MIB)
    with (place / "data-after-a-hole").open("wb") as file:
        file.seek(MIB)
        file.write(b"the end")
    # Written zeros are data and use space: they are not a hole.
    (place / "no-hole").write_bytes(bytes(4 * MIB))


def _attributes(place: Path) -> None:
    place.mkdir()
    file = place / "file"
    file.write_text("a file with extended attributes\n")
    os.setxattr(file, "user.mime_type", b"text/plain")
    os.setxattr(file, "user.empty", b"")
    os.setxattr(file, "user.binary", bytes(range(256)) * 4)
    os.setxattr(file, "trusted.secret", b"for root's eyes")
    # cap_net_bind_service=ep: version 2 of capabilities(7), little-endian on disk.
    os.setxattr(file, "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    shared = place / "shared"
    shared.mkdir()
    os.setxattr(shared, "system.posix_acl_access", _access_list())
    os.setxattr(shared, "system.posix_acl_default", _access_list())
    (shared / "inherits").write_text("the default access control list of its directory\n")


def _access_list() -> bytes:
    """An access control list in the kernel's format: user 1234 may read, group 4321 may do all."""
    owner, user, its_group, group, mask, other = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
    nobody = 0xFFFFFFFF
    entries = [
        (owner, 7, nobody),
        (user, 4, 1234),
        (its_group, 5, nobody),
        (group, 7, 4321),
        (mask, 7, nobody),
        (other, 0, nobody),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _names(place: Path) -> None:
    place.mkdir()
    for name in _odd_names():
        with open(os.path.join(os.fsencode(place), name), "wb") as file:
            file.write(name)


def _odd_names() -> Iterator[bytes]:
    yield b"two\nlines"
    yield b"not UTF-8: caf\xe9 \xff\xfe"
    yield b" blank before and after "
    yield b"-rf"
    yield b"..."
    yield b"*?[a]{b,c}$HOME`id`"
    yield b"quotes ' and \" and \\ and \t"
    yield b"\x01\x1b[31m\x7f"
    yield "é in one character".encode()
    yield "e\u0301 in two characters".encode()
    yield "日本語, العربية, 🦀".encode()
    yield b"as long as can be ".ljust(255, b"x")


def _special_files(place: Path) -> None:
    place.mkdir()
    os.mkfifo(place / "fifo", 0o620)
    os.mknod(place / "character-device", 0o20666, os.makedev(1, 3))
    os.mknod(place / "block-device", 0o60640, os.makedev(259, 200_000))
    (place / "empty").touch()
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2711), ("no-mode", 0o000)):
        (place / name).write_text(name)
        (place / name).chmod(mode)


def _directories(place: Path) -> None:
    place.mkdir()
    (place / "empty").mkdir()
    (place / Path(*["deep"] * 100)).mkdir(parents=True)
    for name, mode in (("sticky", 0o1777), ("setgid", 0o2775), ("locked", 0o000)):
        (place / name).mkdir()
        (place / name / "inside").write_text(name)
        (place / name).chmod(mode)
        os.utime(place / name, ns=(0, 1_000_000_001))


def _owners_and_times(place: Path) -> None:
    place.mkdir()
    for name, owner, group, changed_ns in (
        ("nobody-knows", 4_000_000_000, 4_100_000_000, 1_700_000_000_123_456_789),
        ("before-1970", 1000, 1000, -1_000_000_000_000_000_001),
        ("after-2038", 0, 65534, 2_500_000_000_999_999_999),
    ):
        (place / name).write_text(name)
        os.chown(place / name, owner, group)
        os.utime(place / name, ns=(0, changed_ns))
