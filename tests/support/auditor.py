"""Looks for temporary resources that remain. It shares no code with volflow.

It asks Cinder by plain HTTP, the kernel through /proc and /sys, the state database by SQL, and the
repository by its directory. A test passes what it made itself; everything else is a finding.

    auditor = Auditor(api, places=[scratch], states=[state_dir], repositories=[repository])
    before = auditor.processes()
    ...
    findings = auditor.findings(known, processes=before)
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

# In the environment of everything that the tests start.
TOKEN_VARIABLE = "VOLFLOW_TEST_TOKEN"
# The prefix of the metadata keys with which volflow marks temporary resources.
TAG = "volflow"
# States of a volume or snapshot that do not change by themselves.
AT_REST = ("available", "in-use")


@dataclass(frozen=True)
class Finding:
    """A resource that should not exist."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Known:
    """Ids of the resources that the tests made themselves or expect."""

    volumes: set[str] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)
    attachments: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Api:
    """Block Storage by plain HTTP, as an administrator who sees all projects.

    :ivar url: the endpoint with the project
    :ivar token: the value of X-Auth-Token
    """

    url: str
    token: str
    version: str = "3.60"

    @classmethod
    def noauth(cls, endpoint: str, user: str, project: str) -> Api:
        """The API of a cloud without authentication, where every user is an administrator."""
        return cls(f"{endpoint}/{project}", f"{user}:{project}")

    @classmethod
    def keystone(cls, endpoint: str, auth: dict[str, str]) -> Api:
        """The API of a cloud with Keystone; ``auth`` as in clouds.yaml."""
        identity = {
            "methods": ["password"],
            "password": {
                "user": {
                    "name": auth["username"],
                    "domain": {"id": auth["user_domain_id"]},
                    "password": auth["password"],
                }
            },
        }
        scope = {
            "project": {
                "name": auth["project_name"],
                "domain": {"id": auth["project_domain_id"]},
            }
        }
        answer = requests.post(
            f"{auth['auth_url']}/auth/tokens",
            json={"auth": {"identity": identity, "scope": scope}},
            timeout=60,
        )
        answer.raise_for_status()
        project = answer.json()["token"]["project"]["id"]
        return cls(f"{endpoint}/{project}", answer.headers["X-Subject-Token"])

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """One GET, as JSON."""
        answer = requests.get(
            f"{self.url}/{path}",
            params=query,
            headers={
                "X-Auth-Token": self.token,
                "OpenStack-API-Version": f"volume {self.version}",
                "Accept": "application/json",
            },
            timeout=60,
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def all(self, what: str) -> list[dict[str, Any]]:
        """All resources of a kind, such as ``volumes``, of all projects, page by page."""
        found: list[dict[str, Any]] = []
        query = {"all_tenants": "1", "limit": "500"}
        while True:
            try:
                page = self.get(f"{what}/detail", **query)[what]
            except requests.HTTPError as error:
                if error.response.status_code != 404 or "marker" not in query:
                    raise
                # The resource before this page has been deleted meanwhile.
                del query["marker"]
                found.clear()
                continue
            found += page
            # Cinder may return fewer than requested, and have more.
            if not page:
                return found
            query["marker"] = page[-1]["id"]


@dataclass
class Auditor:
    """Audits one cloud, one set of scratch directories, and their state and repositories.

    :ivar api: the cloud; None skips it
    :ivar pool: the directory whose files the cloud exports as loop devices
    :ivar places: scratch directories in which nothing may be mounted or bound
    :ivar states: state directories
    :ivar repositories: directories of restic repositories
    """

    api: Api | None = None
    pool: Path | None = None
    places: Collection[Path] = ()
    states: Collection[Path] = ()
    repositories: Collection[Path] = ()

    def findings(
        self,
        known: Known | None = None,
        *,
        processes: Collection[int] = (),
        devices: Collection[str] = (),
    ) -> list[Finding]:
        """All resources that should not exist.

        :param known: what the tests made in the cloud
        :param processes: ids of processes that existed before
        :param devices: loop devices that belong to a known attachment
        """
        known = known or Known()
        looks: list[Callable[[], Iterator[Finding]]] = [
            lambda: self._cloud(known),
            lambda: self._loops(devices),
            lambda: self._mounts(devices),
            lambda: self._processes(processes),
            self._databases,
            self._directories,
            self._locks,
        ]
        return [finding for look in looks for finding in look()]

    def settled(
        self, known: Known | None = None, *, seconds: float = 2.0, **arguments: Any
    ) -> list[Finding]:
        """The findings, after ending processes have had time to release what they hold."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.findings(known, **arguments)
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def processes(self) -> set[int]:
        """The ids of the processes that belong to the tests now."""
        return {pid for pid, _ in self._ours()}

    # The cloud

    def _cloud(self, known: Known) -> Iterator[Finding]:
        if self.api is None:
            return
        for what, wanted in (("volumes", known.volumes), ("snapshots", known.snapshots)):
            for each in self.api.all(what):
                name = f"{what[:-1]} {each['id']} ({each['name']}, {each['status']})"
                if each["id"] not in wanted:
                    yield Finding("Cinder", f"{name} {each['metadata']} was not made by the tests")
                for key, value in each["metadata"].items():
                    if key.startswith(TAG):
                        yield Finding("Cinder", f"{name} carries the mark {key}={value}")
                if each["id"] in wanted and each["status"] not in AT_REST:
                    yield Finding("Cinder", f"{name} is not at rest")
        for each in self.api.all("group_snapshots"):
            name = f"group snapshot {each['id']} ({each['name']}, {each['status']})"
            yield Finding("Cinder", f"{name} of group {each['group_id']}")
        for each in self.api.all("attachments"):
            if each["id"] not in known.attachments:
                yield Finding("Cinder", f"attachment {each['id']} of volume {each['volume_id']}")

    # The kernel

    def _loops(self, devices: Collection[str]) -> Iterator[Finding]:
        for device, backing in loops():
            if self._is_ours(backing) and device not in devices:
                yield Finding("kernel", f"{device} is bound to {backing}")

    def _is_ours(self, backing: str) -> bool:
        roots = [*self.places, *([self.pool] if self.pool else [])]
        return any(backing.startswith(f"{root}/") for root in roots)

    def _mounts(self, devices: Collection[str]) -> Iterator[Finding]:
        exported = {device for device, backing in loops() if self._is_ours(backing)}
        exported -= set(devices)
        for pid, source, point in mounts():
            inside = any(point == str(p) or point.startswith(f"{p}/") for p in self.places)
            if (inside and source not in devices) or source in exported:
                yield Finding("kernel", f"{source} is mounted at {point}, as process {pid} sees it")

    def _ours(self) -> Iterator[tuple[int, str]]:
        me = os.getpid()
        parents: dict[int, int] = {}
        texts: dict[int, tuple[str, bytes]] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                environment = (entry / "environ").read_bytes()
            except (OSError, ValueError):
                continue
            if fields[0] in "ZX":
                continue
            parents[int(entry.name)] = int(fields[1])
            texts[int(entry.name)] = (command.decode(errors="replace"), environment)
        mark = f"{TOKEN_VARIABLE}={os.environ.get(TOKEN_VARIABLE)}".encode()
        for pid, (command, environment) in texts.items():
            ancestor = pid
            while ancestor not in (0, me):
                ancestor = parents.get(ancestor, 0)
            if pid != me and (
                ancestor == me
                or mark in environment.split(b"\0")
                or any(str(place) in command for place in self.places)
            ):
                yield pid, command

    def _processes(self, before: Collection[int]) -> Iterator[Finding]:
        for pid, command in self._ours():
            if pid not in before:
                yield Finding("kernel", f"process {pid} runs: {command}")

    # State and repositories

    def _databases(self) -> Iterator[Finding]:
        for directory in self.states:
            file = directory / "state.sqlite"
            if not file.exists():
                continue
            uri = f"file:{quote(str(file))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=30)) as database:
                for tag, state, reason in database.execute(
                    "SELECT tag, state, reason FROM ledger WHERE state != 'GONE'"
                ):
                    yield Finding(str(file), f"ledger: {tag} is {state} ({reason})")
                for name, owner in database.execute("SELECT name, owner FROM lease"):
                    yield Finding(str(file), f"lease: {name} is held by {owner}")
                for run, state in database.execute(
                    "SELECT id, state FROM run WHERE state = 'RUNNING'"
                ):
                    yield Finding(str(file), f"run: {run} is {state}")
                for run, key, state in database.execute(
                    "SELECT run_id, key, state FROM run_item WHERE state IN ('PENDING', 'RUNNING')"
                ):
                    yield Finding(str(file), f"item: {key} of run {run} is {state}")

    def _directories(self) -> Iterator[Finding]:
        for directory in self.states:
            for entry in (directory / "mount").rglob("*"):
                yield Finding(str(directory), f"{entry.relative_to(directory)} is left")

    def _locks(self) -> Iterator[Finding]:
        for repository in self.repositories:
            for lock in (repository / "locks").glob("*"):
                yield Finding(str(repository), f"restic's lock {lock.name[:8]} is left")


def assert_nothing(findings: Sequence[Finding]) -> None:
    """Fail with all findings, one line each."""
    assert not findings, "left behind:\n" + "\n".join(f"  {finding}" for finding in findings)


def loops() -> list[tuple[str, str]]:
    """Every loop device of this machine that is in use, and its file."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = entry.read_text().rstrip("\n")
        except OSError:
            continue  # freed meanwhile
        if backing:
            found.append((f"/dev/{entry.parent.parent.name}", backing))
    return found


def mounts() -> Iterator[tuple[int, str, str]]:
    """Every mount in every mount namespace: a process that sees it, its source, its mount point."""
    seen = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            namespace = os.stat(entry / "ns/mnt").st_ino
            if namespace in seen:
                continue
            lines = (entry / "mountinfo").read_text(errors="surrogateescape").splitlines()
        except OSError:
            continue  # ended, or a thread of the kernel
        seen.add(namespace)
        for line in lines:
            before, _, after = line.partition(" - ")
            point = before.split()[4].encode(errors="surrogateescape")
            plain = point.decode("unicode_escape").encode("latin-1").decode(errors="replace")
            yield int(entry.name), after.split()[1], plain
