"""Mounts the temporary volume of a backup, and prepares what the backup reads again."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import Any

from volflow.disk import touching
from volflow.disk.mapping import Mapping
from volflow.disk.regions import Disk, DiskRegion
from volflow.disk.survey import Survey, survey
from volflow.errors import DiskError, HostError, NoProgressError
from volflow.repositories.increment import Increment
from volflow.tasks.filesystem import remark_images
from volflow.tasks.mount import Mount, mapped_regions, mounted
from volflow.tasks.remarks import Remark
from volflow.tasks.temporary_volume import TemporaryVolume

LOG = logging.getLogger(__name__)

# The program must not depend on installed packages or on the environment.
_TOUCH = (sys.executable, "-I", "-S", touching.__file__)


class MountClone(Mount):
    """Mounts the temporary volume read-only; its revert unmounts it.

    If the parent of the backup may have an older state of some files with the same times, these
    files get another ctime first, so that they are read. For that the volume is writable for a
    moment. It is never another volume than the one that this run has made from its snapshot, and
    will delete.
    """

    def __init__(self, volume: TemporaryVolume) -> None:
        super().__init__(volume.work, read_only=True)
        self._volume = volume

    def execute(  # type: ignore[override]
        self,
        device: str,
        disk: dict[str, Any],
        snapshot: dict[str, Any],
        clone_id: str,
        description: dict[str, Any],
    ) -> None:
        found = Disk.from_dict(disk).on(self.services.host.device_size(device))
        self.open(device, found)
        name = description["volume"]["name"] or self.work.volume_id
        increment = self.work.plan_increment(snapshot, found.identity)
        surveys: dict[int, Survey] = {}
        regions = []
        for region in found.regions:
            if not region.is_image:
                try:
                    surveys[region.number] = self._survey(region, increment)
                except NoProgressError:
                    raise
                except (DiskError, HostError) as error:
                    region = region.as_image(str(error))
            regions.append(region)
        found = Disk(found.layout, tuple(regions))
        for region in found.trees:
            seen = surveys[region.number]
            if not seen.unsettled:
                continue
            try:
                unread = self._touch(region, seen, clone_id)
                LOG.info("%s: %s", name, read_again(len(seen.unsettled), unread))
            except NoProgressError:
                raise
            except HostError as error:
                LOG.info("The files of %s get no other ctime: %s", name, error)
                Remark.FULL_READ.of(
                    self.work,
                    "all files were read, not only those that changed since the last backup: "
                    f"some changed so near to it that their times may not show a later change, "
                    f"and the file system cannot be made writable on this host ({error})",
                )
                increment = increment.full()
        # Only their number matters from here on.
        settled = tuple(replace(surveys[one.number], unsettled=()) for one in found.trees)
        self.work.increment = replace(increment, surveys=settled)
        self.work.disk = found
        remark_images(self.work, found)

    def _survey(self, region: DiskRegion, increment: Increment) -> Survey:
        """Mount a region and look at its files; if that fails, it is not mounted.

        :raises HostError: it cannot be mounted
        :raises DiskError: its files cannot be gone through
        """
        self._try(region)
        self.mount(region)
        namespace = mounted(self.work)
        tree = namespace.root / region.path
        try:
            return survey(namespace, tree, until=increment.clocks_until, window=increment.window)
        except (DiskError, HostError):
            namespace.unmount(tree)
            raise

    def _try(self, region: DiskRegion) -> None:
        """Mount a region without its journal, of a device that cannot be written to.

        A mount that fails may have changed the device, and its image must be exact.

        :raises HostError: it cannot be mounted
        """
        namespace, kind = mounted(self.work), region.file_system
        assert kind is not None
        device = mapped_regions(self.work).of(region)
        tree = namespace.root / region.path
        with Mapping(
            *(self.services.host.privilege, device, [(0, region.size)]), read_only=True
        ) as looked:
            namespace.mount(looked.paths[0], tree, kind.type, kind.look_options)
            namespace.unmount(tree)

    def _touch(self, region: DiskRegion, seen: Survey, clone_id: str) -> int:
        """Give the unsettled files of the temporary volume another ctime.

        :returns: the number of those that cannot be opened
        :raises HostError: that is not possible; the volume is read-only again
        """
        entry = self.services.ledger.find(self._volume.tag)
        if entry is None or entry.resource_id != clone_id:
            raise HostError(f"volume {clone_id} is not the temporary volume of this run")
        namespace, device = mounted(self.work), mapped_regions(self.work).of(region)
        kind, tree = region.file_system, namespace.root / region.path
        assert kind is not None
        writable = [*kind.mount_options(read_only=False), "noatime"]
        try:
            if kind.guarded:
                # It looks as if the guest used it: the kernel would wait whether it still does.
                namespace.unmount(tree)
                kind.unguard(namespace, device)
                namespace.mount(device, tree, kind.type, writable)
            else:
                namespace.remount(device, tree, kind.type, writable)
            unread = namespace.run(
                *_TOUCH, tree, stdin="".join(f"{path}\0" for path in seen.unsettled)
            )
        finally:
            again = namespace.remount if tree in namespace.mounted else namespace.mount
            again(device, tree, kind.type, kind.mount_options(read_only=True))
        return unread.count("\0")


def read_again(count: int, unread: int) -> str:
    """What a backup tells of the files that it reads although they look unchanged.

    :param unread: how many of them cannot be opened
    """
    files = "1 file" if count == 1 else f"{count:,} files"
    lacks = f"; {unread:,} of them cannot be opened" if unread else ""
    return f"reads {files} again, which changed shortly before or after the last backup{lacks}"
