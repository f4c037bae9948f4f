"""Files get back their holes, even if the mover changed them."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from volflow.disk import holes, sparse
from volflow.host.privilege import Privilege

BLOCK = 64 * 1024
# The files belong to the user who runs the tests.
ME = Privilege(helper="")


def write(path: Path, *offsets: int, size: int) -> bytes:
    """Write a file with a block of data at each offset; return its content."""
    with path.open("wb") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(b"x" * BLOCK)
        file.truncate(size)
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    return path.read_bytes()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one sparse file that has two islands of data."""
    write(tmp_path / "islands", 0, 4 * BLOCK, size=16 * BLOCK)
    return tmp_path


def test_only_sparse_files_are_found(tree: Path) -> None:
    (tree / "zeros").write_bytes(bytes(4 * BLOCK))
    (tree / "empty").touch()

    assert sparse.find(ME, tree) == {
        "islands": {"size": 16 * BLOCK, "data": [[0, BLOCK], [4 * BLOCK, BLOCK]]}
    }


def test_a_file_that_was_filled_gets_its_holes_again(tree: Path) -> None:
    wanted = sparse.find(ME, tree)
    content = (tree / "islands").read_bytes()
    (tree / "islands").write_bytes(content)

    sparse.shape(ME, tree, wanted)

    assert sparse.find(ME, tree) == wanted
    assert (tree / "islands").read_bytes() == content


def test_written_zeros_do_not_become_a_hole(tree: Path) -> None:
    wanted = sparse.find(ME, tree)
    wanted["islands"]["data"] = [[0, 2 * BLOCK], [4 * BLOCK, BLOCK]]
    content = write(tree / "swap", BLOCK, size=8 * BLOCK)

    sparse.shape(ME, tree, wanted)

    assert sparse.find(ME, tree) == wanted
    assert (tree / "swap").read_bytes() == content


def test_times_and_capabilities_stay(tree: Path) -> None:
    program = tree / "program"
    write(program, size=4 * BLOCK)
    if os.geteuid() == 0:
        # cap_net_bind_service=ep (capabilities(7), version 2).
        os.setxattr(program, "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))
        os.utime(program, ns=(1, 1_234_567_890_123_456_789))
    before = os.listxattr(program), program.stat().st_mtime_ns

    sparse.shape(ME, tree, {})

    assert sparse.find(ME, tree) == {}
    assert (os.listxattr(program), program.stat().st_mtime_ns) == before


def test_a_missing_file_is_ignored(tree: Path) -> None:
    sparse.shape(ME, tree, {"gone": {"size": BLOCK, "data": []}, **sparse.find(ME, tree)})


def test_a_hole_that_ends_inside_a_block_is_made(tmp_path: Path) -> None:
    """It is the last hole of a file with an odd size."""
    content = write(tmp_path / "odd", 0, size=8 * BLOCK + 333)
    wanted = sparse.find(ME, tmp_path)
    (tmp_path / "odd").write_bytes(content)

    sparse.shape(ME, tmp_path, wanted)

    assert sparse.find(ME, tmp_path) == wanted
    assert (tmp_path / "odd").read_bytes() == content


def test_a_file_that_is_one_hole_is_restored(tmp_path: Path) -> None:
    content = write(tmp_path / "hole", size=3 * BLOCK + 1)
    wanted = sparse.find(ME, tmp_path)
    assert wanted["hole"]["data"] == []
    (tmp_path / "hole").write_bytes(content)

    sparse.shape(ME, tmp_path, wanted)

    assert sparse.find(ME, tmp_path) == wanted


def test_names_that_are_not_utf8_are_handled(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\nodd")
    write(tmp_path / name, 0, size=4 * BLOCK)
    assert list(sparse.find(ME, tmp_path)) == [name]


def test_a_file_with_many_holes_takes_linear_time() -> None:
    """A database file can have hundreds of thousands; one after the other took hours."""
    step, count = 8192, 300_000
    data = [[n * step, 4096] for n in range(count)]
    shifted = [[n * step + 4096, 4096] for n in range(count)]
    began = time.process_time()
    assert sum(1 for _ in holes._without(data, shifted)) == count
    assert list(holes._without(data, data)) == []
    assert sum(1 for _ in holes._without([[0, count * step]], data)) == count
    assert sum(1 for _ in holes._without(data, [[0, count * step]])) == 0
    assert time.process_time() - began < 30


def test_parts_outside_of_other_ranges_are_found() -> None:
    """Compared with a set of all positions."""
    chance = random.Random(1)
    for _ in range(300):
        wanted, others = (
            _ranges(sorted(chance.sample(range(40), 2 * chance.randrange(8)))) for _ in range(2)
        )
        found = [n for start, end in holes._without(wanted, others) for n in range(start, end)]
        inside = {n for start, length in others for n in range(start, start + length)}
        asked = [n for start, length in wanted for n in range(start, start + length)]
        assert found == [n for n in asked if n not in inside]


def _ranges(ends: list[int]) -> list[list[int]]:
    return [[start, end - start] for start, end in zip(ends[::2], ends[1::2], strict=True)]


def test_a_file_below_directories_gets_its_holes_too(tmp_path: Path) -> None:
    file = tmp_path / "directory/below/sparse"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    os.truncate(file, 2**22)
    runs = ME
    found = sparse.find(runs, tmp_path)
    assert found.keys() == {"directory/below/sparse"}
    file.write_bytes(b"x" + bytes(2**22 - 1))
    sparse.shape(runs, tmp_path, found)
    assert sparse.find(runs, tmp_path) == found
