"""Mounts the file systems of a volume in a mount namespace of its own while they are copied."""

from __future__ import annotations

import logging
from typing import Any

from volflow.disk import durable
from volflow.errors import HostError, NoProgressError
from volflow.host.namespace import MountNamespace
from volflow.repositories.manifest import region_path
from volflow.tasks.base import Step
from volflow.tasks.filesystem import found_file_systems
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)


def mounted(work: Work) -> MountNamespace:
    """The namespace in which the volume is mounted.

    :raises HostError: it is not mounted
    """
    if work.namespace is None:
        raise HostError("The volume is not mounted.")
    return work.namespace


class Mount(Step):
    """Mounts the file system of each region; its revert unmounts it.

    The ledger does not list mounts: the namespace ends with this process, and the mount with it.
    """

    step = "mount"
    host_local = True

    def __init__(self, work: Work, *, read_only: bool) -> None:
        super().__init__(work)
        self._read_only = read_only

    def execute(self, device: str, file_system: dict[str, Any]) -> None:
        services = self.services
        self.unmount()
        namespace = services.host.namespace()
        self.work.namespace = namespace
        for number, found in enumerate(found_file_systems(file_system)):
            namespace.mount(
                device,
                namespace.root / region_path(number),
                found.type,
                found.mount_options(read_only=self._read_only),
            )

    def unmount(self, *, written: str = "") -> None:
        """Unmount and end the namespace, if one is open.

        :param written: the device, if all that was written to it must be durable
        :raises HostError: the file system stays busy, or its data could not be written
        """
        namespace, self.work.namespace = self.work.namespace, None
        if namespace is not None:
            try:
                if written:
                    durable.unmount(namespace, written)
                else:
                    namespace.unmount()
            finally:
                namespace.close()

    def revert(self, *args: Any, **kwargs: Any) -> None:
        try:
            self.unmount()
        except HostError:
            # If the device is still in use, its disconnect fails too and reports why.
            LOG.warning("%s could not be unmounted cleanly", self.name, exc_info=True)


class Unmount(Step):
    """Unmounts after the copy.

    :param strict: whether an error fails the step. After a restore it must, because data may not
        have reached the volume. After a backup the data is stored, so the error is only logged.
    """

    step = "unmount"
    host_local = True

    def __init__(self, mount: Mount, *, strict: bool) -> None:
        super().__init__(mount.work)
        self._mount, self._strict = mount, strict

    def execute(self, device: str, file_system: dict[str, Any]) -> None:
        if not self._strict:
            self._mount.revert()
            return
        self._mount.unmount(written=device)
        privilege = self.services.host.privilege
        for found in found_file_systems(file_system):
            try:
                found.settle(privilege, device)
            except NoProgressError:
                raise
            except HostError as error:
                # The files are there. The tools refuse features that only the kernel knows.
                Remark.LAST_MOUNT.of(
                    self.work, f"the file system still says where this host mounted it: {error}"
                )
        durable.settle_device(privilege, device)
