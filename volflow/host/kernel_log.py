"""What the kernel has said about a device: mount(8) only refers to its log.

The records of /dev/kmsg are those of the kernel's Documentation/ABI/testing/dev-kmsg:
``priority,number,microseconds,flags;text``. Many kernels let only root read it, and some containers
do not have it.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from types import TracebackType

from volflow.errors import HostError
from volflow.host.privilege import Privilege
from volflow.printable import printable

# Bytes of one record at most.
_RECORD = 8192
_HEAD = re.compile(r"\d+,(\d+),\d+,[^;\n]*;(.*)")


LOG_DEVICE = Path("/dev/kmsg")


class KernelLog:
    """The kernel's log since this object was made.

    :param privilege: reads it if this process may not
    :param log: its device; that of this host unless given
    """

    def __init__(self, privilege: Privilege, log: Path | None = None) -> None:
        self._privilege, self._log = privilege, log or LOG_DEVICE
        self._fd: int | None = None
        self._last = -1
        try:
            self._fd = os.open(self._log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except PermissionError:
            self._last = max((number for number, _ in self._copied()), default=-1)
        except OSError:
            # A container without it: nothing is known of the kernel's reasons.
            self.close()

    def __enter__(self) -> KernelLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def said(self) -> list[str]:
        """What the kernel has said, in printable lines; none if its log cannot be read."""
        records = self._copied() if self._fd is None else self._read(self._fd)
        return [printable(text.strip()) for number, text in records if number > self._last]

    @staticmethod
    def _read(fd: int) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        while True:
            try:
                record = os.read(fd, _RECORD)
            except BrokenPipeError:
                continue  # the kernel has overwritten some; the next read gives the oldest
            except OSError:
                return found
            if not record:
                return found
            found += _parsed(record.decode("utf-8", errors="replace"))

    def _copied(self) -> list[tuple[int, str]]:
        if not self._log.exists():
            return []
        with contextlib.suppress(HostError):
            # It ends with an error, because no more record is there.
            options = (f"if={self._log}", "iflag=nonblock", f"bs={_RECORD}", "status=none")
            return _parsed(self._privilege.attempt("dd", *options).stdout)
        return []


def _parsed(text: str) -> list[tuple[int, str]]:
    found = (_HEAD.match(line) for line in text.splitlines())
    return [(int(each[1]), each[2]) for each in found if each]
