"""Waits until a resource of Cinder is in a certain state, or gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from volflow.errors import CloudError, ResourceNotFoundError, StoppedError, WaitError

LOG = logging.getLogger(__name__)

Resource = dict[str, Any]
Resources = list[Resource]

# Errors in a row that a wait tolerates.
_PASSING = 5
# Answers in a row that must agree, because a database replica can lag behind.
_BELIEVED = 2


def existing(look: Callable[[], Resource]) -> Resource | None:
    """The resource, or None if it is gone.

    A single 404 can come from a database replica that lags behind. So the resource counts as gone
    only after two in a row.
    """
    for _ in range(_BELIEVED):
        with suppress(ResourceNotFoundError):
            return look()
    return None


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
    ) -> Resource:
        """Read the resource until its status is one of ``ready``.

        :param look: reads the resource; it has a ``status``
        :param what: the resource's name in an error
        :param size_gib: size of the volume in GiB
        :param reason: returns why a resource is in an error state
        :raises WaitError: the resource is in an error state, or the wait took too long
        :raises StoppedError: ``stopping`` was set in the meantime
        """
        pause, deadline = self.interval, self._deadline(size_gib)
        look = _Steady(look)
        while True:
            resource = look()
            status = str(resource["status"])
            if status in ready:
                return resource
            if status.startswith("error"):
                why = reason(resource)
                raise WaitError(f"{what} is in state '{status}'" + (f": {why}" if why else "."))
            pause = self._pause(pause, deadline, what, f"still '{status}'", stopping)

    def until_gone(
        self,
        look: Callable[[], Resource],
        *,
        what: str,
        size_gib: int = 0,
        reason: Callable[[Resource], str] = lambda _: "",
        stopping: threading.Event | None = None,
    ) -> None:
        """Read a resource whose deletion Cinder has accepted until the answer is 404.

        :raises WaitError: the deletion failed, was cancelled by Cinder, or took too long
        :raises StoppedError: ``stopping`` was set in the meantime
        """
        pause, deadline = self.interval, self._deadline(size_gib)
        look = _Steady(look)
        seen, otherwise = False, 0
        while True:
            resource = existing(look)
            if resource is None:
                return
            status = str(resource["status"])
            if status == "error_deleting":
                why = reason(resource)
                raise WaitError(f"{what} could not be deleted by Cinder{': ' if why else '.'}{why}")
            # Cinder sets it to 'deleting' before it accepts the request, and sets it back when it
            # cannot delete it.
            deleting = status == "deleting"
            seen, otherwise = seen or deleting, 0 if deleting else otherwise + 1
            if otherwise >= (_BELIEVED if seen else _PASSING):
                why = reason(resource)
                raise WaitError(
                    f"{what} was not deleted by Cinder, and is '{status}' again"
                    f"{': ' if why else '.'}{why}"
                )
            pause = self._pause(pause, deadline, what, f"not gone, still '{status}'", stopping)

    def _deadline(self, size_gib: int) -> float:
        return time.monotonic() + self.limit + self.limit_per_gib * size_gib

    def _pause(
        self,
        pause: float,
        deadline: float,
        what: str,
        state: str,
        stopping: threading.Event | None,
    ) -> float:
        if time.monotonic() > deadline:
            raise WaitError(
                f"{what} is {state} after the time allowed. Check Cinder's services and logs, or "
                "raise [wait] limit and limit_per_gib."
            )
        if stopping is None:
            time.sleep(pause)
        elif stopping.wait(pause):
            raise StoppedError(f"Stopped while waiting for {what}.")
        return min(pause * 1.3, self.interval_max)


class _Steady:
    """Reads a resource, and ignores a few errors in a row, which may pass."""

    def __init__(self, look: Callable[[], Resource]) -> None:
        self._look = look
        self._last: Resource | None = None
        self._failures = 0

    def __call__(self) -> Resource:
        try:
            self._last = self._look()
        except ResourceNotFoundError:
            raise
        except CloudError as error:
            self._failures += 1
            if self._last is None or self._failures > _PASSING:
                raise
            LOG.info("Trying again: %s", error)
        else:
            self._failures = 0
        return self._last
