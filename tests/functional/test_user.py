"""volflow as a user who is not root: with sudo, and with oslo.privsep for os-brick."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree
from tests.support.auditor import mounts
from tests.support.cloud import in_a_namespace, run
from tests.support.controlled_runs import query
from tests.support.rest_server import RestServer
from tests.support.site import PASSWORD, Site
from tests.support.waiting import until

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class User:
    """A user of this machine who exists while the tests run."""

    name: str
    uid: int
    gid: int
    home: Path

    def volflow(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as this user, who can read this Python wherever it is installed."""
        variables = {
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "PATH": os.environ["PATH"],
            "OS_CLOUD": "lab",
            **{k: v for k, v in os.environ.items() if k in ("PYTHONPATH", "VOLFLOW_TEST_TOKEN")},
            **environment,
        }

        def inside() -> subprocess.CompletedProcess[str]:
            _open_to_all([sys.prefix, sys.base_prefix, *_package_directories()], self.home)
            return subprocess.run(
                [
                    *("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"),
                    *(sys.executable, "-m", "volflow.cli.main", *arguments),
                ],
                env=variables,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                timeout=300,
                check=False,
            )

        return in_a_namespace(inside)

    def processes(self, program: str) -> list[int]:
        """The processes of any user with this text and this user's home in their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                environment = (entry / "environ").read_bytes()
                own = entry.stat().st_uid == self.uid
            except OSError:
                continue
            mine = own or str(self.home).encode() in environment or str(self.home) in str(command)
            if entry.name.isdigit() and mine and program in command:
                found.append(int(entry.name))
        return sorted(found)


def _package_directories() -> list[str]:
    import persistence
    import volflow

    return [str(Path(str(module.__file__)).parent.parent) for module in (persistence, volflow)]


def _open_to_all(paths: list[str], scratch: Path) -> None:
    """Make these directories readable to every user, in this mount namespace only.

    If other users cannot enter a parent directory, such as root's home, a tmpfs is mounted over it
    that contains only the wanted directory.
    """
    for number, path in enumerate(dict.fromkeys(os.path.realpath(path) for path in paths)):
        above = [*reversed(Path(path).parents), Path(path)]
        closed = next((p for p in above if not p.stat().st_mode & stat.S_IXOTH), None)
        if closed is None:
            continue
        aside = scratch / f"aside-{number}"
        aside.mkdir(exist_ok=True)
        run("mount", "--bind", path, str(aside))
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(closed))
        Path(path).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(aside), path)


@pytest.fixture
def add_user(site: Site) -> Iterator[Callable[[str | None], User]]:
    """Makes a user, with a file in sudoers.d for a rule. Both are removed by name at the end."""
    for program in ("sudo", "visudo", "useradd", "userdel"):
        # bindep.txt lists their packages: without them the tests would prove nothing.
        assert shutil.which(program), f"{program} is not installed"
    made: list[tuple[str, Path]] = []

    def add(rule: str | None) -> User:
        name = f"volflow-{secrets.token_hex(4)}"
        home = site.home / name
        rules = Path("/etc/sudoers.d") / name
        made.append((name, rules))
        # Not a login user, and without files from /etc/skel in the home directory.
        run("useradd", "--system", "--no-create-home", "--home-dir", str(home), name)
        if rule:
            descriptor = os.open(rules, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{name} {rule}\n")
            run("visudo", "--check", "--file", str(rules))
        # Its files are not readable to others anyway.
        site.home.chmod(0o711)
        entry = pwd.getpwnam(name)
        user = User(name, entry.pw_uid, entry.pw_gid, home)
        _furnish(site, user)
        return user

    try:
        yield add
    finally:
        for name, rules in made:
            rules.unlink(missing_ok=True)
            subprocess.run(["userdel", name], capture_output=True, check=False)


def _furnish(site: Site, user: User) -> None:
    """A home directory with the configuration of volflow."""
    settings = user.home / ".config" / "volflow"
    clouds = user.home / ".config" / "openstack"
    for directory in (settings, clouds):
        directory.mkdir(parents=True)
    shutil.copy(site.environment["OS_CLIENT_CONFIG_FILE"], clouds / "clouds.yaml")
    (user.home / "password").write_text(PASSWORD)
    (settings / "volflow.conf").write_text(
        f"[repository]\nlocation = {site.repository}\npassword_file = {user.home / 'password'}\n"
        "[wait]\ninterval = 0.05\ninterval_max = 0.5\n"
    )
    for path in [user.home, *user.home.rglob("*")]:
        os.chown(path, user.uid, user.gid)
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert isinstance(site.auditor.states, list)
    site.auditor.states.append(user.home / ".local" / "state" / "volflow")


def test_a_user_with_sudo_backs_up_and_restores(
    site: Site, add_user: Callable[[str | None], User]
) -> None:
    user = add_user("ALL=(root) NOPASSWD: ALL")
    volume = site.cloud.create(name="of a user")

    site.cloud.fill(volume, "ext4", tree.make)
    expected = site.cloud.on(volume, tree.describe, read_only=True)

    done = user.volflow("backup", "create", "of a user", "-f", "json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)[0]["outcome"] == "complete"

    state = user.home / ".local" / "state" / "volflow"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert (state / "state.sqlite").stat().st_uid == user.uid

    done = user.volflow("restore", "create", "--new", "of a user", "-f", "json")
    assert done.returncode == 0, done
    new = site.cloud.adopt(json.loads(done.stdout)[0]["target_id"])
    tree.assert_same(expected, site.cloud.on(new, tree.describe, read_only=True))

    site.cloud.on(volume, lambda root: (root / "came later").write_text("later\n"))
    done = user.volflow("restore", "create", "--yes", volume, "-f", "json")
    assert done.returncode == 0, done
    tree.assert_same(expected, site.cloud.on(volume, tree.describe, read_only=True))

    # The user owns files that are written without Cinder.
    image, place = user.home / "volume.qcow2", user.home / "files"
    for option, made, mode in (("--to-image", image, 0o600), ("--to-path", place, 0o700)):
        done = user.volflow("restore", "create", volume, option, str(made), "--verify")
        assert done.returncode == 0, done
        assert (made.stat().st_mode & 0o7777, made.stat().st_uid) == (mode, user.uid)
    root = {b".": expected[b"."]}
    tree.assert_same(expected, tree.describe(place) | root)


def test_nothing_of_a_user_outlives_a_kill(
    site: Site, add_user: Callable[[str | None], User]
) -> None:
    """A kill of volflow does not kill sudo, and sudo would not kill its children."""
    user = add_user("ALL=(root) NOPASSWD: ALL")
    volume = site.cloud.create(name="of a user")
    site.cloud.fill(
        volume, "ext4", lambda root: (root / "large").write_bytes(os.urandom(48 * tree.MIB))
    )
    expected = site.cloud.on(volume, tree.describe, read_only=True)

    def mounted() -> list[str]:
        places = str(user.home / ".local" / "state" / "volflow" / "mount")
        return [source for _, source, point in mounts() if point.startswith(places)]

    with RestServer(site.home / "slow") as server, ThreadPoolExecutor(1) as thread:
        options = ("--repository", server.location)
        assert user.volflow(*options, "repository", "init").returncode == 0
        assert user.volflow(*options, "backup", "create", volume).returncode == 0
        # The process that writes to the volume matters most.
        server.hold("GET", 2)
        restore = ("restore", "create", "--yes", volume)
        job = thread.submit(user.volflow, *options, *restore)
        server.wait()
        (pid,) = user.processes("volflow.cli.main")
        assert user.processes("restic")
        assert any(source.startswith("/dev/") for source in mounted())
        os.kill(pid, signal.SIGKILL)
        assert job.result().returncode == -signal.SIGKILL
        programs = ("restic", "nsenter", "unshare")
        until(lambda: not mounted() and not any(map(user.processes, programs)))
        locks = server.directory / "locks"
        assert list(locks.iterdir())
        server.go_on()
        state = user.home / ".local" / "state" / "volflow"
        (run_id,) = query(site, "SELECT id FROM run WHERE state = 'RUNNING'", state=state)[0]
        done = user.volflow(*options, "run", "resume", str(run_id))
        assert done.returncode == 0, done
        # restic removes the lock only if no process of this host has the id in it.
        assert list(locks.iterdir()) == []
    assert site.cloud.on(volume, tree.describe, read_only=True) == expected


def test_a_user_without_sudo_is_refused(site: Site, add_user: Callable[[str | None], User]) -> None:
    """The error comes before anything is made; sudo never waits for a password."""
    user = add_user(None)
    volume = site.cloud.create(name="out of reach")
    before: dict[str, Any] = site.cloud.show(volume)
    done = user.volflow("backup", "create", "out of reach")
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Not enough privilege" in done.stderr
    assert "sudo" in done.stderr
    assert site.cloud.show(volume) == before
