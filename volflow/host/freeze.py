"""Guests that are frozen while their volumes are snapshotted: commands of the operator do it.

A process of its own runs both commands, so that guests are thawed also if this one is killed: see
:mod:`volflow.host.freezing`.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from oslo_config import cfg

from volflow.errors import HostError, StoppedError
from volflow.host import freezing
from volflow.host.program import Holder, bound, heeds_stop

LOG = logging.getLogger(__name__)

# Seconds between two looks at whether volflow is asked to stop.
_LOOK = 0.1
# Seconds that the process may need beyond the limits of its commands, on a busy host.
_BUSY = 30.0
_THAW = b"thaw\n"


@dataclass(frozen=True)
class Quiesce:
    """How guests are frozen and thawed.

    :ivar pre: the command that freezes
    :ivar post: the command that thaws
    :ivar limit: seconds after which guests are thawed in any case
    :ivar command_limit: seconds that each command may take
    :ivar required: a volume is not backed up if ``pre`` fails
    """

    pre: Sequence[str]
    post: Sequence[str]
    limit: float = 30.0
    command_limit: float = 15.0
    required: bool = True

    @classmethod
    def from_config(cls, conf: cfg.ConfigOpts) -> Self | None:
        """As the configuration says; None if it names no commands."""
        options = conf.quiesce
        if not options.pre_command:
            return None
        return cls(
            shlex.split(options.pre_command),
            shlex.split(options.post_command),
            options.limit,
            options.command_limit,
            options.on_failure == "error",
        )

    def check(self) -> None:
        """Make sure that both commands can be executed.

        :raises HostError: one cannot
        """
        for option, command in (("pre_command", self.pre), ("post_command", self.post)):
            if shutil.which(command[0]) is None:
                raise HostError(
                    f"The {option} of [quiesce] cannot be started: '{command[0]}' is no program "
                    "that this user can execute. Correct its path, or its mode."
                )


@dataclass(frozen=True)
class Thawed:
    """How a freeze ended.

    :ivar in_time: the guests were not thawed before this was asked for
    :ivar trouble: why they may still be frozen; empty if they are not
    """

    in_time: bool
    trouble: str = ""


class Freeze:
    """One freeze. Whoever begins it must end it; the end of this process ends it too.

    :param variables: what the commands find in their environment
    :param stopping: set when volflow is asked to stop
    :raises HostError: a command cannot be started; nothing has happened then
    """

    def __init__(
        self, quiesce: Quiesce, variables: Mapping[str, str], stopping: threading.Event
    ) -> None:
        quiesce.check()
        self._quiesce, self._variables, self._stopping = quiesce, variables, stopping
        self._holder = self._hold(quiesce)
        self._started = True

    def _hold(self, quiesce: Quiesce) -> Holder:
        settings = {
            # They end with the process that runs them, which is the one that thaws.
            "pre": bound(quiesce.pre) if quiesce.pre else [],
            "post": bound(quiesce.post),
            "limit": quiesce.limit,
            "command_limit": quiesce.command_limit,
        }
        return Holder(
            [sys.executable, "-I", "-S", freezing.__file__, json.dumps(settings)],
            os.environ | dict(self._variables),
        )

    def begin(self) -> str:
        """Wait until the command that freezes has ended.

        :returns: what went wrong; empty if nothing did
        :raises StoppedError: volflow is asked to stop
        """
        deadline = time.monotonic() + self._quiesce.command_limit + self._rest
        while time.monotonic() < deadline:
            if self._stopping.is_set() and heeds_stop():
                raise StoppedError("Stopped while the pre_command of [quiesce] ran.")
            line = self._holder.next_line(_LOOK)
            if line is None:
                break
            if line:
                done = json.loads(line)["pre"]
                self._started = done["started"]
                return self._trouble("pre_command", done)
        return "The process that runs the pre_command of [quiesce] has ended or does not answer."

    def end(self) -> Thawed:
        """Thaw. It never raises, and may take as long as the commands may."""
        said = self._result(self._holder)
        if said is None and self._started:
            # Somebody has killed it.
            LOG.warning("The process that runs the commands of [quiesce] has ended before its time")
            try:
                said = self._result(self._hold(replace(self._quiesce, pre=())))
            except HostError as error:
                LOG.error("The post_command of [quiesce] could not be run: %s", error)
            said = said | {"why": freezing.DEADLINE} if said else None
        if not self._started:
            return Thawed(in_time=True)
        if said is None:
            return Thawed(
                in_time=False,
                trouble="The post_command of [quiesce] has not ended: the guest may still be "
                "frozen. Thaw it by hand.",
            )
        trouble = self._trouble("post_command", said["post"])
        if trouble:
            trouble = f"{trouble} The guest may still be frozen: thaw it by hand."
            LOG.error("%s", trouble)
        LOG.info("Frozen for %.1f s, thawed: %s", said["seconds"], said["why"])
        return Thawed(said["why"] == freezing.ASKED, trouble)

    def _result(self, holder: Holder) -> dict[str, Any] | None:
        """Let it thaw; returns what it says of that; None if it says nothing."""
        holder.let_go(_THAW)
        deadline = time.monotonic() + self._rest
        deadline += freezing.ATTEMPTS * (self._quiesce.command_limit + freezing.PAUSE + self._ends)
        found = None
        while found is None and (left := deadline - time.monotonic()) > 0:
            line = holder.next_line(left)
            if line is None:
                break
            said: dict[str, Any] = json.loads(line or "{}")
            if "pre" in said:
                # It was not waited for, because volflow is asked to stop.
                self._started = said["pre"]["started"]
            found = said if "post" in said else None
        holder.close(_BUSY if found or not self._started else 0.0)
        return found

    @property
    def _ends(self) -> float:
        return freezing.GRACE + freezing.KILLED

    @property
    def _rest(self) -> float:
        return self._ends + _BUSY

    def _trouble(self, option: str, done: Mapping[str, Any]) -> str:
        said = done["said"] or "it said nothing"
        if not done["started"]:
            return f"The {option} of [quiesce] could not be started: {said}"
        if done["ended"]:
            seconds = min(self._quiesce.command_limit, self._quiesce.limit)
            return f"The {option} of [quiesce] was ended after {seconds:g} s: {said}"
        if done["status"]:
            return f"The {option} of [quiesce] failed with status {done['status']}: {said}"
        LOG.info("The %s of [quiesce] has run: %s", option, said)
        return ""
