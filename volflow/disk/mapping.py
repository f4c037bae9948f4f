"""Loop devices over ranges of a device, such as its partitions.

No partition of a guest is shown to the kernel: some kernels know no partition tables, and nothing
has to wait for udev. A small process holds the loop devices. When its standard input is closed,
which the kernel does when volflow ends in any way, each loop device goes with its last user: see
:mod:`volflow.disk.looping`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence

from volflow.disk import looping
from volflow.errors import HostError
from volflow.host import devices
from volflow.host.devices import BlockDevice
from volflow.host.privilege import Privilege
from volflow.printable import printable

LOG = logging.getLogger(__name__)

_LOOPING = (sys.executable, "-I", "-S", looping.__file__)
# Seconds that the process may take to begin and to end, and that the kernel may take to clear a
# loop device after that: others, such as udev, look at it for a moment.
_START, _END, _CLEAR = 60.0, 30.0, 10.0
# Bytes of a sector that the kernel can show.
SECTORS = (512, 1024, 2048, 4096)


class Mapping:
    """Loop devices over ranges of a device, as long as it is open.

    Reads and writes go past the page cache of the device where the kernel can do that, and the
    kernel keeps both views equal. Partition tables in a range are not read by the kernel.

    :param privilege: how to become root
    :param device: a block device, or a file
    :param ranges: the first byte and the number of bytes of each range; they may overlap, if nobody
        writes
    :param read_only: nobody can write to the loop devices
    :param sector_size: bytes of a sector of the loop devices: that of the device, or more. A range
        that does not consist of such sectors, such as a gap at the end, gets sectors of 512 bytes.
    :raises HostError: a range is not on the device or no whole sectors, or no loop device is to be
        had
    """

    def __init__(
        self,
        privilege: Privilege,
        device: str,
        ranges: Sequence[tuple[int, int]],
        *,
        read_only: bool,
        sector_size: int = 512,
    ) -> None:
        if sector_size not in SECTORS:
            raise HostError(f"A loop device cannot have sectors of {sector_size} bytes.")
        self.paths: tuple[str, ...] = ()
        self._sequences: dict[str, int] = {}
        self._holder = privilege.hold(
            *(*_LOOPING, device, "ro" if read_only else "rw", str(sector_size)),
            *(f"{start}:{size}" for start, size in ranges),
        )
        line = self._holder.first_line(_START)
        try:
            self.paths = tuple(map(str, json.loads(line)))
            for path in self.paths:
                found = BlockDevice(path)
                self._sequences[found.name] = found.sequence
        except (ValueError, HostError, OSError) as error:
            # It may still wait for the device.
            said = self._holder.said().strip() or f"nothing was said for {_START:g} s"
            self._holder.let_go()
            raise HostError(f"No loop device for a part of {device}: {printable(said)}") from error

    def __enter__(self) -> Mapping:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def remaining(self) -> list[str]:
        """Those of the loop devices that still exist."""
        return devices.remaining(self._sequences)

    def close(self) -> None:
        """Let go of the loop devices, and wait until the kernel has cleared them.

        It may be closed twice, also by two threads. A loop device that is still in use, such as by
        a mount, stays until its last user ends; this is a warning: see :attr:`remaining`. What was
        written must have been settled before, see :mod:`volflow.disk.durable`.
        """
        ended = self._holder.close(_END)
        deadline = time.monotonic() + _CLEAR
        while left := self.remaining:
            if not ended or time.monotonic() > deadline:
                LOG.warning(
                    "Loop devices stay until their last user ends: %s. Look for what uses them "
                    "with 'fuser -v' and 'findmnt --task PROCESS'.",
                    ", ".join(left),
                )
                return
            time.sleep(0.01)
