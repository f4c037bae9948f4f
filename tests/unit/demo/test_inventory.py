"""The demo's comparison finds every kind of difference that it claims to find."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from demo import inventory


def plant(root: Path) -> None:
    (root / "directory").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    (root / "other").write_bytes(bytes(2**20))
    os.link(root / "file", root / "directory" / "file too")
    (root / "link").symlink_to("file")
    os.mkfifo(root / "fifo")
    os.setxattr(root / "file", "user.colour", b"red")
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, ns=(0, 1_234_567_890_123_456_789), follow_symlinks=False)
    os.utime(root, ns=(0, 1))


def in_place(act: Callable[[Path], object], *names: str) -> Callable[[Path], None]:
    """Change a tree, but keep the times of its root and of these names in it."""

    def change(root: Path) -> None:
        kept = {path: os.lstat(path) for path in (root, *(root / name for name in names))}
        act(root)
        for path, status in kept.items():
            os.utime(path, ns=(0, status.st_mtime_ns), follow_symlinks=False)

    return change


def replace_link(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")


def break_hard_link(root: Path) -> None:
    shutil.copy2(root / "file", root / "copy")
    (root / "copy").replace(root / "file")


def punch(root: Path) -> None:
    with (root / "other").open("wb") as file:
        file.truncate(2**20)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": in_place(lambda root: (root / "file").write_bytes(b"Content"), "file"),
    "size": in_place(lambda root: os.truncate(root / "other", 2**19), "other"),
    "mode": lambda root: (root / "file").chmod(0o640),
    "data": in_place(punch, "other"),
    "changed_ns": lambda root: os.utime(root / "directory", ns=(0, 1_234_567_890_123_456_788)),
    "attributes": lambda root: os.setxattr(root / "file", "user.colour", b"blue"),
    "target": in_place(replace_link, "link"),
    "names": in_place(break_hard_link, "file"),
    "missing": in_place(lambda root: (root / "fifo").unlink()),
    "not expected": in_place(lambda root: (root / "new").mkdir()),
    "'.': mode": lambda root: root.chmod(0o711),
    "'.': changed_ns": lambda root: os.utime(root, ns=(0, 2)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_difference_is_seen(tmp_path: Path, what: str) -> None:
    plant(tmp_path / "tree")
    before = inventory.take(tmp_path / "tree")
    CHANGES[what](tmp_path / "tree")

    lines = inventory.differences(before, inventory.take(tmp_path / "tree"))

    assert any(what in line for line in lines), lines


def test_equal_trees_are_equal(tmp_path: Path) -> None:
    for name in ("one", "two"):
        plant(tmp_path / name)

    trees = [inventory.take(tmp_path / name) for name in ("one", "two")]

    assert inventory.differences(*trees) == []
    assert inventory.files(trees[0]) == 3
    assert inventory.changed_files(*trees) == 0
