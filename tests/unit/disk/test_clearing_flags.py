"""Immutable and append-only files and directories are in nobody's way, and get their flags back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cloud import run
from volflow.disk import clearing

IMMUTABLE, APPEND = 0x10, 0x20


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory of a file system that has these flags."""
    path = tmp_path / "tree"
    path.mkdir()
    if os.geteuid() or subprocess.run(["chattr", "+i", path], check=False).returncode:
        pytest.skip("only root can set flags, and not on every file system")
    run("chattr", "-i", str(path))
    yield path
    subprocess.run(["chattr", "-R", "-ia", path], check=False, capture_output=True)


def _chattr(flags: str, *paths: Path) -> None:
    run("chattr", flags, *map(str, paths))


def _program(tree: Path, *verb: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-I", "-S", clearing.__file__, tree, *verb],
        input=stdin,
        capture_output=True,
        check=False,
    )


def test_flags_are_lifted_from_what_is_replaced_and_set_again_on_directories(tree: Path) -> None:
    (tree / "dir/deep").mkdir(parents=True)
    (tree / "gone/deep").mkdir(parents=True)
    (tree / "mine").mkdir()
    for name in ("file", "log", "dir/below", "dir/extra", "gone/deep/x", "mine/x"):
        (tree / name).write_text(name)
    _chattr("+a", tree / "log", tree / "dir/deep")
    inner = (tree / "gone/deep/x", tree / "gone/deep", tree / "gone")
    _chattr("+i", tree / "file", *inner, tree / "dir/extra", tree / "dir", tree / "mine", tree)
    flags = clearing.flags(str(tree))
    assert flags == {
        "": IMMUTABLE,
        "dir": IMMUTABLE,
        "dir/deep": APPEND,
        "mine": IMMUTABLE,
        "gone": IMMUTABLE,
        "gone/deep": IMMUTABLE,
    }
    replaced = clearing.clear(
        str(tree),
        [
            *(("", True), ("file", False), ("log", False), ("dir", True), ("dir/below", False)),
            *(("dir/deep", True), ("gone", False), ("missing/x", False)),
        ],
    )
    assert sorted(replaced) == ["file", "gone", "gone/deep", "gone/deep/x", "log"]
    left = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    assert left == ["dir", "dir/deep", "dir/extra", "mine", "mine/x"]
    # restic writes into these now.
    for name in ("new", "dir/new", "dir/deep/new"):
        (tree / name).write_text("new")
    assert clearing.set_again(str(tree), flags) == {}
    for name in ("gone", "gone/deep"):
        del flags[name]
    assert clearing.flags(str(tree)) == flags
    # What stays has kept its flag.
    assert "i" in run("lsattr", "-d", str(tree / "dir/extra")).split()[0]


def test_the_parents_of_single_paths_can_be_written_to(tree: Path) -> None:
    (tree / "dir").mkdir()
    (tree / "dir/file").write_text("")
    _chattr("+i", tree / "dir/file", tree / "dir", tree)
    clearing.clear(str(tree), [("dir/file", False), ("dir/missing", False)])
    (tree / "dir/file").write_text("new")
    assert clearing.flags(str(tree)) == {"": IMMUTABLE}


def test_what_is_extra_is_removed_and_its_directory_keeps_its_flags(tree: Path) -> None:
    (tree / "dir").mkdir()
    (tree / "extra/deep").mkdir(parents=True)
    for name in ("dir/kept", "dir/extra", "extra/deep/x"):
        (tree / name).write_text("")
    _chattr("+i", tree / "dir/kept", tree / "dir/extra", tree / "extra/deep/x", tree / "dir")
    _chattr("+a", tree / "extra/deep", tree)
    before = {"": APPEND, "dir": IMMUTABLE}
    clearing.remove_extra(str(tree), [("", "d"), ("dir", "d"), ("dir/kept", "f")])
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["dir", "dir/kept"]
    assert clearing.flags(str(tree)) == before
    assert "i" in run("lsattr", "-d", str(tree / "dir/kept")).split()[0]


def test_another_name_of_a_removed_file_keeps_the_flag(tree: Path) -> None:
    (tree / "kept").write_text("content")
    os.link(tree / "kept", tree / "written")
    _chattr("+i", tree / "kept")
    assert clearing.clear(str(tree), [("", True), ("written", False)]) == ["written"]
    assert [path.name for path in tree.iterdir()] == ["kept"]
    assert "i" in run("lsattr", "-d", str(tree / "kept")).split()[0]


def test_a_directory_whose_flags_cannot_be_set_is_named(tree: Path) -> None:
    (tree / "file").write_text("")
    said = clearing.set_again(str(tree), {"file": IMMUTABLE, "missing/deep": IMMUTABLE})
    assert said == {}
    place = Path("/proc/self")
    assert clearing.set_again(str(place), {"fd": IMMUTABLE}) != {}


def test_its_verbs_run_as_programs(tree: Path) -> None:
    (tree / "dir").mkdir()
    (tree / "dir/file").write_text("")
    _chattr("+i", tree / "dir/file", tree / "dir")
    flags = _program(tree, "flags").stdout
    assert json.loads(flags) == {"dir": IMMUTABLE}
    done = _program(tree, stdin=b"d\0ddir\0fdir/file\0")
    assert (done.returncode, json.loads(done.stdout)) == (0, ["dir/file"])
    assert json.loads(_program(tree, "set", stdin=flags).stdout) == {}
    assert clearing.flags(str(tree)) == {"dir": IMMUTABLE}


def test_an_error_is_one_line_with_the_whole_path(tree: Path) -> None:
    (tree / "a/\x1b[2J").mkdir(parents=True)
    run("mount", "-t", "tmpfs", "tmpfs", str(tree / "a/\x1b[2J"))
    try:
        for verb, listed in (((), b"fa\0"), (("extra",), b"d\0"), ((), b"fa/\x1b[2J\0")):
            done = _program(tree, *verb, stdin=listed)
            assert done.returncode == 1
            assert done.stderr == b"a/\\x1b[2J: Device or resource busy\n"
    finally:
        run("umount", str(tree / "a/\x1b[2J"))


def test_a_tree_is_removed_however_deep_it_is(tree: Path) -> None:
    here = os.open(tree, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        for verb, listed in ((("flags",), b""), (("extra",), b"d\0")):
            done = _program(tree, *verb, stdin=listed)
            assert (done.returncode, done.stderr) == (0, b"")
        assert list(tree.iterdir()) == []
    finally:
        # It is too deep for pytest to remove.
        run("rm", "--recursive", "--force", str(tree))


def test_a_directory_with_several_paths_is_refused(tree: Path) -> None:
    """A guest can write such a tree. Thirty of them inside each other have a billion paths."""
    (tree / "one").mkdir()
    (tree / "other").mkdir()
    bind = 'mount --bind "$1/one" "$1/other" && exec "$2" -I -S "$3" "$1" flags'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", bind, "sh", tree, sys.executable, clearing.__file__],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b": this directory is also at another path" in done.stderr
