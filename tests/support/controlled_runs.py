"""Runs of volflow in separate processes, which a test kills or holds at a step."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.site import Site
from tests.support.step_hooks import Hook, release
from tests.support.volflow_process import Answer, Order, finish, start
from tests.support.waiting import until


def hook(step: str, act: str, *, method: str = "execute", when: str = "before") -> Hook:
    """Something that happens around a step."""
    return Hook(step, method, when, act)


@dataclass
class Process:
    """A running command of volflow."""

    order: Order
    process: Any

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def wait_for_hook(self) -> None:
        """Wait until its hook has happened."""
        until(lambda: self.order.mark.exists() or not self.process.is_alive())
        assert self.order.mark.exists(), self.end()

    def go_on(self) -> None:
        """Continue the run that is held."""
        release(self.order.mark)

    def end(self) -> Answer:
        """Wait until it has ended; return its answer."""
        return finish(self.order, self.process, 120)


def begin(site: Site, verb: str, *what: str, hooks: tuple[Hook, ...] = (), **more: Any) -> Process:
    """Start a command of volflow.

    :param more: changes to the configuration; ``new=True`` for a restore to a new volume,
        ``options={...}`` for other options of a restore
    """
    directory = site.home / "orders" / secrets.token_hex(4)
    directory.mkdir(parents=True)
    options = more.pop("options", {}) | ({"new": True} if more.pop("new", False) else {})
    config = directory / "volflow.conf"
    config.write_text(site.config(**more).read_text())
    order = Order(directory, config, site.environment, verb, what, options, hooks)
    return Process(order, start(order))


def run(site: Site, verb: str, *what: str, **more: Any) -> Answer:
    """Run a command of volflow until it ends."""
    return begin(site, verb, *what, **more).end()


def killed(site: Site, verb: str, *what: str, step: str, when: str = "before", **more: Any) -> str:
    """Run a command that is killed at a step; return the run that stays open."""
    before = set(open_runs(site))
    answer = run(site, verb, *what, hooks=(hook(step, "kill", when=when),), **more)
    assert answer.exit == -9, answer
    (left,) = set(open_runs(site)) - before
    return left


@contextmanager
def held(site: Site, verb: str, *what: str, step: str, **more: Any) -> Iterator[Process]:
    """A command that is held before a step, until the end of the block at the latest."""
    process = begin(site, verb, *what, hooks=(hook(step, "hold"),), **more)
    try:
        process.wait_for_hook()
        yield process
    finally:
        process.go_on()
        process.end()


def query(site: Site, text: str, *values: Any, state: Path | None = None) -> list[tuple[Any, ...]]:
    """Read or change the state database."""
    file = (state or site.state) / "state.sqlite"
    with closing(sqlite3.connect(file, timeout=30)) as database, database:
        return list(database.execute(text, values))


def open_runs(site: Site) -> list[str]:
    """The runs that have not ended."""
    if not (site.state / "state.sqlite").exists():
        return []
    found = query(site, "SELECT id FROM run WHERE state IN ('RUNNING', 'SUSPENDED')")
    return [str(row[0]) for row in found]


@dataclass
class Bystander:
    """Resources of a tenant that resemble volflow's, and that volflow must not touch."""

    site: Site
    volume: str = ""
    snapshot: str = ""
    shown: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.volume = self.site.cloud.create(
            name="volflow-0123abcd", description="Temporary, made by volflow run 0", metadata={}
        )
        self.snapshot = self.site.cloud.create_snapshot(self.volume, name="volflow-0123abcd")
        self.shown = self.site.cloud.show(self.volume)

    def untouched(self) -> bool:
        """Whether they are unchanged."""
        snapshot = self.site.cloud.client.volume_snapshots.get(self.snapshot)
        return self.site.cloud.show(self.volume) == self.shown and snapshot.status == "available"
