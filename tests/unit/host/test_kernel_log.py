"""Only what the kernel has said since a moment is read, and a log that nobody can read is empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volflow.host.kernel_log import KernelLog
from volflow.host.privilege import Privilege


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "kmsg"
    path.write_text("6,7,100,-;EXT4-fs (dm-0): bad geometry\n")
    return path


def _says(log: Path, text: str) -> None:
    with open(log, "a") as file:
        file.write(text)


def test_only_what_was_said_since_is_read(log: Path) -> None:
    with KernelLog(Privilege(), log) as kernel:
        _says(log, "3,8,200,-;XFS (dm-0): SB validate failed\n SUBSYSTEM=block\n DEVICE=b8:0\n")
        _says(log, "6,9,200,c;usb 1-1: new device\n")
        assert kernel.said() == ["XFS (dm-0): SB validate failed", "usb 1-1: new device"]


def test_what_was_said_cannot_control_a_terminal(log: Path) -> None:
    with KernelLog(Privilege(), log) as kernel:
        _says(log, "3,8,200,-;EXT4-fs (dm-0): label \x1b[2J\u202e\n")
        assert kernel.said() == ["EXT4-fs (dm-0): label \\x1b[2J\\u202e"]


def test_a_log_that_is_missing_is_empty(tmp_path: Path) -> None:
    with KernelLog(Privilege(), tmp_path / "nothing") as kernel:
        assert kernel.said() == []


def test_what_only_root_may_read_is_read_as_root(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sudo, volflow itself may not open the log."""
    real = os.open

    def refuse(path: str | Path, *args: int, **kwargs: int) -> int:
        if path == log:
            raise PermissionError(1, "Operation not permitted")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with KernelLog(Privilege(helper=""), log) as kernel:
        _says(log, "3,8,200,-;XFS (dm-0): SB validate failed\n")
        assert kernel.said() == ["XFS (dm-0): SB validate failed"]
