"""What the tenants own, and what it must hold, read without volflow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fault_matrix.image import digest
from tests.support import tree

VOLUMES, SNAPSHOTS = "volumes", "snapshots"
_PROJECT = {VOLUMES: "os-vol-tenant-attr:tenant_id", SNAPSHOTS: "project_id"}
_PROJECT_OF_SNAPSHOT = "os-extended-snapshot-attributes:project_id"


@dataclass
class Thing:
    """A volume or a snapshot that tenants made.

    :ivar kind: ``volumes`` or ``snapshots``
    :ivar project: the id of the project that owns it
    :ivar names: all names that it has had
    :ivar content: a digest of every byte of it; None before it was first read
    :ivar files: its files, where the test knows them
    :ivar excuse: why its content may have changed
    :ivar deleted: its owner has asked Cinder to delete it
    """

    kind: str
    id: str
    project: str
    names: set[str] = field(default_factory=set)
    content: str | None = None
    files: tree.Tree | None = None
    excuse: str = ""
    deleted: bool = False

    def __str__(self) -> str:
        return f"{self.kind[:-1]} {self.id} ({', '.join(sorted(self.names))})"


class Estate:
    """All volumes and snapshots that tenants made.

    :param pool: the directory with the files of the lab's volumes and snapshots
    """

    def __init__(self, pool: Path) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._things: dict[str, Thing] = {}

    def add(self, thing: Thing) -> Thing:
        with self._lock:
            self._things[thing.id] = thing
        return thing

    def find(self, id: str) -> Thing | None:
        with self._lock:
            return self._things.get(id)

    def present(self, kind: str = "", project: str = "") -> list[Thing]:
        """What was not deleted, of one kind and in one project if given."""
        with self._lock:
            return [
                thing
                for thing in self._things.values()
                if not thing.deleted and kind in ("", thing.kind) and project in ("", thing.project)
            ]

    def file(self, thing: Thing) -> Path:
        return self._pool / f"{thing.kind[:-1]}-{thing.id}"

    def read(self, thing: Thing) -> None:
        """Take its present content for the right one."""
        thing.content, thing.excuse = digest(self.file(thing)), ""

    def compare(self, shown: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
        """Everything that was touched.

        :param shown: what Cinder shows to its administrator, by kind
        """
        for thing in self.present():
            found = {each["id"]: each for each in shown[thing.kind]}.get(thing.id)
            if found is None:
                yield f"{thing} is gone"
                continue
            project = found.get(_PROJECT[thing.kind]) or found.get(_PROJECT_OF_SNAPSHOT)
            if project and project != thing.project:
                yield f"{thing} is in project {project} instead of {thing.project}"
            if not self.file(thing).exists():
                # Cinder could not make it, and a tenant has changed its state since.
                if thing.content is not None:
                    yield f"{thing} has no file any more"
            elif thing.content is None or thing.excuse:
                if found["status"] in ("available", "in-use"):
                    self.read(thing)
            elif digest(self.file(thing)) != thing.content:
                yield f"{thing} has other bytes than before"
