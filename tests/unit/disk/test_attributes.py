"""Flags and project ids are collected and set again on real file systems, and in hostile trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import fscrypt
from tests.support.cloud import run
from tests.support.inode_attributes import flags, projects
from volflow.disk import attributes, attributing

pytestmark = pytest.mark.heavy

MIB = 2**20
MOST = 64 * MIB


def _made(tmp_path: Path, kind: str, *options: str) -> Iterator[Path]:
    """A new file system that is mounted for a test."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    image, point = tmp_path / "image", tmp_path / "tree"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    run(f"mkfs.{kind}", "-q", *options, str(image))
    run("mount", "-o", "loop", str(image), str(point))
    try:
        yield point
    finally:
        run("umount", str(point))


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    yield from _made(tmp_path, "ext4", "-O", "encrypt")


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    yield from _made(tmp_path, "xfs")


def program(*arguments: str | Path, stdin: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, "-I", "-S", *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout or "null")


def collect(tree: Path, family: str, *, projects: str = "0", limit: int = MOST) -> Any:
    return program(attributes.__file__, tree, tree.parent / "file", family, projects, str(limit))


def apply(tree: Path, **order: Any) -> Any:
    order = {"only": False, "roots": [], "exact": False} | order
    return program(
        attributing.__file__, "apply", tree, tree.parent / "file", stdin=json.dumps(order)
    )


def entries(tree: Path) -> dict[str, list[Any]]:
    """What the file says of each path."""
    lines = (tree.parent / "file").read_text().splitlines()[1:]
    return {
        f"{above}/{name}".strip("/"): more
        for above, found in map(json.loads, lines)
        for name, *more in found
    }


def tool(tree: Path, verb: str, name: str) -> None:
    run("chattr", verb, str(tree / name))


def bare(tree: Path) -> None:
    """Take everything off that has been set."""
    program(attributing.__file__, "lift", tree)
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            subprocess.run(["chattr", "-AdSDjtTP", path], capture_output=True, check=False)


def test_every_flag_of_ext4_comes_back(ext4: Path) -> None:
    (ext4 / "dir").mkdir()
    for letter in "iadASt":
        (ext4 / letter).touch()
        tool(ext4, f"+{letter}", letter)
    for letter in "DTi":
        tool(ext4, f"+{letter}", "dir")
    tool(ext4, "+a", ".")
    before = flags(ext4)
    assert set("".join(before.values())) == set("iadAStDT")
    assert collect(ext4, "ext")["found"]["flags"] == len(before)
    bare(ext4)
    assert flags(ext4) == {}
    assert apply(ext4)["failed"] == 0
    assert flags(ext4) == before
    bare(ext4)


def test_flags_and_projects_of_xfs_come_back(xfs: Path) -> None:
    (xfs / "project").mkdir()
    run("xfs_io", "-c", "chproj 4294967294", "-c", "chattr +P", str(xfs / "project"))
    (xfs / "project/file").touch()
    for letter in "iadAS":
        (xfs / letter).touch()
        tool(xfs, f"+{letter}", letter)
    (xfs / "no links").mkdir()
    run("xfs_io", "-c", "chattr +n", str(xfs / "no links"))
    before = flags(xfs), projects(xfs), _xflags(xfs / "no links")
    assert set(before[1]) == {"project", "project/file"}
    found = collect(xfs, "xfs")["found"]
    assert (found["projects"], found["births"]) == (2, 9)
    bare(xfs)
    for name in ("project", "project/file"):
        run("xfs_io", "-c", "chproj 0", str(xfs / name))
    run("xfs_io", "-c", "chattr -n", str(xfs / "no links"))
    assert apply(xfs)["failed"] == 0
    assert (flags(xfs), projects(xfs), _xflags(xfs / "no links")) == before
    bare(xfs)


def _xflags(path: Path) -> str:
    said = run("xfs_io", "-r", "-c", "stat", str(path))
    return next(line for line in said.splitlines() if "xflags" in line)


def test_exactly_the_flags_of_the_backup_are_set_if_asked_for(ext4: Path) -> None:
    for name in ("was", "is", "mine"):
        (ext4 / name).touch()
    tool(ext4, "+d", "was")
    collect(ext4, "ext")
    tool(ext4, "-d", "was")
    tool(ext4, "+A", "is")
    apply(ext4)
    assert flags(ext4) == {"was": "d", "is": "A"}
    apply(ext4, exact=True)
    assert flags(ext4) == {"was": "d"}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"roots": ["a"]}, {"b", "c/d"}),
        ({"roots": ["c"]}, {"a", "b"}),
        ({"roots": ["c", "a"], "only": True}, {"a", "c/d"}),
        ({"roots": [], "only": True}, set()),
    ],
)
def test_only_what_is_restored_is_changed(
    ext4: Path, order: dict[str, Any], expected: set[str]
) -> None:
    (ext4 / "c").mkdir()
    for name in ("a", "b", "c/d"):
        (ext4 / name).touch()
        tool(ext4, "+i", name)
    collect(ext4, "ext")
    bare(ext4)
    apply(ext4, **order)
    assert set(flags(ext4)) == expected
    bare(ext4)


def test_birth_times_are_those_of_the_file_system(xfs: Path) -> None:
    names = ["some", "some/file", "link", "some/fifo"]
    (xfs / "some").mkdir()
    (xfs / "some/file").touch()
    (xfs / "link").symlink_to("nowhere")
    run("mkfifo", str(xfs / "some/fifo"))
    found = collect(xfs, "xfs")
    assert found["found"]["births"] == len(names) + 1
    born, last = {}, 0
    for name, (difference, *_) in entries(xfs).items():
        last += difference
        born[name] = last
    for name in names:
        whole, _, parts = run("stat", "--format=%.9W", str(xfs / name)).strip().partition(".")
        assert born[name] == int(whole) * 10**9 + int(parts), name


def test_names_of_any_bytes_are_kept(ext4: Path) -> None:
    name = os.fsdecode(b'new\nline \xff\xfe \xe2\x80\xae "quoted" \\')
    (ext4 / name).mkdir()
    (ext4 / name / "x").touch()
    tool(ext4, "+i", f"{name}/x")
    collect(ext4, "ext")
    bare(ext4)
    apply(ext4)
    assert flags(ext4) == {f"{name}/x": "i"}
    bare(ext4)


def test_a_large_directory_has_several_lines(ext4: Path) -> None:
    names = [f"file {number}" for number in range(2500)]
    for name in names:
        (ext4 / name).touch()
    tool(ext4, "+i", names[-1])
    assert collect(ext4, "ext")["found"] == {"flags": 1, "projects": 0, "births": 2502}
    assert set(entries(ext4)) == {"", "lost+found", *names}
    assert len((ext4.parent / "file").read_text().splitlines()) == 4
    bare(ext4)
    apply(ext4)
    assert flags(ext4) == {names[-1]: "i"}
    bare(ext4)


def test_an_unchanged_tree_gives_an_unchanged_file(ext4: Path) -> None:
    for number in range(50):
        (ext4 / f"{number}").mkdir()
        (ext4 / f"{number}/file").touch()
    collect(ext4, "ext")
    first = (ext4.parent / "file").read_bytes()
    collect(ext4, "ext")
    assert (ext4.parent / "file").read_bytes() == first


def test_what_can_be_set_comes_before_birth_times(ext4: Path) -> None:
    """A tree with too many files for the memory of a host."""
    for number in range(40):
        (ext4 / f"{number}").mkdir()
        for file in range(20):
            (ext4 / f"{number}/{file}").touch()
    tool(ext4, "+d", "9/1")
    whole = collect(ext4, "ext")
    births = whole["found"]["births"]
    found = collect(ext4, "ext", limit=2000)
    assert (ext4.parent / "file").stat().st_size <= 2000
    assert found["left_out"]["births"] + found["found"]["births"] == births
    assert found["left_out"]["births"] > 0
    assert (found["left_out"]["flags"], found["found"]["flags"]) == (0, 1)
    assert entries(ext4)["9/1"] == [None, 0x40]
    none = collect(ext4, "ext", limit=10)
    assert none["left_out"]["flags"] == 1


def test_nothing_is_looked_at_below_encrypted_directories(ext4: Path) -> None:
    for name in ("alice", "bob"):
        (ext4 / name).mkdir()
        fscrypt.encrypt(ext4 / name, fscrypt.add_key(ext4))
        (ext4 / name / "below").mkdir()
        tool(ext4, "+i", f"{name}/below")
    found = collect(ext4, "ext")
    assert sorted(found["encrypted"]) == ["alice", "bob"]
    assert set(entries(ext4)) == {"", "lost+found"}
    bare(ext4)


def test_a_tree_without_flags_has_birth_times_only(ext4: Path) -> None:
    (ext4 / "file").touch()
    tool(ext4, "+i", "file")
    found = collect(ext4, "none")["found"]
    assert (found["flags"], found["births"]) == (0, 3)
    bare(ext4)


def test_what_cannot_be_set_is_named_and_the_rest_is_set(ext4: Path) -> None:
    """This ext4 has no project ids."""
    for name in ("a", "b"):
        (ext4 / name).touch()
    write(ext4, ["", [["a", None, 0, 5], ["b", None, 0x40]]])
    said = apply(ext4)
    assert (said["failed"], list(said["troubles"])) == (1, ["a"])
    assert flags(ext4) == {"b": "d"}


def test_one_flag_that_cannot_be_set_does_not_prevent_others(ext4: Path) -> None:
    (ext4 / "file").touch()
    without = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"]
    write(ext4, ["", [["file", None, 0x4000 | 0x40 | 0x10]]])
    done = subprocess.run(
        [*without, sys.executable, attributing.__file__, "apply", ext4, ext4.parent / "file"],
        input=json.dumps({"only": False, "roots": [], "exact": False}),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert json.loads(done.stdout)["troubles"] == {"file": "Operation not permitted"}
    assert flags(ext4) == {"file": "di"}
    bare(ext4)


def write(tree: Path, *lines: Any, header: Any = None) -> None:
    """Write what an evil or damaged backup could have."""
    whole = [header or {"format": 1, "flags": "ext"}, *lines]
    (tree.parent / "file").write_text("".join(f"{json.dumps(line)}\n" for line in whole))


@pytest.mark.parametrize(
    "line",
    [
        ["..", [["outside", None, 0x40]]],
        ["", [["../outside", None, 0x40]]],
        ["", [["..", None, 0x40]]],
        ["link", [["outside", None, 0x40]]],
        ["", [["link/outside", None, 0x40]]],
        ["a/../..", [["outside", None, 0x40]]],
        ["/", [["outside", None, 0x40]]],
    ],
)
def test_no_path_leads_out_of_the_tree(ext4: Path, line: Any) -> None:
    (ext4 / "a").mkdir()
    (ext4 / "a/outside").touch()
    inside = ext4 / "a"
    (ext4 / "outside").touch()
    (inside / "link").symlink_to("..")
    (inside / "a").mkdir()
    file = ext4 / "file"
    file.write_text(f"{json.dumps({'format': 1, 'flags': 'ext'})}\n{json.dumps(line)}\n")
    order = json.dumps({"only": False, "roots": [], "exact": False})
    subprocess.run(
        [sys.executable, "-I", "-S", attributing.__file__, "apply", inside, file],
        input=order,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "outside" not in flags(ext4)
    assert "." not in flags(ext4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"format": 2, "flags": "ext"}',
        '{"format": 1, "flags": "none of these"}',
        '{"format": 1, "flags": "ext"}\n["", [["file", null, -1]]]',
        '{"format": 1, "flags": "ext"}\n["", [["file", null, 4294967296]]]',
        '{"format": 1, "flags": "ext"}\n["", [["file", null, "x"]]]',
        '{"format": 1, "flags": "ext"}\n["", [[7, null, 16]]]',
        '{"format": 1, "flags": "ext"}\n[7, [["file", null, 16]]]',
        '{"format": 1, "flags": "ext"}\n["", [["file"]]]',
        '{"format": 1, "flags": "ext"}\n' + "[" * 100_000,
        '{"format": 1, "flags": "ext"}\n' + " " * (attributes.LONGEST_LINE + 1),
        "\x00\x01\x02",
    ],
)
def test_a_damaged_file_is_an_error_in_one_line(ext4: Path, text: str) -> None:
    (ext4 / "file").touch()
    (ext4.parent / "file").write_text(text)
    done = subprocess.run(
        [sys.executable, "-I", "-S", attributing.__file__, "apply", ext4, ext4.parent / "file"],
        input=json.dumps({"only": False, "roots": [], "exact": False}),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "the backup's file of attributes is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert flags(ext4) == {}


def test_flags_that_say_how_data_is_stored_are_not_set(ext4: Path) -> None:
    """Nor those that the kernel alone sets: an evil backup could name them."""
    (ext4 / "file").write_text("data")
    before = run("lsattr", str(ext4 / "file"))
    write(ext4, ["", [["file", None, 0x800 | 0x80000 | 0x100000 | 0x10000000 | 0x40000000]]])
    apply(ext4)
    assert run("lsattr", str(ext4 / "file")) == before


def test_special_files_are_not_opened(ext4: Path) -> None:
    run("mkfifo", str(ext4 / "fifo"))
    (ext4 / "link").symlink_to("fifo")
    run("mknod", str(ext4 / "null"), "c", "1", "3")
    write(ext4, ["", [["fifo", None, 0x40], ["link", None, 0x40], ["null", None, 0x40]]])
    assert apply(ext4) == {"done": 0, "failed": 0, "troubles": {}}


def test_locks_are_lifted_from_a_whole_tree(xfs: Path) -> None:
    (xfs / "a/b").mkdir(parents=True)
    (xfs / "a/b/c").touch()
    for name, letter in (("a/b/c", "+i"), ("a/b", "+a"), ("a", "+i"), (".", "+i")):
        tool(xfs, letter, name)
    program(attributing.__file__, "lift", xfs)
    assert flags(xfs) == {}
