"""A program of the package says in one line which path it failed at."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from volflow.disk import (
    blocks,
    choosing,
    clearing,
    comparison,
    directories,
    helper,
    holes,
    room,
    sockets,
    superblocks,
    touching,
)


def test_an_error_is_one_line_with_the_path_and_the_reason() -> None:
    error = OSError(errno.EPERM, "Operation not permitted", "a/\x1b[2J\nb\udcff\u202e")
    assert helper.line(error) == "a/\\x1b[2J\\nb\\udcff\\u202e: Operation not permitted"
    assert helper.line(OSError(errno.EPERM, "No", "")) == "/: No"
    assert helper.line(OSError("it is gone")) == "it is gone"


@pytest.mark.parametrize("file", [directories.__file__])
def test_a_program_of_the_package_runs_alone(tmp_path: Path, file: str) -> None:
    (tmp_path / "dir").mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-S", file, tmp_path],
        input=b"dir\0other\0",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b'["dir"]\n'


PROGRAMS = {
    blocks: ("{}", "{}", "1"),
    choosing: ("{}", "never"),
    clearing: ("{}",),
    comparison: ("{}", "true"),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.__name__)
def test_a_program_names_the_path_it_failed_at(tmp_path: Path, program: ModuleType) -> None:
    place = tmp_path / "no\x1bthing"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            program.__file__,
            *(one.format(place) for one in PROGRAMS[program]),
        ],
        input=b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    shown = str(place).replace("\x1b", "\\x1b")
    assert done.stderr.decode() == f"{shown}: No such file or directory\n"


@pytest.mark.parametrize(
    "program",
    [*PROGRAMS, directories, holes, room, sockets, superblocks, touching],
    ids=lambda one: one.__name__,
)
def test_a_program_ends_in_the_shared_way(program: ModuleType) -> None:
    assert program.__file__ is not None
    assert Path(program.__file__).read_text().endswith('/helper.py")["run"](main)\n')
