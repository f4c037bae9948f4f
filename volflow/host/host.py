"""This host: volflow attaches and mounts volumes on it, and runs programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from oslo_config import cfg

from volflow.host import devices
from volflow.host.devices import BlockDevice
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Limits, Privilege

if TYPE_CHECKING:
    from volflow.host.connector import Connector


class Host:
    """This host. Nothing is opened or started before it is needed.

    :param conf: volflow's configuration
    :param directory: creates a directory with this name for volflow's own files; returns its path
    :param stopping: set when volflow is asked to stop: it ends the programs that are waited for
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        directory: Callable[[str], Path],
        stopping: threading.Event | None = None,
    ) -> None:
        self._conf = conf
        self._directory = directory
        self._stopping = stopping

    @cached_property
    def privilege(self) -> Privilege:
        options = self._conf.host
        limits = Limits(options.look_limit, options.work_limit)
        return Privilege(options.root_helper, limits, self._stopping)

    @cached_property
    def connector(self) -> Connector:
        """os-brick on this host."""
        # It takes half a second to import, and listings do not need it.
        from volflow.host.connector import Connector

        return Connector(self._conf, self._directory("locks"))

    def close(self) -> None:
        """End what watches over the programs of this host, if there were any."""
        if "privilege" in vars(self):
            self.privilege.close()

    def namespace(self) -> MountNamespace:
        """Start a new mount namespace. The caller closes it.

        :raises HostError: not enough privilege
        """
        return MountNamespace(self.privilege, self._directory("mount"))

    def device_size(self, path: str) -> int:
        """The size of a block device in bytes.

        :raises HostError: it is not a block device
        """
        return devices.device_size(path)

    def block_device(self, path: str) -> BlockDevice:
        """A block device of this host.

        :raises HostError: it is not one
        """
        return BlockDevice(path)

    def newest_device(self) -> int:
        """The :attr:`BlockDevice.sequence` of the newest block device: later ones have more."""
        return devices.newest()

    def remaining(self, sequences: Mapping[str, int]) -> list[str]:
        """Which block devices still exist.

        :param sequences: the :attr:`BlockDevice.sequence` of each, by name
        """
        return devices.remaining(sequences)
