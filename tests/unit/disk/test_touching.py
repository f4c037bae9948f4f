"""A file gets another ctime, and nothing else about it changes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from volflow.disk import touching


def everything(path: Path) -> tuple[object, ...]:
    status = path.stat()
    return (
        *(status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_nlink),
        *(status.st_mtime_ns, status.st_atime_ns),
    )


@pytest.fixture
def flagged(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Files that nobody may change, by their flag."""
    found = {}
    for flag in "ia":
        path = tmp_path / flag
        path.write_text("flagged\n")
        done = subprocess.run(["chattr", f"+{flag}", path], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no flags can be set here")
        found[flag] = path
    yield found
    for path in found.values():
        subprocess.run(["chattr", "-ia", path], check=True)


def test_only_the_ctime_of_a_file_changes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"odd \xff\n name")
    path.write_text("content\n")
    path.chmod(0o4750)
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    before, changed = everything(path), path.stat().st_ctime_ns

    assert not list(touching.touch(str(tmp_path), [path.name]))

    assert path.stat().st_ctime_ns != changed
    assert everything(path) == before


def test_flags_that_refuse_changes_are_set_again(flagged: dict[str, Path]) -> None:
    before = {flag: path.stat().st_ctime_ns for flag, path in flagged.items()}
    tree = str(next(iter(flagged.values())).parent)

    assert not list(touching.touch(tree, flagged))

    for flag, path in flagged.items():
        assert path.stat().st_ctime_ns != before[flag]
        flags = subprocess.run(["lsattr", path], capture_output=True, text=True, check=True)
        assert flag in flags.stdout.split()[0]


def test_a_path_that_is_too_long_is_reported_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    long = "/".join(["d" * 200] * 30)

    assert list(touching.touch(str(tmp_path), [long, "file"])) == [long]


def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")

    with pytest.raises(OSError, match="symbolic links"):
        list(touching.touch(str(tmp_path), ["link"]))


def test_the_program_takes_paths_of_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\n")
    path.touch()
    changed = path.stat().st_ctime_ns

    program = [sys.executable, "-I", "-S", touching.__file__, str(tmp_path)]
    subprocess.run(program, input=b"\xff\n\0", check=True)

    assert path.stat().st_ctime_ns != changed


def test_the_program_names_the_file_that_it_cannot_change(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", touching.__file__, str(tmp_path)],
        input=b"no\x1bthing\0",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.decode() == f"{tmp_path}/no\\x1bthing: No such file or directory\n"


def test_a_refused_change_has_the_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, mode: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "fchmod", refuse)

    with pytest.raises(OSError, match="Read-only") as caught:
        list(touching.touch(str(tmp_path), ["file"]))

    assert caught.value.filename == str(tmp_path / "file")
