"""Which existing files stay in a restore over them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from volflow.disk import choosing
from volflow.disk.choosing import Choice

SECOND = 10**6


def _write(path: Path, modified: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, ns=(0, int(modified * 10**9)))


def _choose(tree: Path, entries: Iterable[tuple[str, bool, float]], *, newer: bool) -> Choice:
    listed = [(path, directory, int(at * SECOND)) for path, directory, at in entries]
    return choosing.choose(str(tree), [("", True, 0), *listed], newer=newer)


def test_of_existing_files_only_later_ones_count_as_newer(tmp_path: Path) -> None:
    for name, modified in (("older", 9), ("same", 10), ("newer", 10.000001)):
        _write(tmp_path / name, modified)
    entries = [(name, False, 10.0) for name in ("older", "same", "newer", "missing")]
    assert _choose(tmp_path, entries, newer=True) == {
        "kept": ["newer"],
        "restored": ["older", "same", "missing"],
        "files": 1,
    }
    assert _choose(tmp_path, entries, newer=False) == {
        "kept": ["newer", "older", "same"],
        "restored": ["missing"],
        "files": 3,
    }


def test_a_directory_of_which_everything_stays_stands_for_its_contents(tmp_path: Path) -> None:
    for name in ("whole/a", "whole/deep/b", "part/c"):
        _write(tmp_path / name, 20)
    entries = [
        *(("whole", True, 10.0), ("whole/a", False, 10.0), ("whole/deep", True, 10.0)),
        *(("whole/deep/b", False, 10.0), ("part", True, 10.0), ("part/c", False, 10.0)),
        ("part/missing", False, 10.0),
    ]
    for newer in (True, False):
        found = _choose(tmp_path, entries, newer=newer)
        assert found == {"kept": ["part/c", "whole"], "restored": ["part/missing"], "files": 3}


def test_a_missing_directory_stands_for_its_contents(tmp_path: Path) -> None:
    entries = [("d", True, 10.0), ("d/e", True, 10.0), ("d/e/f", False, 10.0)]
    found = _choose(tmp_path, entries, newer=True)
    assert found == {"kept": [], "restored": ["d"], "files": 0}


@pytest.mark.parametrize(("inside", "stays"), [(20, True), (5, False)])
def test_a_directory_in_the_place_of_a_file_is_as_new_as_its_contents(
    tmp_path: Path, inside: int, stays: bool
) -> None:
    _write(tmp_path / "name/deep/file", inside)
    for path in (tmp_path / "name/deep", tmp_path / "name"):
        os.utime(path, (5, 5))
    found = _choose(tmp_path, [("name", False, 10.0)], newer=True)
    assert (found["kept"] == ["name"]) is stays
    assert (found["restored"] == ["name"]) is not stays


@pytest.mark.parametrize(("modified", "stays"), [(20, True), (5, False)])
def test_a_file_in_the_place_of_a_directory_decides_for_its_contents(
    tmp_path: Path, modified: int, stays: bool
) -> None:
    _write(tmp_path / "name", modified)
    found = _choose(tmp_path, [("name", True, 10.0), ("name/below", False, 30.0)], newer=True)
    assert (found["kept"], found["restored"]) == ((["name"], []) if stays else ([], ["name"]))


def test_a_link_counts_by_its_own_time_and_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _write(outside / "file", 20)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    os.utime(tree / "link", (5, 5), follow_symlinks=False)
    found = _choose(tree, [("link", True, 10.0), ("link/file", False, 10.0)], newer=True)
    assert found == {"kept": [], "restored": ["link"], "files": 0}


@pytest.mark.parametrize("path", ["../outside/file", "a/../x", "..", "a//x"])
def test_no_path_leads_out_of_the_tree(tmp_path: Path, path: str) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    _write(tmp_path / "outside/file", 20)
    listed = [("a", True, 10), ("..", True, 10), ("../outside", True, 10), (path, False, 10)]
    with pytest.raises((OSError, KeyError)):
        _choose(tree, [(name, directory, 1.0) for name, directory, _ in listed], newer=False)


def test_the_program_reads_what_entry_writes(tmp_path: Path) -> None:
    _write(tmp_path / "new\nline é", 20)
    listed = [
        choosing.entry("", directory=True, modified=0),
        choosing.entry("new\nline é", directory=False, modified=-SECOND),
        choosing.entry("missing", directory=False, modified=SECOND),
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-S", choosing.__file__, tmp_path, "if-newer"],
        input="".join(listed),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "kept": ["new\nline é"],
        "restored": ["missing"],
        "files": 1,
    }
