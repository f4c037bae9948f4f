"""This host: what volflow attaches volumes to, mounts them on, and runs programs on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from oslo_config import cfg

from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

if TYPE_CHECKING:
    from volflow.host.connector import Connector


class Host:
    """This host. Nothing is looked at before it is needed.

    :param conf: volflow's configuration
    :param directory: makes a directory of this name for volflow's own files, and gives its path
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
        """A new mount namespace, which the caller closes.

        :raises HostError: not enough privilege
        """
        return MountNamespace(self.privilege, self._directory("mount"))

    def device_size(self, path: str) -> int:
        """The size of a block device in bytes.

        :raises HostError: it is no block device
        """
        from volflow.host.connector import device_size

        return device_size(path)
