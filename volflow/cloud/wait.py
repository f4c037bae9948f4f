"""Waits until a resource of Cinder is in a certain state, or gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from volflow.errors import NotDeletedError, ResourceNotFoundError, StoppedError, WaitError

Resource = dict[str, Any]
Resources = list[Resource]

# Answers in a row that must agree, because a database replica can lag behind.
_BELIEVED = 2
# Answers in a row without a sign of a deletion that Cinder has accepted.
_UNCHANGED = 5
# The states that Cinder leaves by itself and that do not end in "ing".
_TRANSITIONS = ("backing-up", "restoring-backup", "restoring_backup")


def existing(look: Callable[[], Resource]) -> Resource | None:
    """The resource, or None if it is gone.

    A single 404 can come from a database replica that lags behind. So the resource counts as gone
    only after two in a row.
    """
    for _ in range(_BELIEVED):
        with suppress(ResourceNotFoundError):
            return look()
    return None


def is_in_transition(resource: Resource) -> bool:
    """Whether Cinder is changing a resource, and refuses other changes until it has finished."""
    status = str(resource["status"])
    # Cinder does not leave error_deleting and the like by itself.
    return not status.startswith("error") and (status.endswith("ing") or status in _TRANSITIONS)


def is_being_deleted(resource: Resource) -> bool:
    """Whether Cinder has begun to delete a resource."""
    return bool(resource["status"] == "deleting")


@dataclass(frozen=True)
class Wait:
    """How often to read a resource, and for how long.

    All values are seconds; ``limit_per_gib`` is added for each GiB of the volume.
    """

    interval: float = 0.25
    interval_max: float = 2.0
    limit: float = 600.0
    limit_per_gib: float = 30.0

    @classmethod
    def from_config(cls, conf: cfg.ConfigOpts) -> Wait:
        group = conf.wait
        return cls(group.interval, group.interval_max, group.limit, group.limit_per_gib)

    def until(
        self,
        look: Callable[[], Resource],
        ready: Collection[str],
        *,
        what: str,
        size_gib: int = 0,
        reason: Callable[[Resource], str] = lambda _: "",
        stopping: threading.Event | None = None,
        grace: float = 0.0,
    ) -> Resource:
        """Read the resource until its status is one of ``ready``.

        :param look: reads the resource; it has a ``status``
        :param what: the resource's name in an error
        :param size_gib: size of the volume in GiB
        :param reason: returns why a resource is in an error state
        :param grace: the time in which the API had trouble, up to this many seconds, does not count
        :raises WaitError: the resource is in an error state, or the wait took too long
        :raises StoppedError: ``stopping`` was set in the meantime
        """
        course = _Course(self, size_gib, what, stopping, grace)
        while True:
            resource = course.read(look)
            status = str(resource["status"])
            if status in ready:
                return resource
            if status.startswith("error"):
                why = reason(resource)
                raise WaitError(f"{what} is in state '{status}'" + (f": {why}" if why else "."))
            course.pause(f"still '{status}'")

    def until_settled(
        self,
        look: Callable[[], Resource],
        *,
        what: str,
        size_gib: int = 0,
        stopping: threading.Event | None = None,
        grace: float = 0.0,
    ) -> Resource | None:
        """Read a resource until Cinder no longer changes it, or it is gone: then None.

        :raises WaitError: the wait took too long
        :raises StoppedError: ``stopping`` was set in the meantime
        """
        course = _Course(self, size_gib, what, stopping, grace)
        while True:
            resource = existing(lambda: course.read(look))
            if resource is None or not is_in_transition(resource):
                return resource
            course.pause(f"still '{resource['status']}'")

    def until_gone(
        self,
        look: Callable[[], Resource],
        *,
        what: str,
        size_gib: int = 0,
        reason: Callable[[Resource], str] = lambda _: "",
        stopping: threading.Event | None = None,
        grace: float = 0.0,
    ) -> None:
        """Read a resource whose deletion Cinder has accepted until the answer is 404.

        :raises NotDeletedError: Cinder has cancelled the deletion
        :raises WaitError: the deletion failed or took too long
        :raises StoppedError: ``stopping`` was set in the meantime
        """
        course = _Course(self, size_gib, what, stopping, grace)
        seen, otherwise = False, 0
        while True:
            resource = existing(lambda: course.read(look))
            if resource is None:
                return
            status = str(resource["status"])
            if status == "error_deleting":
                why = reason(resource)
                raise WaitError(f"{what} could not be deleted by Cinder{': ' if why else '.'}{why}")
            # Cinder sets it to 'deleting' before it accepts the request, and sets it back when it
            # cannot delete it.
            deleting = is_being_deleted(resource)
            seen, otherwise = seen or deleting, 0 if deleting else otherwise + 1
            if otherwise >= (_BELIEVED if seen else _UNCHANGED):
                why = reason(resource)
                raise NotDeletedError(
                    f"{what} was not deleted by Cinder, and is '{status}' again"
                    f"{': ' if why else '.'}{why}"
                )
            course.pause(f"not gone, still '{status}'")

    def deadline(self, size_gib: int) -> float:
        """When a wait that begins now has taken too long, as :func:`time.monotonic` counts."""
        return time.monotonic() + self.limit + self.limit_per_gib * size_gib


class _Course:
    """One wait: its growing pauses, and its limit."""

    def __init__(
        self,
        wait: Wait,
        size_gib: int,
        what: str,
        stopping: threading.Event | None,
        grace: float,
    ) -> None:
        self._what, self._stopping = what, stopping
        self._pause, self._longest = wait.interval, wait.interval_max
        self._deadline, self._grace = wait.deadline(size_gib), grace

    def read(self, look: Callable[[], Resource]) -> Resource:
        """Read the resource. Trouble of the API lasts long, and does not shorten the wait."""
        began = time.monotonic()
        try:
            return look()
        finally:
            spent = min(time.monotonic() - began, self._grace)
            self._grace -= spent
            self._deadline += spent

    def pause(self, state: str) -> None:
        if time.monotonic() > self._deadline:
            raise WaitError(
                f"{self._what} is {state} after the time allowed. Check Cinder's services and "
                "logs, or raise [wait] limit and limit_per_gib."
            )
        if self._stopping is None:
            time.sleep(self._pause)
        elif self._stopping.wait(self._pause):
            raise StoppedError(f"Stopped while waiting for {self._what}.")
        self._pause = min(self._pause * 1.3, self._longest)
