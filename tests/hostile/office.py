"""The operators: the commands of volflow that run beside hostile tenants, and what they tell."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fault_matrix.bounds import SECONDS
from tests.support.people import Person

# A command that does not end after this hangs.
_HUNG = 420.0


@dataclass(frozen=True)
class Told:
    """What a command has told.

    :ivar rows: its JSON output
    :ivar text: everything that it printed
    """

    who: str
    arguments: tuple[str, ...]
    status: int | None
    rows: list[dict[str, Any]]
    text: str

    def __str__(self) -> str:
        words = " ".join(self.arguments)
        lines = self.text.strip().splitlines()
        return f"{self.who}: volflow {words}: {self.status}: {' | '.join(lines[-3:])[:600]}"

    def troubles(self) -> list[str]:
        """What no command may do, whatever tenants do."""
        found = []
        if self.status is None:
            found.append(f"hung: {self}")
        if self.status not in (None, 0, 1, 3):
            found.append(f"unexpected status: {self}")
        if "Traceback" in self.text:
            found.append(f"traceback: {self}")
        return found

    def names(self, *texts: str) -> bool:
        """Whether volflow has reported one of these."""
        return any(text and text in self.text for text in texts)


def tell(who: Person, *arguments: str, **settings: Any) -> Told:
    """Run a command; return what it told."""
    command = who.command(*arguments, "-f", "json", **settings)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_HUNG,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        out = error.stdout.decode(errors="replace") if error.stdout else ""
        err = error.stderr.decode(errors="replace") if error.stderr else ""
        return Told(who.login, arguments, None, [], out + err)
    try:
        rows = json.loads(done.stdout) if done.stdout.strip() else []
    except ValueError:
        rows = []
    return Told(who.login, arguments, done.returncode, rows, done.stdout + done.stderr)


@dataclass
class Desk(threading.Thread):
    """Commands of one operator, one after the other, in a thread."""

    who: Person
    orders: Sequence[tuple[str, ...]]
    heard: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        for order in self.orders:
            self.heard.append(tell(self.who, *order))


def until_settled(busy: Callable[[], Sequence[str]]) -> list[str]:
    """Wait until Cinder changes nothing any more; return what does not settle."""
    deadline = time.monotonic() + SECONDS
    while (found := list(busy())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
