"""Where cells are tried out: a lab, a proxy, a repository, a state database and a volume.

Each worker has one of its own, so that whatever is found there is of the cell at hand.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tree
from auditor import TOKEN_VARIABLE, Api
from cloud import Cloud, run
from matrix.books import Books, audited
from matrix.driver import Answer, Order, carry_out, start
from matrix.image import digest
from matrix.proxy import Administrator, Proxy

_PASSWORD = "correct horse battery staple\n"


@dataclass
class Stand:
    """One worker's own cloud and everything of volflow.

    :ivar home: the directory of all that is volflow's
    :ivar source: the volume that is backed up, and restored into
    :ivar content: the tree on it
    :ivar baseline: the backup that is restored
    """

    home: Path
    lab: Any
    cloud: Cloud
    proxy: Proxy
    books: Books
    auditor: Any
    environment: dict[str, str]
    source: str = ""
    content: tree.Tree = field(default_factory=dict)
    baseline: str = ""
    _serial: int = 0

    @property
    def repository(self) -> Path:
        return self.home / "repository"

    def config(self, directory: Path, **changes: Any) -> Path:
        """A configuration file; ``group__option=value`` changes it."""
        values = {
            "DEFAULT__state_dir": self.home / "state",
            "state__connection": self.books.connection,
            "cloud__name": "lab",
            "repository__location": self.repository,
            "repository__password_file": self.home / "password",
            "wait__interval": 0.05,
            "wait__interval_max": 0.3,
            "wait__limit": 60,
            "wait__limit_per_gib": 0,
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

    def order(self, verb: str, *what: str, config: dict[str, Any] | None = None, **more: Any) -> Order:
        """A command of volflow, to be carried out in a process of its own."""
        self._serial += 1
        directory = self.home / "orders" / f"{self._serial:05}"
        directory.mkdir(parents=True)
        return Order(
            directory,
            self.config(directory, **(config or {})),
            self.environment,
            verb,
            what,
            **more,
        )

    # What there is, by other eyes than volflow's

    def image(self, volume: str | None = None) -> str:
        """A digest of every byte of a volume."""
        return digest(self.lab.directory.pool_mount / f"volume-{volume or self.source}")

    def shown(self) -> dict[str, Any]:
        """What Cinder tells of the source, but for when it was changed."""
        return {k: v for k, v in self.cloud.show(self.source).items() if k != "updated_at"}

    def stored(self) -> list[str]:
        """The ids of all backups in the repository."""
        return sorted(entry.name for entry in (self.repository / "snapshots").iterdir())

    def restic(self, *command: str) -> str:
        """restic on the repository, without a lock of its own."""
        return run(
            *("restic", "--repo", str(self.repository), "--cache-dir", str(self.home / "cache")),
            *("--no-lock", *command),
            env={**os.environ, "RESTIC_PASSWORD": _PASSWORD.strip()},
        )

    def tree_of_backup(self, backup: str) -> tree.Tree:
        """The tree in a backup, restored by restic alone."""
        with tempfile.TemporaryDirectory(dir=self.home.parent) as target:
            self.restic("restore", backup, "--target", target)
            return tree.describe(Path(target) / "regions/0")

    def tree_of_volume(self, volume: str) -> tree.Tree:
        """The tree on a volume."""
        return self.cloud.on(volume, tree.describe, read_only=True)

    # Making it

    def furnish(self) -> None:
        """A repository, a volume with something on it, and a backup."""
        run(
            *("restic", "--repo", str(self.repository), "init"),
            env={**os.environ, "RESTIC_PASSWORD": _PASSWORD.strip()},
        )
        self.source = self.cloud.create(name="source", metadata={"owner": "the tenant"})
        self.cloud.fill(self.source, "ext4", _fill)
        self.content = self.tree_of_volume(self.source)
        self.baseline = self.back_up()

    def back_up(self) -> str:
        """A backup without a fault; its id."""
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
    (root / "sparse").write_bytes(b"x")
    os.truncate(root / "sparse", 4 * tree.MIB)
    os.chown(root / "random0", 1234, 4321)
    os.setxattr(root / "random1", "user.note", b"kept")


def same(expected: tree.Tree, found: tree.Tree, *, holes: bool) -> list[str]:
    """What is not the same of two trees.

    :param holes: whether holes count; restic fills them
    """
    lines = tree.differences(expected, found)
    return [line for line in lines if holes or " data" not in line]


@contextmanager
def stand(
    directory: Path, connection: str | None = None, say: Callable[[str], None] = print
) -> Iterator[Stand]:
    """A stand as long as the block runs.

    :param connection: the state database's URL; SQLite unless given
    """
    from lab import Lab, clouds, settings

    os.environ[TOKEN_VARIABLE] = secrets.token_hex(16)
    directory.mkdir(parents=True, exist_ok=True)
    home = directory / "volflow"
    (home / "mounts").mkdir(parents=True)
    (home / "password").write_text(_PASSWORD)
    (home / "password").chmod(0o600)
    with Lab(directory / "lab") as lab:
        os.environ.update(lab.environment)
        where = urlsplit(lab.endpoint)
        assert where.hostname
        assert where.port
        token = f"{settings.USER}:{settings.PROJECT}"
        admin = Administrator(f"{lab.endpoint}/{settings.PROJECT}", token)
        proxy = Proxy((where.hostname, where.port), admin)
        told = json.loads(json.dumps(clouds.noauth(lab._record())))
        told["lab"]["auth"]["endpoint"] = f"http://127.0.0.1:{proxy.port}/v3"
        clouds.write(told, home / "clouds.yaml")
        api = Api.noauth(lab.endpoint, settings.USER, settings.PROJECT)
        books = Books(home / "state", connection)
        found = Stand(
            home=home,
            lab=lab,
            cloud=Cloud(lab.cinder(), home / "mounts"),
            proxy=proxy,
            books=books,
            auditor=audited(
                books,
                api=api,
                pool=lab.directory.pool_mount,
                places=[home],
                states=[home / "state"],
                repositories=[home / "repository"],
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
            proxy.close()
            found.cloud.clean()
            shutil.rmtree(home, ignore_errors=True)


__all__ = ["Answer", "Stand", "carry_out", "same", "stand", "start"]
