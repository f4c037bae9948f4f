"""One pass over a tree finds everything that a backup asks about it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from volflow.disk import survey as module
from volflow.disk.survey import Paths, Window, survey
from volflow.host.privilege import Privilege

# The files belong to the user who runs the tests.
ME = Privilege(helper="")
BLOCK = 64 * 1024


def occupied(*paths: Path) -> int:
    return sum(512 * path.lstat().st_blocks for path in paths)


def newest(tree: Path) -> float:
    return max(path.stat().st_ctime for path in (tree, *tree.iterdir()))


def test_hard_links_occupy_their_blocks_once(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_bytes(os.urandom(BLOCK))
    other.write_bytes(os.urandom(BLOCK))
    os.link(file, tmp_path / "again")
    (tmp_path / "link").symlink_to("file")

    found = survey(ME, tmp_path)

    assert found.used == occupied(file, other, tmp_path)
    assert found.entries == {"f": 3, "l": 1, "d": 1}


def test_sparse_files_are_found_by_any_name(tmp_path: Path) -> None:
    name = os.fsdecode(b"with space \xff\n")
    with open(tmp_path / name, "wb") as file:
        file.write(b"x" * BLOCK)
        file.truncate(4 * BLOCK)
    (tmp_path / "full").write_bytes(b"x" * BLOCK)

    found = survey(ME, tmp_path)

    assert found.sparse == {name: {"size": 4 * BLOCK, "data": [[0, BLOCK]]}}


def test_the_newest_time_comes_from_the_clock_alone(tmp_path: Path) -> None:
    """An mtime can be set to anything; only the kernel sets a ctime."""
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (4_000_000_000, 4_000_000_000))

    found = survey(ME, tmp_path)

    assert found.newest == pytest.approx(newest(tmp_path), abs=1e-5)


def test_times_of_the_future_are_not_recent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    changed = newest(tmp_path)

    assert survey(ME, tmp_path, until=changed - 100).recent == 0
    assert survey(ME, tmp_path, until=changed + 100).recent == pytest.approx(changed, abs=1e-5)


def test_what_restic_cannot_store_is_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHOWN", 2)
    for number in range(3):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(tmp_path / f"socket {number}"))
    (tmp_path / "near").touch()
    os.utime(tmp_path / "near", (9_223_372_036, 9_223_372_036))
    (tmp_path / "far").touch()
    os.utime(tmp_path / "far", (9_223_372_037, 9_223_372_037))

    found = survey(ME, tmp_path)

    assert found.sockets.count == 3
    assert len(found.sockets.shown) == 2
    assert found.unstorable_times == Paths(1, ("far",))


def test_an_empty_tree_has_its_root_alone(tmp_path: Path) -> None:
    found = survey(ME, tmp_path)

    assert found.entries == {"d": 1}
    assert not found.sparse
    assert found.sockets == found.unstorable_times == Paths()


def test_files_in_a_window_of_time_are_unsettled(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    now = (tmp_path / "file").stat().st_ctime

    def unsettled(since: float, until: float) -> tuple[str, ...]:
        return survey(ME, tmp_path, window=Window(since, until)).unsettled

    assert unsettled(now - 10, now + 10) == ("file",)
    assert unsettled(now + 10, now + 20) == ()
    # Its ctime shows that it has changed since.
    assert unsettled(now - 20, now - 10) == ()
    # A later mtime alone is enough.
    os.utime(tmp_path / "file", (now + 100, now + 100))
    assert unsettled(now + 50, now + 200) == ("file",)


def test_a_ctime_in_whole_seconds_proves_no_later_change() -> None:
    window = Window(100.0, 200.0)

    assert window.has(300.0, 300.0, coarse=True)
    assert not window.has(300.0, 300.0, coarse=False)
    assert not window.has(99.0, 99.0, coarse=True)
