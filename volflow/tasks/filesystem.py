"""The file system on the volume: probed before a backup, made before a restore."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

from volflow.disk import boot_sector, durable, filesystem, signatures
from volflow.disk.filesystem import FileSystem
from volflow.disk.growing import grown
from volflow.disk.inspection import Inspector
from volflow.disk.layout import Role
from volflow.disk.regions import Disk, DiskRegion, mapped, whole
from volflow.disk.rehearsal import Fit
from volflow.errors import DiskError, HostError, StoppedError
from volflow.movers.stall import StallGuard
from volflow.tasks.base import Step
from volflow.tasks.claim import Claim
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.remarks import Remark
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# Regions that a remark names. The others hold no file system anyway.
_TOLD = (Role.WHOLE, Role.PARTITION, Role.VOLUME)
# mkfs leaves a remainder that is too small for a group of its own unused.
_REMAINDER = 64 * 1024**2


def _overwriting(safety: SafetySnapshot, volume_id: str, attachment_id: str) -> None:
    """Begin to overwrite an existing volume, unless somebody else may write to it."""
    Claim.require_alone(safety.work, volume_id, attachment_id)
    safety.overwriting(volume_id)


def remark_images(work: Work, disk: Disk) -> None:
    """Tell which regions are stored as images, and why, if that is not obvious."""
    told = [
        f"{region}{f' because {region.why}' if region.why else ''}"
        for region in disk.images
        if region.part.role in _TOLD or region.why
    ]
    if told:
        Remark.IMAGES.of(work, f"stored as an image, not as files: {'; '.join(told)}")


class Probe(Step):
    """Finds what is on the volume, and decides what is stored as files. Makes nothing."""

    step = "probe"
    default_provides = "disk"

    def execute(self, device: str) -> dict[str, Any]:
        services, host = self.services, self.services.host
        inspector = Inspector(host.privilege, services.rehearsal, services.choice)
        found = inspector.inspect(device, host.device_size(device))
        for remark, texts in (
            (Remark.MARKS, found.decided),
            (Remark.ERRORS, found.errors),
            (Remark.FEATURES, found.left_out),
        ):
            if texts:
                remark.of(self.work, "; ".join(texts))
        now, last = found.disk.identity, services.file_systems.get(self.work.volume_id)
        if last and last != now:
            Remark.FILE_SYSTEM.of(
                self.work,
                f"the file system has the UUID {now}, and that of the last backup has {last}: was "
                "the volume formatted meanwhile?"
                if now and len(found.disk.regions) == 1
                else "the volume has other file systems than at the last backup: was it formatted "
                "meanwhile?",
            )
        return found.disk.to_dict()


class ProbeTarget(Step):
    """Finds which file system is on the volume that a restore merges into.

    :param safety: the safety snapshot, if the volume is an existing one; None for a copy of it
    :param file_system: the file system in the backup
    """

    step = "probe"
    default_provides = "disk"

    def __init__(self, work: Work, safety: SafetySnapshot | None, file_system: FileSystem) -> None:
        super().__init__(work)
        self._safety, self._file_system = safety, file_system

    def execute(self, device: str, clone_id: str, attachment_id: str) -> dict[str, Any]:
        found = filesystem.probe(self.services.host.privilege, device)
        if self._safety:
            _overwriting(self._safety, clone_id, attachment_id)
            what = f"{found.type} with the UUID {found.uuid}"
            _remark_other(self.work, clone_id, self._file_system, what, found.uuid)
        room = self.services.host.device_size(device)
        if found.size and found.size + _REMAINDER < room:
            Remark.SIZE.of(
                self.work,
                f"the file system keeps its size of {_mib(found.size)}, and the volume has "
                f"{_mib(room)}",
            )
        return whole(found, room).to_dict()


class MakeFileSystem(Step):
    """Makes the file systems of the backup on the target. The previous content is lost.

    This step has nothing to revert: other steps delete a new volume, and revert an existing one to
    its safety snapshot.

    Its result has the differences between the file system in the backup and the new one too.

    :param disk: what was on the volume
    :param grow: whether the file system fills the volume; else it keeps its size
    :param safety: the safety snapshot, if the target is an existing volume
    :param new: whether this run has made the volume, empty
    """

    step = "make file system"
    default_provides = "disk"

    def __init__(
        self,
        work: Work,
        disk: Disk,
        *,
        grow: bool = False,
        safety: SafetySnapshot | None = None,
        new: bool = False,
    ) -> None:
        super().__init__(work)
        self._disk, self._safety = disk, safety
        self._grow, self._new = grow, new

    def execute(self, device: str, clone_id: str, attachment_id: str) -> dict[str, Any]:
        if self._new:
            self._require_blank(device, clone_id)
        if self._safety:
            _overwriting(self._safety, clone_id, attachment_id)
            found = signatures.describe(self.services.host.privilege, device)
            if len(self._disk.regions) == 1 and (backup := self._disk.regions[0].file_system):
                _remark_other(self.work, clone_id, backup, *found)
        host = self.services.host
        room = host.device_size(device)
        disk = grown(self._disk, room).disk if self._grow else self._disk
        regions, differences = list(disk.regions), []
        with mapped(
            *(host.privilege, device, disk.trees), read_only=False, sector_size=disk.sector_size
        ) as maps:
            for region in disk.trees:
                made, different = self._make_region(region, maps.of(region), room)
                regions[region.number] = made
                differences += different
            for path in maps.paths:
                durable.settle_device(host.privilege, path)
        return Disk(disk.layout, tuple(regions)).to_dict() | {"differences": differences}

    def _make_region(
        self, region: DiskRegion, device: str, room: int
    ) -> tuple[DiskRegion, list[dict[str, Any]]]:
        """Make the file system of a region.

        :param device: the block device of the region
        :param room: bytes of the whole device
        :returns: the region as it is now, and what differs
        """
        alone, wanted = region.part.role is Role.WHOLE, region.file_system
        assert wanted is not None
        was = self._disk.regions[region.number].size
        room = room if alone else region.size
        size = wanted.size_on(room, was=was, grow=self._grow and (alone or room > was))
        if alone:
            self._remark_size(size, room)
        try:
            fit = self.services.rehearsal.fit(wanted, size)
        except HostError as error:
            LOG.warning("It is tried on the device, because it could not be rehearsed: %s", error)
            fit = Fit(wanted)
        made = self._make(fit.file_system, device, size)
        if region.boot_sector:
            boot_sector.write(self.services.host.privilege, device, region.boot_sector)
        name = "file system" if alone else f"file system of {region}"
        differences = [
            {"name": f"{name}: {key}", "was": was, "now": now, "why": _why(fit, key)}
            for key, (was, now) in wanted.differences(made).items()
        ]
        return replace(region, file_system=made), differences

    def _require_blank(self, device: str, volume_id: str) -> None:
        """Make sure that nothing is on the new volume but what this step has written.

        :raises DiskError: something is on it
        """
        ledger, tag = self.services.ledger, self.work.tag(NewVolume.kind)
        entry = ledger.find(tag)
        details = entry.details if entry else {}
        if details.get("formatted") == volume_id:
            return  # a killed process was about to make the file system
        what, _ = signatures.describe(self.services.host.privilege, device)
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

    def _remark_size(self, size: int, room: int) -> None:
        """Tell of a file system that does not fill the volume.

        :param size: bytes of the file system
        :param room: bytes of the device
        """
        if size + _REMAINDER < room:
            Remark.SIZE.of(
                self.work,
                f"the file system keeps its size of {_mib(size)}, and the volume has {_mib(room)}; "
                "--grow makes it fill the volume",
            )

    def _make(self, file_system: FileSystem, device: str, size: int) -> FileSystem:
        """Make it, unless the run is asked to stop in the meantime: a resume starts again.

        :raises StoppedError: the run was asked to stop
        """
        services = self.services
        namespace = services.host.namespace()
        try:
            with StallGuard(services.stopping, math.inf).watching(namespace.close):
                return file_system.make(namespace, device, size)
        except HostError as error:
            if services.stopping.is_set():
                raise StoppedError("Stopped while making a file system.") from error
            raise
        finally:
            namespace.close()


def _why(fit: Fit, name: str) -> str:
    """Why a value of a new file system is not that of the backup."""
    for each in (name, name.rpartition(".")[2]):
        if each in fit.left_out:
            return f"'{each}' ({fit.left_out[each]})"
    return str(fit) if fit.left_out and "eature" in name else "mkfs cannot set it"


def _remark_other(work: Work, volume_id: str, backup: FileSystem, what: str, uuid: str) -> None:
    """Tell if the volume of the backup had another file system meanwhile.

    :param volume_id: the volume that is restored into; of another one nothing else is expected
    """
    if volume_id == work.volume_id and uuid != backup.uuid:
        Remark.FILE_SYSTEM.of(
            work,
            f"before the restore the volume had {what or 'no file system'}, and the backup has "
            f"{backup.type} with the UUID {backup.uuid}: was the volume formatted meanwhile?",
        )


def _mib(size: int) -> str:
    return f"{size / 1024**3:.4g} GiB" if size >= 1024**3 else f"{size / 1024**2:.4g} MiB"
