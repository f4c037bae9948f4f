"""The testbed of a case: a lab, a proxy, a repository, a state database and a volume.

Each worker has its own testbed, so everything in it belongs to the current case.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from cinderclient import exceptions

from tests.fault_matrix.backups import Backups
from tests.fault_matrix.image import TEXT, change, digest
from tests.fault_matrix.state_reader import StateReader, audited
from tests.support import repository, tree
from tests.support.auditor import TOKEN_VARIABLE
from tests.support.cinder_proxy import Proxy
from tests.support.cloud import Cloud, run
from tests.support.keystone_proxy import KeystoneProxy
from tests.support.proxied_cloud import proxied
from tests.support.volflow_process import Answer, Order, carry_out, finish, start

_PASSWORD = "correct horse battery staple\n"
_SPARSE = "sparse"
# Seconds for which volflow repeats a request to Cinder that fails.
PATIENCE = 4


@dataclass
class Testbed:
    """A worker's own cloud, with volflow's configuration and data.

    :ivar home: the directory for all files of volflow
    :ivar source: the volume that is backed up, and restored into
    :ivar baseline: the backup that is restored
    :ivar content: the tree in that backup
    :ivar properties: what Cinder showed of the volume at that time
    :ivar present: the present tree on the volume, which differs from ``content``
    :ivar changed: the state after the last change
    :ivar reference: the manifest of a backup of the changed volume without a fault
    :ivar group: the group that the source is in
    :ivar process: the running command of volflow
    :ivar repository_path: the repository's directory, if not the usual one
    :ivar location: restic's name for the repository, if not its directory
    :ivar login: the proxy before Keystone, if the cloud has one
    """

    home: Path
    lab: Any
    cloud: Cloud
    proxy: Proxy
    state_reader: StateReader
    auditor: Any
    environment: dict[str, str]
    source: str = ""
    baseline: str = ""
    content: tree.Tree = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    present: tree.Tree = field(default_factory=dict)
    changed: Any = None
    reference: dict[str, Any] | None = None
    group: str | None = None
    process: ForkServerProcess | None = None
    repository_path: Path | None = None
    location: str | None = None
    login: KeystoneProxy | None = None

    @property
    def repository(self) -> Path:
        return self.repository_path or self.home / "repository"

    @property
    def orders(self) -> Path:
        """The directory for the logs of the commands."""
        return self.home / "orders"

    def config(self, directory: Path, **changes: Any) -> Path:
        """A configuration file; ``group__option=value`` changes an option."""
        values = {
            "DEFAULT__state_dir": self.home / "state",
            "state__connection": self.state_reader.connection,
            "cloud__name": "lab",
            "repository__location": self.location or self.repository,
            "repository__password_file": self.home / "password",
            "wait__interval": 0.05,
            "wait__interval_max": 0.3,
            "wait__limit": 60,
            "wait__limit_per_gib": 0,
            "cloud__patience": PATIENCE,
            **changes,
        }
        sections: dict[str, list[str]] = {}
        for key, value in values.items():
            group, _, option = key.partition("__")
            if value is not None:
                sections.setdefault(group, []).append(f"{option} = {value}")
        file = directory / "volflow.conf"
        file.write_text(
            "".join(f"[{group}]\n" + "\n".join(lines) + "\n" for group, lines in sections.items())
        )
        return file

    def order(
        self, verb: str, *what: str, config: dict[str, Any] | None = None, **more: Any
    ) -> Order:
        """A command of volflow to run in a separate process."""
        self.orders.mkdir(exist_ok=True)
        directory = self.orders / f"{time.monotonic_ns()}"
        directory.mkdir()
        return Order(
            directory,
            self.config(directory, **(config or {})),
            self.environment,
            verb,
            what,
            names=self.home / "names",
            **more,
        )

    def carry_out(self, order: Order, seconds: float = 600.0) -> Answer:
        """Run a command that :meth:`kill` can end.

        :param seconds: how long it may run before it counts as hung
        """
        self.process = start(order)
        try:
            return finish(order, self.process, seconds)
        finally:
            self.process = None

    def kill(self) -> None:
        """Kill the running command."""
        process = self.process
        assert process, "no command is running"
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)

    # Existing resources, read without volflow

    def file(self, volume: str | None = None) -> Path:
        """The file of a volume in the lab."""
        found: Path = self.lab.directory.pool_mount / f"volume-{volume or self.source}"
        return found

    def image(self, volume: str | None = None) -> str:
        """A digest of every byte of a volume."""
        return digest(self.file(volume))

    def shown(self) -> dict[str, Any]:
        """What Cinder shows of the source, without the time of its last change."""
        return {k: v for k, v in self.cloud.show(self.source).items() if k != "updated_at"}

    def is_gone(self) -> bool:
        """Whether the source no longer exists in Cinder."""
        try:
            self.shown()
        except exceptions.NotFound:
            return True
        return False

    def state(self) -> tuple[str, dict[str, Any]]:
        """Everything about the source: content and properties."""
        return self.image(), self.shown()

    def backups(self) -> Backups:
        """All backups in the repository."""
        return Backups.read(self.restic)

    def stored(self) -> list[str]:
        """The ids of all backups in the repository."""
        return sorted(self.backups().verdicts)

    def whole(self) -> set[str]:
        """The ids of the backups that restic lists and that contain a manifest."""
        return self.backups().with_manifest(self.restic)

    def manifest(self, backup: str) -> dict[str, Any]:
        """The manifest in a backup, without values that belong to its run."""
        verdict = self.backups().verdicts[backup]
        told: dict[str, Any] = json.loads(self.restic("dump", verdict, "/manifest.json"))
        del told["run_id"], told["snapshot"], told["volume"]["updated_at"]
        return told

    def manifest_without_a_fault(self) -> dict[str, Any]:
        """The manifest of a new backup of the source."""
        if self.reference is None:
            self.reference = self.manifest(self.back_up())
        return self.reference

    def locks(self) -> list[str]:
        """The locks in the repository."""
        return sorted(entry.name for entry in (self.repository / "locks").iterdir())

    def restic(self, *command: str) -> str:
        """Run restic on the repository, without a lock of its own."""
        return run(
            *("restic", "--repo", str(self.repository), "--cache-dir", str(self.home / "cache")),
            *("--no-lock", *command),
            env={**os.environ, "RESTIC_PASSWORD": _PASSWORD.strip()},
        )

    def tree_of_backup(self, backup: str) -> tree.Tree:
        """The tree in a backup, restored with restic only."""
        with tempfile.TemporaryDirectory(dir=self.home.parent) as target:
            self.restic("restore", backup, "--target", target)
            root = Path(target) / "regions/0"
            # restic 0.14 fills holes.
            run("fallocate", "--dig-holes", str(root / _SPARSE))
            os.utime(root / _SPARSE, ns=(tree.MOMENT, tree.MOMENT))
            return tree.describe(root)

    def tree_of_volume(self, volume: str) -> tree.Tree:
        """The tree on a volume."""
        return self.cloud.on(volume, tree.describe, read_only=True)

    # Setup

    def init(self) -> None:
        """Make the repository."""
        repository.make(self.repository, _PASSWORD.strip())

    def furnish(self) -> None:
        """Make a repository, a volume with some files, and a backup."""
        self.init()
        self.source = self.cloud.create(
            name="source", description="as it was", metadata={"owner": "the tenant"}
        )
        self.cloud.fill(self.source, "ext4", _fill)
        self.look()
        self.baseline = self.back_up()

    def look(self) -> None:
        """Record the source as it is; a restore of its baseline must bring this back."""
        self.content = self.present = self.tree_of_volume(self.source)
        self.properties = self.shown()

    def change(self) -> None:
        """Make the source differ from its baseline, in its content and its properties.

        So the source shows whether it was restored, rolled back, or left unchanged.
        """
        if self.state() == self.changed:
            return
        mark = secrets.token_hex(8)
        change(self.file(), mark)
        volumes = self.cloud.client.volumes
        volumes.update(self.source, name=f"source {mark}", description=f"changed: {mark}")
        volumes.set_metadata(self.source, {"owner": mark, "since": mark})
        self.present, self.reference = self.tree_of_volume(self.source), None
        self.changed = self.state()

    def back_up(self) -> str:
        """Make a backup without a fault; return its id."""
        order = self.order("backup", self.source)
        answer = carry_out(order)
        if answer.result != "complete":
            raise RuntimeError(f"no backup even without a fault: {answer}\n{order.log.read_text()}")
        return str(answer.volumes[0]["backup_id"])


def _fill(root: Path) -> None:
    (root / "directory").mkdir(mode=0o710)
    for number in range(30):
        (root / "directory" / f"{number:02}").write_bytes(f"{number}\n".encode() * 500)
    for number in range(3):
        (root / f"random{number}").write_bytes(secrets.token_bytes(700_000))
    (root / "link").symlink_to("directory/00")
    os.link(root / "directory/01", root / "hard link")
    (root / TEXT).write_text("as it was\n")
    (root / _SPARSE).write_bytes(b"x")
    os.truncate(root / _SPARSE, 4 * tree.MIB)
    os.utime(root / _SPARSE, ns=(tree.MOMENT, tree.MOMENT))
    os.chown(root / "random0", 1234, 4321)
    os.setxattr(root / "random1", "user.note", b"kept")


@contextmanager
def new_testbed(
    directory: Path, connection: str | None = None, *, keystone: bool = False
) -> Iterator[Testbed]:
    """A testbed that exists while the block runs.

    :param connection: the state database's URL; SQLite unless given
    :param keystone: with a Keystone
    """
    from lab import Lab

    os.environ[TOKEN_VARIABLE] = secrets.token_hex(16)
    directory.mkdir(parents=True, exist_ok=True)
    home = directory / "volflow"
    (home / "mounts").mkdir(parents=True)
    (home / "password").write_text(_PASSWORD)
    (home / "password").chmod(0o600)
    lab = Lab(directory / "lab")
    lab.up(keystone=keystone)
    with contextlib.ExitStack() as stack:
        # The proxies, which end earlier, still write files there.
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.callback(lab.down)
        os.environ.update(lab.environment)
        cloud = stack.enter_context(proxied(lab, home))
        state_reader = StateReader(home / "state", connection)
        # An earlier testbed may have left files there.
        state_reader.clear()
        found = Testbed(
            home=home,
            lab=lab,
            cloud=Cloud(lab.cinder(), home / "mounts", cloud.administrator),
            proxy=cloud.cinder,
            login=cloud.keystone,
            state_reader=state_reader,
            auditor=audited(
                state_reader,
                api=cloud.api,
                pool=lab.directory.pool_mount,
                places=[home],
                states=[home / "state"],
            ),
            environment={
                **lab.environment,
                "OS_CLIENT_CONFIG_FILE": str(home / "clouds.yaml"),
                TOKEN_VARIABLE: os.environ[TOKEN_VARIABLE],
            },
        )
        try:
            found.furnish()
            yield found
        finally:
            found.cloud.clean()
