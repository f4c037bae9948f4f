"""What all tasks have in common: their names, the ledger, and how they clean up."""

from __future__ import annotations

import inspect
import logging
import time
from abc import abstractmethod
from typing import Any, ClassVar

from taskflow import task

from persistence import Entry, EntryState, StateError
from volflow.errors import VolflowError
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
    """

    step: ClassVar[str]
    host_local: bool = False

    def __init__(self, work: Work, step: str | None = None) -> None:
        provides = self.default_provides
        super().__init__(
            name=f"{work.volume_id}:{step or self.step}",
            provides=f"{work.volume_id}:{provides}" if provides else None,
            rebind={name: f"{work.volume_id}:{name}" for name in _parameters(self.execute)},
        )
        self.work = work

    @property
    def services(self) -> Services:
        return self.work.services


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


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
        """Make sure that it is gone, or is a leftover. Never raises: the rest must go on.

        :param tag: the thing's mark in the ledger
        """
        ledger = work.services.ledger
        try:
            entry = ledger.find(tag)
            if entry is None or entry.state is EntryState.GONE:
                return
            try:
                cls._remove_patiently(work, entry)
            except Exception as error:
                LOG.warning("%s is left over", tag, exc_info=True)
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
            except VolflowError as error:
                LOG.info("%s could not be removed yet: %s", entry.tag, error)
                time.sleep(pause)
        return cls.remove(work, entry)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        self.dispose(self.work, self.tag)


class Dispose(Step):
    """Removes a temporary thing on the way forward, as its revert would."""

    def __init__(self, temporary: Temporary) -> None:
        super().__init__(temporary.work, step=f"remove {temporary.step}")
        self._temporary = temporary
        self.host_local = temporary.host_local

    def execute(self) -> None:
        self._temporary.dispose(self.work, self._temporary.tag)
