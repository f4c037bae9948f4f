"""Sockets, which restic does not store, come back as they were."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from volflow.disk import sockets, special
from volflow.host.privilege import Privilege

FAR = 15_032_385_535 * 10**9


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def test_sockets_come_back_with_owner_mode_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for place in (source, target):
        (place / "run").mkdir(parents=True)
        os.utime(place / "run", ns=(5, 7))
    monkeypatch.chdir(source)
    for name, mode in (("run/odd \udcff\n", 0o4640), ("top", 0o777)):
        _socket(Path(name))
        os.chmod(name, mode)
        os.utime(name, ns=(10**9 + 1, FAR))
    os.chown("top", 1234, 5678)
    (source / "file").write_text("")
    me = Privilege(helper="")
    found = special.find_sockets(me, source)
    assert set(found) == {"run/odd \udcff\n", "top"}
    assert all(len(one) == special.NUMBERS for one in found.values())
    missing = {"none/at/all": found["top"]}
    special.make_sockets(me, target, found | missing)
    for name in found:
        was, now = os.lstat(source / name), os.lstat(target / name)
        for field in ("st_mode", "st_uid", "st_gid", "st_atime_ns", "st_mtime_ns"):
            assert getattr(was, field) == getattr(now, field), (name, field)
    assert stat.S_ISSOCK(os.lstat(target / "top").st_mode)
    assert os.stat(target / "run").st_mtime_ns == 7
    assert not (target / "none").exists()
    # A resumed run finds them.
    special.make_sockets(me, target, found)


def test_what_exists_at_the_path_of_a_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    sockets.make(str(tmp_path), {"file": [0o600, 0, 0, 0, 0]})
    assert (tmp_path / "file").read_text() == "content"


def test_no_socket_is_made_out_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path)
    sockets.make(str(tmp_path / "tree"), {"link/x": [0o600, 0, 0, 0, 0]})
    done = subprocess.run(
        [sys.executable, "-I", "-S", sockets.__file__, "make", tmp_path / "tree"],
        input=b'{"../\\u001bx": [384, 0, 0, 0, 0]}',
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == b"../\\x1bx: not a path in the tree\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tree"]
