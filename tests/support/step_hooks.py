"""Hooks around a task that raise, kill the process or hold it. They run in the run's process."""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import volflow.tasks
from volflow.tasks.base import Step


class InjectedError(Exception):
    """The injected fault."""


@dataclass(frozen=True)
class Hook:
    """Something that happens around a step.

    :ivar method: ``execute`` or ``revert``
    :ivar when: ``before`` or ``after``
    :ivar act: ``raise``, ``kill``, or ``hold``: wait until :func:`release` is called
    """

    step: str
    method: str
    when: str
    act: str


def install(hooks: Sequence[Hook], mark: Path, place: Path | None = None) -> None:
    """Install hooks in this process.

    :param mark: a file that is made when a hook has happened
    :param place: a file that holds the name of the running step
    """
    inside = threading.local()

    def happen(step: str, method: str, when: str) -> None:
        for hook in hooks:
            if (hook.step, hook.method, hook.when) == (step, method, when):
                mark.write_text(str(hook))
                if hook.act == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if hook.act == "raise":
                    raise InjectedError(f"injected {when} {method} of {step}")
                while not _released(mark).exists():
                    time.sleep(0.02)

    def tell(step: str) -> None:
        if place is not None:
            place.write_text(step)

    def wrapped(function: Callable[..., Any], method: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def instead(self: Step, *args: Any, **kwargs: Any) -> Any:
            if getattr(inside, "step", False):
                return function(self, *args, **kwargs)
            step = self.name.partition(":")[2]
            inside.step = True
            tell(step)
            try:
                happen(step, method, "before")
                result = function(self, *args, **kwargs)
                happen(step, method, "after")
                return result
            finally:
                inside.step = False
                tell("")

        return instead

    for method in ("execute", "revert"):
        for kind in _kinds():
            if method in vars(kind) or kind is Step:
                setattr(kind, method, wrapped(getattr(kind, method), method))


def release(mark: Path) -> None:
    """Continue a process that is held."""
    _released(mark).touch()


def _released(mark: Path) -> Path:
    return mark.with_name("released")


def _kinds() -> Iterator[type[Step]]:
    """All classes of steps, subclasses first, so that each wraps the method that it inherits."""
    for module in pkgutil.iter_modules(volflow.tasks.__path__):
        importlib.import_module(f"volflow.tasks.{module.name}")
    found: list[type[Step]] = []
    pending: list[type[Step]] = [Step]
    while pending:
        kind = pending.pop(0)
        if kind not in found:
            found.append(kind)
            pending += kind.__subclasses__()
    yield from reversed(found)
