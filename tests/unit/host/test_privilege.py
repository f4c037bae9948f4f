"""Programs run as root through a helper, and can be ended."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from volflow.errors import HostError
from volflow.host import privilege
from volflow.host.privilege import Privilege


@pytest.mark.parametrize("user", [0, 1000])
def test_a_signal_needs_no_program_kill(
    tmp_path: Path, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("env", "setpriv", "sh", "sleep"):
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(privilege, "_PATH", str(tmp_path))
    with Privilege("env").start("sleep", "1000") as program:
        program.signal(signal.SIGTERM)
        assert program.wait() == -signal.SIGTERM
        # A signal to a process that has ended does nothing.
        program.signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo one; echo two; exit 3", "two"),
        ("echo one; echo two >&2; exit 3", "two"),
        ("exit 3", "it said nothing"),
    ],
    ids=["output", "errors", "nothing"],
)
def test_a_failure_quotes_what_the_program_said_last(script: str, said: str) -> None:
    """mkfs.ext4 prints some errors on its standard output."""
    with pytest.raises(HostError) as failed:
        Privilege(helper="").run("sh", "-c", script)
    assert str(failed.value) == f"'sh' failed with exit status 3: {said}"
