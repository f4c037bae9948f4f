"""A program of the package says in one line which path it failed at."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from volflow.disk import directories, helper


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
