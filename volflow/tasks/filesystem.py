"""The file system on the volume: probed before a backup, made before a restore."""

from __future__ import annotations

import math
from typing import Any

from volflow.disk import filesystem
from volflow.disk.filesystem import FileSystem
from volflow.errors import DiskError, HostError, StoppedError
from volflow.movers.stall import StallGuard
from volflow.tasks.base import Step
from volflow.tasks.claim import Claim
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.remarks import Remark
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.work import Work

# mkfs leaves a remainder that is too small for a group of its own unused.
_REMAINDER = 64 * 1024**2


def _overwriting(safety: SafetySnapshot, volume_id: str, attachment_id: str) -> None:
    """Begin to overwrite an existing volume, unless somebody else may write to it."""
    Claim.require_alone(safety.work, volume_id, attachment_id)
    safety.overwriting(volume_id)


def found_file_systems(stored: dict[str, Any]) -> list[FileSystem]:
    """The file systems of a volume, in the order of its regions, from the result of a step.

    :param stored: one file system as a dictionary; volflow supports only one per volume so far
    """
    return [FileSystem(**stored)]


class Probe(Step):
    """Finds which file system is on the volume. Makes nothing."""

    step = "probe"
    default_provides = "file_system"

    def execute(self, device: str) -> dict[str, Any]:
        found = filesystem.probe(self.services.host.privilege, device)
        last = self.services.file_systems.get(self.work.volume_id)
        if last and last != found.uuid:
            Remark.FILE_SYSTEM.of(
                self.work,
                f"the file system has the UUID {found.uuid}, and that of the last backup has "
                f"{last}: was the volume formatted meanwhile?",
            )
        return found.to_dict()


class ProbeTarget(Step):
    """Finds which file system is on the volume that a restore merges into.

    :param safety: the safety snapshot, if the volume is an existing one; None for a copy of it
    :param file_system: the file system in the backup
    """

    step = "probe"
    default_provides = "file_system"

    def __init__(self, work: Work, safety: SafetySnapshot | None, file_system: FileSystem) -> None:
        super().__init__(work)
        self._safety, self._file_system = safety, file_system

    def execute(self, device: str, clone_id: str, attachment_id: str) -> dict[str, Any]:
        found = filesystem.probe(self.services.host.privilege, device)
        if self._safety:
            _overwriting(self._safety, clone_id, attachment_id)
            what = f"{found.type} with the UUID {found.uuid}"
            _remark_other(self.work, self._file_system, what, found.uuid)
        room = self.services.host.device_size(device)
        if found.size and found.size + _REMAINDER < room:
            Remark.SIZE.of(
                self.work,
                f"the file system keeps its size of {_mib(found.size)}, and the volume has "
                f"{_mib(room)}",
            )
        return found.to_dict()


class MakeFileSystem(Step):
    """Makes the file system of the backup on the target. The previous content is lost.

    This step has nothing to revert: other steps delete a new volume, and revert an existing one to
    its safety snapshot.

    :param size: maximum size in bytes; that of the device by default
    :param was: size of the volume in the backup, in bytes
    :param safety: the safety snapshot, if the target is an existing volume
    :param new: whether this run has made the volume, empty
    """

    step = "make file system"
    default_provides = "file_system"

    def __init__(
        self,
        work: Work,
        file_system: FileSystem,
        *,
        size: int | None = None,
        was: int = 0,
        safety: SafetySnapshot | None = None,
        new: bool = False,
    ) -> None:
        super().__init__(work)
        self._file_system, self._size, self._safety = file_system, size, safety
        self._was, self._new = was, new

    def execute(self, device: str, clone_id: str, attachment_id: str) -> dict[str, Any]:
        if self._new:
            self._require_blank(device, clone_id)
        if self._safety:
            _overwriting(self._safety, clone_id, attachment_id)
            found = filesystem.signature(self.services.host.privilege, device)
            _remark_other(self.work, self._file_system, *found)
        room = self.services.host.device_size(device)
        size = self._size if self._size and self._size < room else None
        self._remark_size(size, room)
        self._make(device, size)
        return self._file_system.to_dict()

    def _require_blank(self, device: str, volume_id: str) -> None:
        """Make sure that nothing is on the new volume but what this step has written.

        :raises DiskError: something is on it
        """
        ledger, tag = self.services.ledger, self.work.tag(NewVolume.kind)
        entry = ledger.find(tag)
        details = entry.details if entry else {}
        if details.get("formatted") == volume_id:
            return  # a killed process was about to make the file system
        what, _ = filesystem.signature(self.services.host.privilege, device)
        if what:
            raise DiskError(
                f"The new volume {volume_id} should be blank, but its device {device} has {what}: "
                "it may be another volume, or its storage does not erase deleted volumes. Nothing "
                "was written to it. Find out which volume the device is, then restore again."
            )
        ledger.intend(
            tag,
            run_id=self.services.run_id,
            item=self.work.volume_id,
            kind=NewVolume.kind,
            details={**details, "formatted": volume_id},
        )

    def _remark_size(self, size: int | None, room: int) -> None:
        """Tell of a file system that gets another size, or does not fill the volume.

        :param size: the size to make; None to fill the volume
        :param room: size of the device
        """
        fills, before = size or room, self._file_system.size
        if size and size + _REMAINDER < room:
            Remark.SIZE.of(
                self.work,
                f"the file system keeps its size of {_mib(size)}, and the volume has {_mib(room)}; "
                "--grow makes it fill the volume",
            )
        elif before and before + _REMAINDER < min(self._was, fills):
            Remark.SIZE.of(
                self.work,
                f"the file system had {_mib(before)} in a volume of {_mib(self._was)}; it now has "
                f"{_mib(fills)}",
            )

    def _make(self, device: str, size: int | None) -> None:
        """Make it, unless the run is asked to stop in the meantime: a resume starts again.

        :raises StoppedError: the run was asked to stop
        """
        services = self.services
        namespace = services.host.namespace()
        try:
            with StallGuard(services.stopping, math.inf).watching(namespace.close):
                self._file_system.make(namespace, device, size)
        except HostError as error:
            if services.stopping.is_set():
                raise StoppedError("Stopped while making a file system.") from error
            raise
        finally:
            namespace.close()


def _remark_other(work: Work, backup: FileSystem, what: str, uuid: str) -> None:
    """Tell if another file system was on the volume than the one in the backup."""
    if uuid != backup.uuid:
        Remark.FILE_SYSTEM.of(
            work,
            f"before the restore the volume had {what or 'no file system'}, and the backup has "
            f"{backup.type} with the UUID {backup.uuid}: was the volume formatted meanwhile?",
        )


def _mib(size: int) -> str:
    return f"{size / 1024**3:.4g} GiB" if size >= 1024**3 else f"{size / 1024**2:.4g} MiB"
