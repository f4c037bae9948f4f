"""What all tasks have in common: their names, the ledger, and how they clean up."""

from __future__ import annotations

import inspect
import logging
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

from taskflow import task
from taskflow.types.sets import OrderedSet

from persistence import Entry, EntryState, StateError
from volflow import logs
from volflow.errors import StoppedError, VolflowError
from volflow.tasks.work import Services, Work

LOG = logging.getLogger(__name__)

# Seconds between the attempts to remove a thing.
_PAUSES = (1.0, 3.0)


class Step(task.Task):
    """One step of one volume's way.

    Symbols are the volume's own, so that a flow can hold several volumes: what a task calls
    ``snapshot`` is ``<volume id>:snapshot`` to TaskFlow.

    :cvar step: the step's name, for people and as part of the task's name
    :ivar host_local: what it does belongs to one host and one boot, and is done again by a resume
    :ivar process_local: what it does ends with the process, and is done again by every resume
    """

    step: ClassVar[str]
    host_local: bool = False
    process_local: bool = False

    def __init__(
        self, work: Work, step: str | None = None, rebind: Mapping[str, str] | None = None
    ) -> None:
        """
        :param step: its name where one class serves several steps
        :param rebind: symbols of others, by parameter
        """
        self.work = work
        provides = self.default_provides
        super().__init__(
            name=self.symbol(step or self.step),
            provides=self.symbol(provides) if provides else None,
            rebind={name: self.symbol(name) for name in _parameters(type(self).execute)}
            | dict(rebind or {}),
        )
        # A revert needs nothing but the ledger. What a step was given may be gone by then: a resume
        # sets back the steps before it.
        self.revert_rebind: dict[str, str] = {}

    def _build_arg_mapping(
        self, executor: Any, requires: Any = None, rebind: Any = None, *args: Any, **kwargs: Any
    ) -> tuple[dict[str, str], OrderedSet, OrderedSet]:
        """What to call a method with. ``rebind`` says it all, and TaskFlow need not find it out.

        To look at the signatures of all steps takes it longer than most of them run.
        """
        return dict(rebind), OrderedSet(rebind.values()), OrderedSet()

    # TaskFlow calls these in the thread that does the work.

    def pre_execute(self) -> None:
        logs.begin(self.services.run_id, self.work.volume_id)

    def pre_revert(self) -> None:
        logs.begin(self.services.run_id, self.work.volume_id)

    def symbol(self, name: str) -> str:
        """A name of this volume's own, as TaskFlow knows it."""
        return f"{self.work.volume_id}:{name}"

    @property
    def services(self) -> Services:
        return self.work.services


@cache
def _parameters(execute: Any) -> list[str]:
    """What the steps of a class are given; all of its steps the same."""
    return list(inspect.signature(execute).parameters)[1:]


class Temporary(Step):
    """Makes sure that a temporary thing is there; its revert makes sure that it is gone.

    A subclass's ``execute`` first calls :meth:`intend`, then looks for a thing that carries
    :attr:`tag`, and only then makes one. It may run again after a kill at any instruction.

    :cvar kind: what it makes, for the ledger
    """

    kind: ClassVar[str]

    @property
    def tag(self) -> str:
        return self.work.tag(self.kind)

    def intend(self, **details: Any) -> Entry:
        """Write in the ledger what is about to be made."""
        return self.services.ledger.intend(
            self.tag,
            run_id=self.services.run_id,
            item=self.work.volume_id,
            kind=self.kind,
            details=details,
        )

    def present(self, resource_id: str, **details: Any) -> None:
        """Write in the ledger that it has been made."""
        self.services.ledger.present(self.tag, resource_id, details=details or None)

    @classmethod
    @abstractmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        """Make sure that it is gone, whether it was there or not.

        Nothing but the ledger's entry tells what it is: the process that made it may be no more.

        :raises Exception: what is in the way
        """

    @classmethod
    def dispose(cls, work: Work, tag: str) -> None:
        """Make sure that it is gone, or is a leftover. It raises nothing else: the rest must go on.

        :param tag: the thing's mark in the ledger
        :raises StoppedError: the run is to stop, and this work's waits can be interrupted, which
            those of a revert cannot
        """
        ledger = work.services.ledger
        try:
            entry = ledger.find(tag)
            if entry is None or entry.state is EntryState.GONE:
                return
            try:
                cls._remove_patiently(work, entry)
            except StoppedError:
                raise
            except Exception as error:
                LOG.warning("%s is left over: %s", tag, error)
                LOG.debug("Why %s is left over", tag, exc_info=True)
                ledger.leftover(tag, str(error) or repr(error))
            else:
                ledger.gone(tag)
        except StateError:
            # Its entry stays open in the ledger, which is what makes it a leftover too.
            LOG.exception("%s could not be struck from the ledger", tag)

    @classmethod
    def _remove_patiently(cls, work: Work, entry: Entry) -> None:
        """Try more than once: much that is in the way is there only for a moment."""
        for pause in _PAUSES:
            try:
                return cls.remove(work, entry)
            except StoppedError:
                raise
            except VolflowError as error:
                LOG.info("%s could not be removed yet: %s", entry.tag, error)
                time.sleep(pause)
        return cls.remove(work, entry)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        self.dispose(self.work, self.tag)


class Dispose(Step):
    """Removes a temporary thing on the way forward, as its revert would.

    Unlike that it can be interrupted: a resume repeats it.
    """

    def __init__(self, temporary: Temporary) -> None:
        super().__init__(temporary.work, step=f"remove {temporary.step}")
        self._temporary = temporary
        self.host_local = temporary.host_local

    def execute(self) -> None:
        work = replace(self.work, cinder=self.work.cinder.interruptible())
        self._temporary.dispose(work, self._temporary.tag)
