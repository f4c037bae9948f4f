"""Faults at every step of every flow, before or after the step's effect.

The steps are read from the flows themselves, so that a new step is covered automatically.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import volflow.tasks
from volflow.flows.backup import backup_flow
from volflow.flows.restore import restore_flow
from volflow.movers.base import StoredBackup
from volflow.plans.restore_target import Destination, RestoreTarget
from volflow.repositories.manifest import Manifest
from volflow.results.options import RestoreOptions
from volflow.tasks.base import Step
from volflow.tasks.work import Work

WHEN = ("before", "after")
# The options of each kind of restore, chosen so that its flow has every possible step.
OPTIONS: dict[str, dict[str, Any]] = {
    "restore to new": {"new": True},
    "restore in place": {"meta_override": {}, "verify": True},
    "restore to a copy": {"recreate_vol_on_error": True, "meta_override": {}},
    "restore over": {"keep_extra": True, "meta_override": {}},
    "restore instead": {"new": True, "remove_old_vol": True},
}


@dataclass(frozen=True)
class Place:
    """A moment in a flow: before or after the effect of a step."""

    step: str
    when: str

    def __str__(self) -> str:
        return f"{self.when} {self.step}"


# The target holds all restored data, but the restore has finished nothing.
AFTER_COPY = Place("flush device", "after")


class InjectedError(Exception):
    """The injected fault."""


def _restore(work: Work, flow: str, destination: Destination) -> Any:
    backup = StoredBackup("", datetime.now(UTC), {})
    manifest = Manifest.missing("volume")
    target = RestoreTarget(backup, manifest, destination, {"id": "volume"})
    return restore_flow(work, target, RestoreOptions(**OPTIONS[flow]))


_DESTINATIONS = {
    "restore to new": Destination.NEW,
    "restore in place": Destination.IN_PLACE,
    "restore to a copy": Destination.COPY,
    "restore over": Destination.IN_PLACE,
}


FLOWS: dict[str, Callable[[Work], Any]] = {
    "backup": backup_flow,
    **{
        flow: functools.partial(_restore, flow=flow, destination=destination)
        for flow, destination in _DESTINATIONS.items()
    },
}


def steps(flow: str) -> list[str]:
    """The names of the steps of a flow, in order."""
    # Nothing runs, and steps do not use these values before they run.
    work: dict[str, Any] = {
        each.name: None
        for each in fields(Work)
        if each.default is MISSING and each.default_factory is MISSING
    }
    made = FLOWS[flow](Work(**work | {"volume_id": "volume"}))
    return [step.name.partition(":")[2] for step in made if isinstance(step, Step)]


def places(flow: str, when: tuple[str, ...] = WHEN) -> list[Place]:
    """The places before and after each step of a flow, in order."""
    return [Place(step, moment) for step in steps(flow) for moment in when]


@contextmanager
def injected(
    faults: Mapping[str, Place], act: Callable[[str, Place], None]
) -> Iterator[list[tuple[str, Place]]]:
    """Call ``act`` at one place of each volume's flow; the list holds the places that were reached.

    :param faults: the place, by the id of the flow's volume
    """
    happened: list[tuple[str, Place]] = []
    inside = threading.local()

    def wrapped(execute: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(execute)
        def instead(self: Step, *args: Any, **kwargs: Any) -> Any:
            volume, step = self.work.volume_id, self.name.partition(":")[2]
            fault = faults.get(volume)
            if fault is None or fault.step != step or getattr(inside, "step", False):
                return execute(self, *args, **kwargs)
            inside.step = True
            try:
                if fault.when == "before":
                    happened.append((volume, fault))
                    act(volume, fault)
                result = execute(self, *args, **kwargs)
                if fault.when == "after":
                    happened.append((volume, fault))
                    act(volume, fault)
                return result
            finally:
                inside.step = False

        return instead

    originals = [(kind, kind.__dict__["execute"]) for kind in _kinds() if "execute" in vars(kind)]
    for kind, execute in originals:
        kind.execute = wrapped(execute)  # type: ignore[method-assign]
    try:
        yield happened
    finally:
        for kind, execute in originals:
            kind.execute = execute  # type: ignore[method-assign]


def raised(volume: str, place: Place) -> None:
    """Raise the injected fault, as an exception of the task."""
    raise InjectedError(f"injected {place}")


def _kinds() -> set[type[Step]]:
    for module in pkgutil.iter_modules(volflow.tasks.__path__):
        importlib.import_module(f"volflow.tasks.{module.name}")
    found: set[type[Step]] = set()
    pending: list[type[Step]] = [Step]
    while pending:
        kind = pending.pop()
        found.add(kind)
        pending += kind.__subclasses__()
    return found
