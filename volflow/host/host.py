"""This host: volflow attaches and mounts volumes on it, and runs programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from oslo_config import cfg

from volflow.host import devices
from volflow.host.devices import BlockDevice
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

if TYPE_CHECKING:
    from volflow.host.connector import Connector


class Host:
    """This host. Nothing is opened or started before it is needed.

    :param conf: volflow's configuration
    :param directory: creates a directory with this name for volflow's own files; returns its path
    """

    def __init__(self, conf: cfg.ConfigOpts, directory: Callable[[str], Path]) -> None:
        self._conf = conf
        self._directory = directory

    @cached_property
    def privilege(self) -> Privilege:
        return Privilege(self._conf.host.root_helper)

    @cached_property
    def connector(self) -> Connector:
        """os-brick on this host."""
        # It takes half a second to import, and listings do not need it.
        from volflow.host.connector import Connector

        return Connector(self._conf, self._directory("locks"))

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
