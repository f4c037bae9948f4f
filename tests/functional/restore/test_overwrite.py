"""Restores over existing files, of which some stay: ``--overwrite`` and ``--keep-extra``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.branch import branch
from tests.support.controlled_runs import killed
from tests.support.stage import Original, Stage

pytestmark = pytest.mark.lab

# Seconds since the epoch, before and after the backup.
PAST, BACKUP, FUTURE = 1_600_000_000, 1_700_000_000, 1_900_000_000


def _write(path: Path, text: str, modified: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (modified, modified))


def _first(root: Path) -> None:
    """The files of the backup."""
    for name in os.listdir(root):
        if name != "lost+found":
            path = root / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in ("older", "newer", "same", "missing", "was file", "was old file", "dir/below"):
        _write(root / name, "backup", BACKUP)
    _write(root / "all newer/one", "backup", BACKUP)
    _write(root / "was dir/below", "backup", BACKUP)
    _write(root / "missing dir/below", "backup", BACKUP)
    os.link(root / "older", root / "linked")
    os.utime(root / "was dir", (BACKUP, BACKUP))


def _then(root: Path) -> None:
    """What happens to them afterwards."""
    for name, modified in (("older", PAST), ("newer", FUTURE), ("same", BACKUP)):
        _write(root / name, "volume", modified)
    for name in ("missing", "was file", "was old file"):
        (root / name).unlink()
    shutil.rmtree(root / "missing dir")
    shutil.rmtree(root / "was dir")
    _write(root / "was dir", "volume", FUTURE)
    _write(root / "was file/inside", "volume", FUTURE)
    _write(root / "was old file/inside", "volume", PAST)
    os.utime(root / "was old file", (PAST, PAST))
    _write(root / "all newer/one", "volume", FUTURE)
    _write(root / "dir/extra", "volume", PAST)
    _write(root / "extra dir/one", "volume", FUTURE)
    _write(root / "all newer/extra", "volume", PAST)


def _texts(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


EXTRA = {"dir/extra": "volume", "extra dir/one": "volume", "all newer/extra": "volume"}
IF_NEWER = {
    "older": "backup",
    "newer": "volume",
    "same": "backup",
    "missing": "backup",
    "was file/inside": "volume",
    "was old file": "backup",
    "dir/below": "backup",
    "all newer/one": "volume",
    "was dir": "volume",
    "missing dir/below": "backup",
    "linked": "backup",
}
NEVER = IF_NEWER | {"older": "volume", "same": "volume", "linked": "volume"}
del NEVER["was old file"]
NEVER["was old file/inside"] = "volume"


def _meddled(stage: Stage, name: str) -> Original:
    was = stage.original(name, _first)
    stage.site.cloud.on(was.volume, _then)
    return was


def _found(stage: Stage, volume: str, look: Callable[[Path], Any] = _texts) -> Any:
    return stage.site.cloud.on(volume, look, read_only=True)


@branch("--overwrite if-newer and never, with and without --keep-extra")
@pytest.mark.parametrize("keep_extra", [False, True])
@pytest.mark.parametrize(
    ("overwrite", "expected", "kept"), [("if-newer", IF_NEWER, 4), ("never", NEVER, 9)]
)
def test_overwrite_says_which_existing_files_stay(
    stage: Stage, overwrite: str, expected: dict[str, str], kept: int, keep_extra: bool
) -> None:
    was = _meddled(stage, f"{overwrite} {keep_extra}")
    extra = ["--keep-extra"] if keep_extra else []
    (row,) = stage.rows(
        *("restore", "create", was.volume, "--overwrite", overwrite, *extra, "--verify", "--yes")
    )
    assert row["outcome"] == "complete", row
    assert row["kept"] == kept
    assert _found(stage, was.volume) == expected | (EXTRA if keep_extra else {})


@branch("--overwrite always with --keep-extra")
def test_overwrite_always_replaces_newer_files_too(stage: Stage) -> None:
    was = _meddled(stage, "always")
    result = stage.site.restore(was.volume, overwrite="always", keep_extra=True, verify=True)
    assert str(result.outcome) == "complete", result
    assert (
        _found(stage, was.volume)
        == dict.fromkeys(
            {*IF_NEWER, "was file", "was dir/below"} - {"was file/inside", "was dir"}, "backup"
        )
        | EXTRA
    )


@branch("--overwrite, killed in the copy: resumed")
def test_a_restore_over_newer_files_can_be_resumed(stage: Stage) -> None:
    was = _meddled(stage, "killed")
    run = killed(
        *(stage.site, "restore", was.volume),
        step="copy",
        when="after",
        options={"overwrite": "if-newer"},
    )
    (row,) = stage.rows("run", "resume", run)
    assert row["outcome"] == "complete"
    assert _found(stage, was.volume) == IF_NEWER
