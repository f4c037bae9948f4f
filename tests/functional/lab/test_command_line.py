"""The command line of the lab, and labs that were killed."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, LabError, loop, mount, pool
from tests.support.lab_tools import (
    CHECKOUT,
    CinderUser,
    exported,
    is_up,
    remains,
    run,
)
from tests.support.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif(pool.mkfs() is None, reason="the lab needs mkfs.xfs (xfsprogs)"),
]
pytest.importorskip("cinder", reason="the lab needs cinder")
pytest.importorskip("waitress", reason="the lab needs waitress")


class TestCommandLine:
    def test_the_command_line_starts_shows_and_ends_a_lab(self, own: Lab) -> None:
        where = ("--dir", str(own.directory.path))
        assert run("status", *where, check=False).returncode != 0

        told = run("up", *where, "--size", "3").stdout
        assert own.endpoint in told
        assert f"lab down --dir {shlex.quote(where[1])}" in told

        status = run("status", *where).stdout
        assert str(own.pid) in status
        assert own.endpoint in status
        assert status.count(" up\n") == 3
        assert "of 3 GiB free" in status

        exports = run("env", *where).stdout
        shell = subprocess.run(
            ["sh", "-c", f'{exports}\necho "$OS_CLOUD" "$OS_CLIENT_CONFIG_FILE"'],
            capture_output=True,
            text=True,
            check=True,
        )
        assert shell.stdout.split() == ["lab", str(own.clouds_file)]

        again = run("up", *where, check=False)
        assert again.returncode == 1
        assert "already up" in again.stderr

        run("down", *where)
        assert not remains(own.directory.path)
        assert run("status", *where, check=False).returncode != 0
        assert run("env", *where, check=False).returncode != 0
        assert run("down", *where).returncode == 0

    def test_files_that_are_no_lab_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "precious").touch()
        for command in ("up", "down"):
            refused = run(command, "--dir", str(tmp_path), check=False)
            assert refused.returncode == 1
            assert "left alone" in refused.stderr
        assert (tmp_path / "precious").exists()

    @pytest.mark.parametrize(
        ("target", "name", "value", "message"),
        [
            (os, "geteuid", lambda: 1000, "needs root"),
            (pool, "mkfs", lambda: None, "xfsprogs"),
        ],
    )
    def test_a_missing_prerequisite_is_reported(
        self,
        monkeypatch: pytest.MonkeyPatch,
        own: Lab,
        target: Any,
        name: str,
        value: Any,
        message: str,
    ) -> None:
        monkeypatch.setattr(target, name, value)
        with pytest.raises(LabError, match=message):
            own.up()
        assert not remains(own.directory.path)

    def test_a_missing_cinder_is_reported(self, own: Lab) -> None:
        done = subprocess.run(
            # -S: without installed packages.
            [sys.executable, "-S", "-m", "lab", "up", "--dir", str(own.directory.path)],
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "pip install 'volflow[lab]'" in done.stderr


class TestKilled:
    def test_down_removes_everything_after_the_server_was_killed(
        self, running: Lab, own: Lab
    ) -> None:
        own.up(size_gib=5)
        mine = CinderUser(own.cinder())
        _, device = mine.attach(mine.volume())
        subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
        stacked = loop.attach(device)
        # A worker that was killed with a volume mounted in its own namespace. Besides that mount,
        # the namespace also holds a copy of the pool's mount.
        point = own.directory.path.parent / "mnt"
        point.mkdir()
        script = f"mount {stacked} {shlex.quote(str(point))} && echo mounted && exec sleep 60"
        holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n"
            os.kill(own.pid, signal.SIGKILL)
            until(lambda: not is_up(own))
            with pytest.raises(LabError, match="no lab is running"):
                own.status()
            still = [exported(device), exported(stacked)]
            assert all(each() for each in still)

            own.down()
            assert not remains(own.directory.path)
            assert not any(each() for each in still)
        finally:
            holder.kill()
            holder.communicate()
        assert {each["state"] for each in running.status().services} == {"up"}

    def test_down_frees_a_pool_that_a_new_namespace_has_mounted_too(
        self, own: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody makes the namespace between the look for mounts and the unmount."""
        own.up(size_gib=5)
        point = own.directory.path.parent / "mnt"
        point.mkdir()
        bind = shlex.join(["mount", "--bind", *map(str, (own.directory.pool_mount, point))])
        look = mount.of_devices
        holders: list[subprocess.Popen[bytes]] = []

        def late(devices: Collection[str]) -> Any:
            found = look(devices)
            if found and not holders:
                command = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
                command.append(f"{bind} && echo mounted && exec sleep 600")
                holders.append(subprocess.Popen(command, stdout=subprocess.PIPE))
                assert holders[0].stdout is not None
                assert holders[0].stdout.readline() == b"mounted\n"
            return found

        monkeypatch.setattr(mount, "of_devices", late)
        try:
            own.down()
            assert holders
            assert not remains(own.directory.path)
        finally:
            for holder in holders:
                holder.kill()
                holder.communicate()

    @pytest.mark.parametrize("seconds", [0.5, 1.8])
    def test_down_removes_everything_after_up_was_killed(self, own: Lab, seconds: float) -> None:
        self._killed(own, seconds)
        own.down()
        assert not remains(own.directory.path)

    @pytest.mark.parametrize("seconds", [0.5, 1.8])
    def test_up_works_after_up_was_killed(self, own: Lab, seconds: float) -> None:
        self._killed(own, seconds)
        own.up(size_gib=5)
        mine = CinderUser(own.cinder())
        mine.volume()
        mine.clean()
        assert len(own.status().services) == 3
        assert len([each for each in remains(own.directory.path) if "lab.server" in each]) == 1

    def _killed(self, lab: Lab, seconds: float) -> None:
        """Run ``up`` and kill it after this number of seconds."""
        words = [sys.executable, "-m", "lab", "up", "--dir", str(lab.directory.path), "--size", "5"]
        first = subprocess.Popen(
            words, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(seconds)
        first.kill()
        first.communicate()
        with pytest.raises(LabError):
            lab.status()


def test_the_programs_of_these_tests_are_there() -> None:
    """Without them the tests above would fail with confusing errors."""
    assert all(shutil.which(name) for name in ("unshare", "nsenter", "mkfs.ext4"))
