"""Mounts the file systems of a volume in a mount namespace of its own while they are copied."""

from __future__ import annotations

import logging
from typing import Any

from volflow.disk import durable
from volflow.disk.regions import Disk, DiskRegion, MappedRegions, mapped
from volflow.errors import HostError, NoProgressError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.tasks.base import Step
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


def mapped_regions(work: Work) -> MappedRegions:
    """The block devices of the regions that are mounted.

    :raises HostError: none is mounted
    """
    if work.mapped is None:
        raise HostError("The volume is not mounted.")
    return work.mapped


class Mount(Step):
    """Mounts the file system of each region; its revert unmounts it.

    The ledger does not list mounts: the namespace ends with this process, and the mount with it.
    """

    step = "mount"
    host_local = True

    def __init__(self, work: Work, *, read_only: bool) -> None:
        super().__init__(work)
        self._read_only = read_only

    def execute(self, device: str, disk: dict[str, Any]) -> None:
        found = Disk.from_dict(disk)
        self.open(device, found)
        for region in found.trees:
            self.mount(region)

    def open(self, device: str, disk: Disk) -> None:
        """Start a namespace, and map the regions that are stored as files."""
        self.unmount()
        host = self.services.host
        self.work.namespace = host.namespace()
        self.work.mapped = MappedRegions(
            host.privilege, device, disk.trees, read_only=False, sector_size=disk.sector_size
        )

    def mount(self, region: DiskRegion) -> None:
        """Mount the file system of one region.

        :raises HostError: it cannot be mounted
        """
        namespace, maps = mounted(self.work), mapped_regions(self.work)
        assert region.file_system is not None
        namespace.mount(
            maps.of(region),
            namespace.root / region.path,
            region.file_system.type,
            region.file_system.mount_options(read_only=self._read_only),
        )

    def unmount(self, *, written: str = "") -> None:
        """Unmount and end the namespace, if one is open.

        :param written: the device, if all that was written to it must be durable
        :raises HostError: the file system stays busy, or its data could not be written
        """
        work = self.work
        namespace, work.namespace = work.namespace, None
        maps, work.mapped = work.mapped, None
        try:
            if namespace is not None:
                try:
                    if written:
                        durable.unmount(namespace, *(maps.paths if maps else ()), written)
                    else:
                        namespace.unmount()
                finally:
                    namespace.close()
        finally:
            if maps is not None:
                maps.close()

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

    def execute(self, device: str, disk: dict[str, Any]) -> None:
        if not self._strict:
            self._mount.revert()
            return
        self._mount.unmount(written=device)
        privilege, found = self.services.host.privilege, Disk.from_dict(disk)
        with mapped(
            privilege, device, found.trees, read_only=False, sector_size=found.sector_size
        ) as maps:
            for region in found.trees:
                self._settle(privilege, region, maps.of(region))
        durable.settle_device(privilege, device)

    def _settle(self, privilege: Privilege, region: DiskRegion, device: str) -> None:
        """Remove from a file system what this host has written into its superblock."""
        assert region.file_system is not None
        try:
            region.file_system.settle(privilege, device)
        except NoProgressError:
            raise
        except HostError as error:
            # The files are there. The tools refuse features that only the kernel knows.
            Remark.LAST_MOUNT.of(
                self.work, f"the file system still says where this host mounted it: {error}"
            )
        durable.settle_device(privilege, device)
