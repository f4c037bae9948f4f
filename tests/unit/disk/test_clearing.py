"""Before a restore over existing files, files in its way are removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from volflow.disk import clearing


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "file").write_text("not to be touched")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


def test_files_that_are_not_in_the_backup_stay(tree: Path) -> None:
    (tree / "both").mkdir()
    for name in ("mine", "both/mine", "both/file"):
        (tree / name).write_text(name)
    clearing.clear(str(tree), [("", True), ("both", True), ("both/file", False)])
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == [
        "both",
        "both/mine",
        "mine",
    ]


def test_no_link_is_followed(tree: Path, outside: Path) -> None:
    (tree / "directory").symlink_to(outside)
    (tree / "file").symlink_to(outside / "file")
    (tree / "true").mkdir()
    (tree / "true" / "below").symlink_to(outside)
    clearing.clear(
        str(tree),
        [
            ("", True),
            *(("directory", True), ("directory/file", False), ("file", False)),
            *(("true", True), ("true/below", True), ("true/below/file", False)),
        ],
    )
    assert sorted(path.name for path in tree.rglob("*")) == ["true"]
    assert (outside / "file").read_text() == "not to be touched"


@pytest.mark.parametrize("path", ["../outside/file", "a/../../outside/file", "..", "./..", "a//x"])
def test_no_path_leads_out_of_the_tree(tree: Path, outside: Path, path: str) -> None:
    (tree / "a").mkdir()
    with pytest.raises(OSError, match="not a name in the tree"):
        clearing.clear(str(tree), [(path, False)])
    assert (outside / "file").exists()


def test_a_directory_in_the_place_of_a_file_is_removed(tree: Path, outside: Path) -> None:
    (tree / "name" / "deeper").mkdir(parents=True)
    (tree / "name" / "deeper" / "link").symlink_to(outside)
    clearing.clear(str(tree), [("", True), ("name", False)])
    assert list(tree.iterdir()) == []
    assert (outside / "file").exists()


def test_a_file_in_the_place_of_a_directory_is_removed(tree: Path) -> None:
    (tree / "name").write_text("file")
    clearing.clear(str(tree), [("", True), ("name", True), ("name/below", False)])
    assert list(tree.iterdir()) == []


def test_removing_a_hard_link_keeps_the_others(tree: Path) -> None:
    (tree / "kept").write_text("content")
    os.link(tree / "kept", tree / "written")
    clearing.clear(str(tree), [("", True), ("written", False)])
    assert [path.name for path in tree.iterdir()] == ["kept"]
    assert (tree / "kept").read_text() == "content"


def test_it_runs_as_a_program(tree: Path) -> None:
    odd = os.fsdecode(b"\xff\n odd")
    for name in ("kept", odd):
        (tree / name).write_text("x")
    (tree / "directory").mkdir()
    os.setxattr(tree / "directory", "user.later", b"1")
    entries = b"d\0ddirectory\0f" + os.fsencode(odd) + b"\0fnone/at/all\0"
    subprocess.run(
        [sys.executable, "-I", "-S", clearing.__file__, str(tree)], input=entries, check=True
    )
    assert sorted(path.name for path in tree.iterdir()) == ["directory", "kept"]
    assert os.listxattr(tree / "directory") == []


def test_what_the_backup_does_not_have_is_removed(tree: Path, outside: Path) -> None:
    for name in ("both/file", "both/extra", "extra/deep/file", "unread/file", "lost+found/file"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "link").symlink_to(outside)
    (tree / "was file").mkdir()
    (tree / "was file" / "kept").write_text("kept")
    (tree / "was directory").symlink_to(outside)
    clearing.remove_extra(
        str(tree),
        [
            *(("", "d"), ("both", "d"), ("both/file", "f"), ("unread", "s")),
            *(("was file", "f"), ("was directory", "d"), ("was directory/file", "f")),
        ],
    )
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == [
        *("both", "both/file", "lost+found", "lost+found/file", "unread", "unread/file"),
        *("was directory", "was file", "was file/kept"),
    ]
    assert (outside / "file").read_text() == "not to be touched"
