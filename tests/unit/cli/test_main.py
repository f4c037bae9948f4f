"""The command line without some of the standard streams."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = f"{sys.executable} -m volflow.cli.main"


def _shell(redirection: str) -> subprocess.CompletedProcess[str]:
    command = f"{COMMAND} --version {redirection}"
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_closed_standard_output_is_a_clear_error() -> None:
    done = _shell(">&-")
    assert done.returncode == 1
    assert done.stderr == "The standard output is closed: nothing could be shown.\n"


@pytest.mark.parametrize("redirection", ["2>&-", "<&-", "<&- 2>&-"])
def test_other_closed_streams_do_no_harm(redirection: str) -> None:
    done = _shell(redirection)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("volflow ")
