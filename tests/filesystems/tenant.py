"""A tenant's volume: the file system of a variant, with files on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.filesystems.facts import Facts, facts
from tests.filesystems.variant import Variant, placed
from tests.support import tree
from tests.support.cloud import in_a_namespace, run, unmount


class NotMadeError(Exception):
    """The tools of this host cannot make the variant."""


@dataclass
class Original:
    """What is on the volume of a variant.

    :ivar unmounted: why this kernel does not mount it for writing; empty if it does
    :ivar files: its files; empty if it could not be filled
    :ivar facts: what its tools print; empty if they cannot read it
    """

    variant: Variant
    volume: str
    unmounted: str = ""
    files: tree.Tree = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)


def furnish(variant: Variant, volume: str, device: str, place: Path) -> Original:
    """Make the file system of a variant on a device, and fill it.

    :raises NotMadeError: the tools of this host cannot make it
    """
    found = Original(variant, volume)
    for command in variant.make:
        _make(placed(command, device))
    found.unmounted = in_a_namespace(lambda: _filled(found, device, place))
    for command in variant.afterwards:
        _make(placed(command, device))
    if variant.afterwards:
        found.unmounted = in_a_namespace(lambda: _tried(variant.kind, device, place))
    # Unless the tools do not know it.
    with contextlib.suppress(AssertionError):
        found.facts = facts(variant.kind, device)
    return found


def files_on(kind: str, device: str, place: Path) -> tree.Tree:
    """The files on a device."""

    def inside() -> tree.Tree:
        with _mounted(kind, device, place, "ro"):
            return tree.describe(place)

    return in_a_namespace(inside)


def _make(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMadeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def _filled(found: Original, device: str, place: Path) -> str:
    variant = found.variant
    if why := _tried(variant.kind, device, place):
        return why
    with _mounted(variant.kind, device, place, "rw"):
        for command in variant.inside:
            _make(placed(command, device, str(place)))
        try:
            _fill(place)
        except OSError as error:
            # resize2fs sometimes makes one that is damaged.
            raise NotMadeError(f"it cannot be filled: {error}") from error
    with _mounted(variant.kind, device, place, "ro"):
        found.files = tree.describe(place)
    if variant.crashed:
        with _mounted(variant.kind, device, place, "rw,noatime"):
            _crash(place)
    return ""


def _tried(kind: str, device: str, place: Path) -> str:
    try:
        with _mounted(kind, device, place, "rw"):
            return ""
    except AssertionError as error:
        return str(error)


@contextlib.contextmanager
def _mounted(kind: str, device: str, place: Path, options: str) -> Iterator[None]:
    own = ",nouuid" if kind == "xfs" else ",errors=remount-ro"
    own += ",loop" if Path(device).is_file() else ""
    run("mount", "-t", kind, "-o", f"{options}{own}", device, str(place))
    try:
        yield
    finally:
        unmount(place)


def _crash(place: Path) -> None:
    """Leave a file that is open and has no name, and a journal that is not empty."""
    nameless = os.open(place, os.O_TMPFILE | os.O_RDWR)
    try:
        os.write(nameless, bytes(100_000))
        os.sync()
        run("xfs_io", "-x", "-c", "shutdown -f", str(place))
    finally:
        os.close(nameless)


def _fill(place: Path) -> None:
    """A small tree with the kinds of files that depend on the file system."""
    many = place / "many"
    many.mkdir()
    for number in range(120):
        (many / f"{number:03} of those that make a directory large").write_text(f"{number}\n")
    (place / "empty").touch()
    (place / "small").write_text("fits into an inode\n")
    (place / "large").write_bytes(os.urandom(400_000))
    with open(place / "holes", "wb") as file:
        for at in (0, 3, 7):
            file.seek(at * tree.MIB)
            file.write(os.urandom(65536))
        file.truncate(9 * tree.MIB)
    deep = place / "deep" / "deeper" / "n\xf6t ascii \n"
    deep.mkdir(parents=True)
    (deep / ("n" * 200)).write_text("at the bottom\n")
    os.link(place / "small", place / "linked")
    os.symlink("small", place / "symbolic")
    os.symlink("l" * 300, place / "symbolic and long")
    os.mkfifo(place / "fifo")
    os.mknod(place / "device", 0o20600, os.makedev(1, 3))
    os.chown(place / "empty", 1234, 70_000)
    os.chmod(place / "empty", 0o4751)
    os.chmod(place, 0o1775)
    # Not every variant has extended attributes.
    with contextlib.suppress(OSError):
        os.setxattr(place / "large", "user.short", b"\x00value")
        os.setxattr(place / "large", "security.capability", bytes.fromhex("01000002" + "00" * 16))
        os.setxattr(place / "small", "user.long", b"x" * 700)
    tree_of = sorted(place.rglob("*"), reverse=True)
    for number, path in enumerate(tree_of):
        if path.name != "lost+found":
            moment = tree.MOMENT + number * 1_000_000_007
            os.utime(path, ns=(moment, moment), follow_symlinks=False)
