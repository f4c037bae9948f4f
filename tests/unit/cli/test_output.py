"""If the standard output fails, the error says so and names the run that has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BACKUP = """
import sys
from volflow.cli import backup, main
from volflow.cli.result import show
from volflow.results.outcome import Outcome, RunResult, VolumeResult
volume = VolumeResult("volume", "name", Outcome.PARTIAL, "backup")
result = RunResult("0123456789abcdef", "backup", (volume,) * int(sys.argv[1]))
backup.BackupCreate.take_action = lambda self, arguments: show(self, arguments, [result])
sys.exit(main.main(["backup", "create", "name"]))
"""
MAIN = "import sys; from volflow.cli import main; sys.exit(main.main(sys.argv[1:]))"
FULL = "The output could not be written: No space left on device."


def _said(directory: Path, program: str, *arguments: str) -> str:
    """What volflow says if the standard output is full."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "HOME": str(directory)},
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("volumes", ["1", "500"])
def test_a_run_whose_result_cannot_be_shown_is_named(tmp_path: Path, volumes: str) -> None:
    said = _said(tmp_path, BACKUP, volumes).splitlines()[-1]
    assert said == f"{FULL} Run 01234567 has ended and is partial; see 'volflow run show 01234567'."


@pytest.mark.parametrize("arguments", [[], ["--version"], ["--help"], ["run", "list"]])
def test_any_other_output_that_cannot_be_written_is_reported(
    tmp_path: Path, arguments: list[str]
) -> None:
    assert _said(tmp_path, MAIN, *arguments) == f"{FULL}\n"
