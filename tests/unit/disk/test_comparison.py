"""A tree is compared with a stored archive, and each difference is reported."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from volflow.disk import comparison


def _fill(place: Path) -> None:
    (place / "directory").mkdir(parents=True)
    (place / "directory" / "file").write_bytes(b"content" * 300_000)
    (place / os.fsdecode(b"odd\xff")).write_bytes(b"odd")
    (place / "link").symlink_to("directory")
    with open(place / "hole", "wb") as file:
        file.truncate(3 * 2**20)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """An archive of a tree; the tree is next to it."""
    _fill(tmp_path / "tree")
    archive = tmp_path / "stored.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as file:
        file.add(tmp_path / "tree", "tree", filter=lambda m: None if m.name == "." else m)
    os.mkfifo(tmp_path / "tree" / "fifo")
    return archive


def _compare(archive: Path, *command: str) -> tuple[dict[str, str], int, str]:
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-S", comparison.__file__, archive.parent),
            *(command or ("cat", str(archive))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {t["path"]: t["differs"] for t in told if "path" in t}, done.returncode, done.stderr


def test_equal_files_do_not_differ(stored: Path) -> None:
    assert _compare(stored) == ({}, 0, "")


def _rewrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(2**20)
        file.write(b"X")


def _replace(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("name", "change", "differs"),
    [
        ("directory/file", _rewrite, "content"),
        ("hole", _rewrite, "content"),
        ("directory/file", lambda path: os.truncate(path, 5), "content"),
        ("hole", lambda path: os.truncate(path, 4 * 2**20), "content"),
        ("directory/file", Path.unlink, "No such file or directory"),
        ("directory/file", _replace, "kind"),
        ("directory/file", lambda path: path.chmod(0o600), "mode"),
        ("directory/file", lambda path: os.chown(path, 12, 34), "owner"),
        ("link", _replace, "target"),
    ],
)
def test_each_difference_is_reported(
    stored: Path, name: str, change: Callable[[Path], object], differs: str
) -> None:
    if differs == "owner" and os.geteuid() != 0:
        pytest.skip("an owner is root's to change")
    change(stored.parent / "tree" / name)
    assert _compare(stored) == ({f"tree/{name}": differs}, 0, "")


def test_special_files_match_empty_files(stored: Path) -> None:
    """restic stores a device or a FIFO as an empty file; reading the FIFO would never end."""
    member = tarfile.TarInfo("tree/fifo")
    member.mode = (stored.parent / "tree" / "fifo").stat().st_mode & 0o777
    member.uid, member.gid = os.getuid(), os.getgid()
    with tarfile.open(stored, "a") as file:
        file.addfile(member, io.BytesIO())
    assert _compare(stored) == ({}, 0, "")


def test_the_exit_status_is_that_of_a_failed_command(stored: Path) -> None:
    script = f"head -c 100000 {stored}; echo gone >&2; exit 7"
    _, status, said = _compare(stored, "sh", "-c", script)
    assert (status, said) == (7, "gone\n")


def test_a_command_without_output_fails(stored: Path) -> None:
    _, status, said = _compare(stored, "true")
    assert status == 1
    assert "no archive" in said
