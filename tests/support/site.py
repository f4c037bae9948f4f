"""One user of volflow on the lab: a repository, a state directory, and the cloud."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import repository, tree
from tests.support.auditor import Api, Auditor, Known, assert_nothing
from tests.support.cloud import Cloud, run
from tests.support.waiting import until

PASSWORD = "correct horse battery staple\n"


def missing(*modules: str) -> str:
    """Why a lab cannot run on this host; empty if it can.

    :param modules: modules that the lab needs in addition
    """
    if os.geteuid() != 0:
        return "a lab needs root: it mounts a file system and makes loop devices"
    if not os.path.exists("/dev/loop-control"):
        return "a lab needs loop devices, and /dev/loop-control is not there"
    for module in ("cinder", "waitress", *modules):
        if importlib.util.find_spec(module) is None:
            return f"a lab needs {module}: pip install 'volflow[lab,test]'"
    for program in ("mkfs.xfs", "mkfs.ext4", "restic"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return ""


@dataclass
class Site:
    """One user of volflow: a repository, a state directory, and the cloud.

    :ivar home: the directory of all its files
    :ivar before: the processes that existed before
    """

    home: Path
    cloud: Cloud
    auditor: Auditor
    environment: dict[str, str]
    before: set[int] = field(default_factory=set)
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.home / "repository"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def password_file(self) -> Path:
        return self.home / "password"

    def config(self, **overrides: Any) -> Path:
        """A configuration file for the command line; ``group__option="value"`` changes it."""
        values = {
            "DEFAULT__state_dir": self.state,
            "repository__location": self.repository,
            "repository__password_file": self.password_file,
            "wait__interval": 0.1,
            "wait__interval_max": 0.5,
            **self.overrides,
            **overrides,
        }
        sections: dict[str, list[str]] = {}
        for key, value in values.items():
            group, _, option = key.partition("__")
            if value is not None:
                sections.setdefault(group, []).append(f"{option} = {value}")
        file = self.home / "volflow.conf"
        file.write_text(
            "".join(f"[{group}]\n" + "\n".join(lines) + "\n" for group, lines in sections.items())
        )
        return file

    @contextmanager
    def volflow(self, **overrides: Any) -> Iterator[Any]:
        """volflow as a library."""
        from volflow import config
        from volflow.api.volflow import Volflow
        from volflow.context import Context

        with Volflow(Context(config.load([str(self.config(**overrides))]))) as found:
            yield found

    def restic(self, *command: str) -> str:
        """Run restic itself on the repository."""
        environment = {**self.environment, "RESTIC_PASSWORD": PASSWORD.strip()}
        return run("restic", "--repo", str(self.repository), *command, env=environment)

    def init(self) -> None:
        """Make the repository."""
        repository.make(self.repository, PASSWORD.strip())

    def backup(self, *volumes: str, **arguments: Any) -> Any:
        """Back up with the library; return the result of the run."""
        with self.volflow() as volflow:
            return volflow.backups.create(volumes, **arguments)

    def restore(self, *what: str, parallel: int | None = None, **arguments: Any) -> Any:
        """Restore with the library; return the result of the run, and adopt new volumes."""
        from volflow.results.options import RestoreOptions

        options = RestoreOptions(**arguments)
        with self.volflow() as volflow:
            result = volflow.restores.run(volflow.restores.plan(what, options, parallel=parallel))
        for volume in result.volumes:
            if volume.target_id:
                self.cloud.adopt(volume.target_id)
        return result

    def cli(
        self,
        *arguments: str,
        config: Path | None = None,
        environment: dict[str, str | None] | None = None,
        prefix: tuple[str, ...] = (),
        **more: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line in a separate process.

        :param environment: changes to the environment; None removes a variable
        :param prefix: arguments to put before the command
        """
        variables = dict(self.environment)
        for name, value in (environment or {}).items():
            variables.pop(name, None)
            if value is not None:
                variables[name] = value
        return subprocess.run(
            [
                *prefix,
                *(sys.executable, "-m", "volflow.cli.main"),
                *("--config-file", str(config or self.config())),
                *arguments,
            ],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=300,
            cwd="/",
            **more,
        )

    def content(self, volume: str) -> tree.Tree:
        """The tree on a volume."""
        return self.cloud.on(volume, tree.describe, read_only=True)

    def stored(self) -> list[str]:
        """The ids of all backups in the repository, also of unfinished ones."""
        return sorted(one["id"] for one in self.snapshots())

    def snapshots(self) -> list[dict[str, Any]]:
        """The restic snapshots with data, as restic lists them, without the verdicts on them."""
        found: list[dict[str, Any]] = json.loads(self.restic("snapshots", "--json")) or []
        return [one for one in found if any(tag.startswith("volume=") for tag in one["tags"])]

    @contextmanager
    def quota_left(self, **room: int) -> Iterator[None]:
        """Leave the lab's project only this much of its quotas while the block runs."""
        from lab import settings

        quotas = self.cloud.client.quotas
        before = quotas.get(settings.PROJECT)
        # Cinder counts a deleted resource until a moment after its end.
        until(lambda: self._snapshots_used() == len(self.cloud.client.volume_snapshots.list()))
        usage = quotas.get(settings.PROJECT, usage=True).to_dict()
        # A request that was cut off, of an earlier test, holds its reservation for a day.
        taken = {name: usage[name]["in_use"] + usage[name]["reserved"] for name in room}
        quotas.update(settings.PROJECT, **{name: taken[name] + room[name] for name in room})
        try:
            yield
        finally:
            old = {name: getattr(before, name) for name in room}
            quotas.update(settings.PROJECT, **old)

    def _snapshots_used(self) -> int:
        from lab import settings

        usage = self.cloud.client.quotas.get(settings.PROJECT, usage=True)
        return int(usage.snapshots["in_use"])

    def findings(self, **arguments: Any) -> list[Any]:
        """The temporary resources that remain."""
        return self.auditor.settled(self.cloud.known, processes=self.before, **arguments)


@contextmanager
def environment_of(lab: Any, *, without: str = "") -> Iterator[None]:
    """Give this process a lab's environment while the block runs.

    :param without: a variable that is unset meanwhile
    """
    names = {*lab.environment, *([without] if without else [])}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(lab.environment)
    os.environ.pop(without, None)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def new_site(scratch: Path, the_lab: Any, api: Api, *, administrator: Any = None) -> Iterator[Site]:
    """A site with an empty repository; nothing temporary may remain at its end.

    :param administrator: a client that may reset states, if the lab's first user may not
    """
    home = Path(tempfile.mkdtemp(prefix="site-", dir=scratch))
    mounts = home / "mounts"
    mounts.mkdir()
    cloud = Cloud(the_lab.cinder(), mounts, administrator)
    pool = the_lab.directory.pool_mount
    auditor = Auditor(
        api,
        pool=pool,
        places=[home],
        states=[home / "state"],
        repositories=[home / "repository"],
    )
    site = Site(home, cloud, auditor, dict(os.environ), auditor.processes())
    site.password_file.write_text(PASSWORD)
    site.password_file.chmod(0o600)
    try:
        site.init()
        yield site
        assert_nothing(site.findings())
    finally:
        cloud.clean()
        shutil.rmtree(home, ignore_errors=True)
    # The test's own resources are removed too: the next test begins with nothing.
    assert_nothing(auditor.settled(Known(), processes=site.before))
