"""The base classes of all tasks.

:class:`Step` is one step of a volume. :class:`Temporary` is a step that makes something temporary:
it writes it in the ledger first, and removes it when it is reverted. :class:`Dispose` removes it
on the way forward. What cannot be removed becomes a leftover; nobody else's work is stopped by it.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from taskflow import task
from taskflow.types.sets import OrderedSet

from persistence import Entry, EntryState, StateError
from volflow import logs
from volflow.cloud.patience import undoing
from volflow.errors import (
    ChangedError,
    CloudError,
    HostError,
    StoppedError,
    UnavailableError,
    VolflowError,
    VolumeStateError,
)
from volflow.host.program import heed_stop
from volflow.printable import bounded, printable_lines
from volflow.tasks import border
from volflow.tasks.work import Services, Work

LOG = logging.getLogger(__name__)

# Seconds before the first repeat of a removal, and at most before each later one.
_FIRST, _LONGEST = 1.0, 10.0
# Seconds for obstacles that probably stay.
_SHORT = 4.0
# Cinder refuses a removal with one of these because of the state of a resource, which may change.
_STATE = (400, 409)


class Step(task.Task):
    """One step of a volume.

    The names of its inputs and its result contain the volume id, so that a flow can have several
    volumes: what a task calls ``snapshot`` is ``<volume id>:snapshot`` to TaskFlow.

    :cvar step: the step's name, for people and as part of the task's name. Stored runs use it
    :ivar host_local: what it does belongs to one host and one boot: a resume elsewhere repeats it
    :ivar process_local: what it does ends with the process: every resume repeats it
    """

    step: ClassVar[str]
    host_local: bool = False
    process_local: bool = False

    def __init__(
        self, work: Work, step: str | None = None, rebind: Mapping[str, str] | None = None
    ) -> None:
        """
        :param step: its name, where one class is used for several steps
        :param rebind: for inputs that come from another volume or group: their names there, by
            the parameter of :meth:`execute`
        """
        cls: Any = type(self)
        blank = _blank(cls).copy()
        self.__dict__.update(blank.__dict__)
        self.work = work
        self.name = self.symbol(step or self.step)
        self.save_as = {self.symbol(name): index for name, index in blank.save_as.items()}
        self.provides = OrderedSet(self.save_as)
        self.rebind = {name: self.symbol(name) for name in blank.rebind} | dict(rebind or {})
        self.requires = OrderedSet(self.rebind.values())
        # A revert needs nothing but the ledger. The inputs of a step may be gone by then, because
        # a resume resets the steps before it.
        self.revert_rebind: dict[str, str] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in border.METHODS:
            if name in vars(cls):
                setattr(cls, name, border.flat(vars(cls)[name]))

    # TaskFlow calls these two in the thread that runs the step.

    def pre_execute(self) -> None:
        logs.begin(self.services.run_id, self.work.volume_id)
        heed_stop(True)

    def pre_revert(self) -> None:
        logs.begin(self.services.run_id, self.work.volume_id)
        # Nothing interrupts what undoes something, nor the programs that it needs.
        heed_stop(False)

    def symbol(self, name: str) -> str:
        """The name by which TaskFlow knows an input or the result of this volume."""
        return f"{self.work.volume_id}:{name}"

    @property
    def services(self) -> Services:
        return self.work.services


@cache
def _blank(cls: Any) -> task.Task:
    """A task of this class that belongs to no volume, to copy from.

    TaskFlow reads the signatures of a task's methods when it makes one, which takes longer than
    most steps run. So it does this once for each class.
    """
    blank: task.Task = cls.__new__(cls)
    task.Task.__init__(blank, cls.__name__)
    return blank


class Temporary(Step):
    """Makes sure that a temporary resource exists; its revert makes sure that it is gone.

    The ``execute`` of a subclass first calls :meth:`intend`, then looks for a resource with its
    :attr:`tag`, and only then makes one, so it may run again after a kill at any instruction. To
    remove the resource, a subclass implements :meth:`remove`, and nothing else.

    :cvar kind: the kind of the resource, in the ledger and in the tag
    """

    kind: ClassVar[str]

    @property
    def tag(self) -> str:
        """The tag of the resource, in the ledger and in Cinder."""
        return self.work.tag(self.kind)

    @property
    def is_open(self) -> bool:
        """Whether the resource may exist, by the ledger."""
        entry = self.services.ledger.find(self.tag)
        return entry is not None and entry.state is not EntryState.GONE

    def intend(self, **details: Any) -> Entry:
        """Record in the ledger that the resource is about to be made."""
        return self.services.ledger.intend(
            self.tag,
            run_id=self.services.run_id,
            item=self.work.volume_id,
            kind=self.kind,
            details=details,
        )

    def present(self, resource_id: str, **details: Any) -> None:
        """Record in the ledger that it was made, and its id."""
        self.services.ledger.present(self.tag, resource_id, details=details or None)

    @classmethod
    @abstractmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        """Make sure that the resource is gone, whether it existed or not.

        Only the ledger's entry identifies it, because the process that made it may have died.

        :raises VolflowError: it cannot be removed now. It is tried again; after the last attempt
            the resource becomes a leftover, with this error as the reason
        """

    @classmethod
    def dispose(cls, work: Work, tag: str) -> None:
        """Make sure that the resource is gone, or record it as a leftover.

        No failure is raised, so that the cleanup of everything else continues.

        :param tag: the resource's tag in the ledger
        :raises StoppedError: the run was asked to stop; only on the way forward, because the waits
            of a revert cannot be interrupted
        """
        ledger = work.services.ledger
        try:
            entry = ledger.find(tag)
            if entry is None or entry.state is EntryState.GONE:
                return
            try:
                with undoing():
                    cls._remove_patiently(work, entry)
            except StoppedError:
                raise
            except Exception as error:
                reason = printable_lines(bounded(str(error) or repr(error)))
                # Each attempt of a run has the same reason: once is enough.
                known = entry.state is EntryState.LEFTOVER and entry.reason == reason
                LOG.log(
                    logging.DEBUG if known else logging.WARNING, "%s is left over: %s", tag, reason
                )
                LOG.debug("Why %s is left over", tag, exc_info=True)
                ledger.leftover(tag, reason)
            else:
                ledger.gone(tag)
        except StateError:
            # Its entry stays open in the ledger, which makes it a leftover too.
            LOG.exception("%s could not be closed in the ledger", tag)

    @classmethod
    def _remove_patiently(cls, work: Work, entry: Entry) -> None:
        """Try again for some time, because most obstacles pass.

        An obstacle that may pass is worth the whole patience, but only once in a run for each kind
        of resource: if it did not pass for one volume, it is probably the same for the others.
        """
        services, began, pause = work.services, time.monotonic(), _FIRST
        while True:
            try:
                return cls.remove(work, entry)
            except (StoppedError, ChangedError, UnavailableError):
                raise
            except VolflowError as error:
                worth = _may_pass(error) and cls.kind not in services.in_vain
                patience = services.patience if worth else min(_SHORT, services.patience)
                left = began + patience - time.monotonic()
                if left <= 0:
                    if worth and patience:
                        services.in_vain.add(cls.kind)
                    raise
                LOG.info("%s could not be removed yet: %s", entry.tag, bounded(str(error)))
            work.rest(min(pause, left), f"removing {entry.tag}")
            pause = min(2 * pause, _LONGEST)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        self.dispose(self.work, self.tag)


class Dispose(Step):
    """Removes a temporary resource on the way forward, as its revert would.

    Unlike a revert it can be interrupted, because a resume repeats it.
    """

    def __init__(self, temporary: Temporary) -> None:
        super().__init__(temporary.work, step=f"remove {temporary.step}")
        self._temporary = temporary
        self.host_local = temporary.host_local

    def execute(self) -> None:
        self._temporary.dispose(self.work.interruptible(), self._temporary.tag)


def _may_pass(error: VolflowError) -> bool:
    """Whether an obstacle to a removal may pass within minutes.

    That is the state of a resource, or somebody who uses a device or a mount. What the cloud has
    answered otherwise, such as 403, stays as it is; and the client has already repeated a call that
    got no answer.
    """
    if isinstance(error, CloudError):
        return isinstance(error, VolumeStateError) or error.status in _STATE
    return isinstance(error, HostError)
