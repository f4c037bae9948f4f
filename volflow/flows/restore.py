"""The way of one volume out of the repository."""

from __future__ import annotations

from taskflow.patterns import linear_flow

from volflow.flows.volume import volume_flow
from volflow.restore_plan import Destination, RestoreOptions, RestoreTarget
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Dispose, Step
from volflow.tasks.device import Device, Flush
from volflow.tasks.filesystem import MakeFileSystem, ProbeTarget
from volflow.tasks.mount import Mount, Unmount
from volflow.tasks.properties import ApplyProperties, Compare, KeepProperties
from volflow.tasks.restore import RestoreData
from volflow.tasks.safety import Keep, SafetySnapshot
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.target import Claim, CopiedVolume, KeepVolume, NewVolume
from volflow.tasks.work import Work


def restore_flow(work: Work, target: RestoreTarget, options: RestoreOptions) -> linear_flow.Flow:
    """The way to where the plan has decided."""
    way = {Destination.NEW: _to_new, Destination.IN_PLACE: _in_place, Destination.COPY: _to_copy}[
        target.destination
    ]
    return volume_flow(work, "restore").add(*way(work, target, options))


def _to_new(work: Work, target: RestoreTarget, options: RestoreOptions) -> list[Step]:
    """Make a volume like the one backed up and fill it; a failure deletes it."""
    volume = NewVolume(work, target.manifest)
    properties = ApplyProperties(work, target.manifest, options.meta_override)
    return [
        volume,
        *_copy(work, target, options),
        properties,
        Compare(work, target.manifest, applied=True),
        KeepVolume(volume),
        KeepProperties(properties),
    ]


def _in_place(work: Work, target: RestoreTarget, options: RestoreOptions) -> list[Step]:
    """Fill a volume that is there; a failure brings back what it held before."""
    assert target.overwritten is not None
    claim, safety = Claim(work, target.overwritten), SafetySnapshot(work)
    applied, kept = _override(work, target, options)
    return [
        claim,
        safety,
        *_copy(work, target, options, safety),
        *applied,
        Compare(work, target.manifest, applied=bool(applied)),
        Keep(safety),
        *kept,
        Dispose(safety),
        Dispose(claim),
    ]


def _to_copy(work: Work, target: RestoreTarget, options: RestoreOptions) -> list[Step]:
    """Copy a volume that is attached and fill the copy; a failure deletes the copy."""
    assert target.existing is not None
    snapshot = Snapshot(work, target.existing["id"])
    volume = CopiedVolume(work, target.manifest, target.existing)
    applied, kept = _override(work, target, options)
    return [
        snapshot,
        volume,
        *_copy(work, target, options),
        *applied,
        Compare(work, target.manifest, applied=bool(applied)),
        KeepVolume(volume),
        *kept,
        Dispose(snapshot),
    ]


def _override(
    work: Work, target: RestoreTarget, options: RestoreOptions
) -> tuple[list[Step], list[Step]]:
    """The steps that give the backup's properties to a volume that is there, if that is asked."""
    if options.meta_override is None:
        return [], []
    properties = ApplyProperties(work, target.manifest, options.meta_override)
    return [properties], [KeepProperties(properties)]


def _copy(
    work: Work,
    target: RestoreTarget,
    options: RestoreOptions,
    safety: SafetySnapshot | None = None,
) -> list[Step]:
    attachment, device = Attachment(work), Device(work)
    mount = Mount(work, read_only=False)
    region = target.manifest.regions[0]
    file_system: Step
    if options.keep_newer:
        file_system = ProbeTarget(work, safety)
    else:
        size = None if options.grow else region.size
        file_system = MakeFileSystem(work, region.file_system, size=size, safety=safety)
    return [
        attachment,
        device,
        file_system,
        mount,
        RestoreData(
            work,
            target.backup.id,
            target.manifest,
            verify=options.verify,
            over=options.keep_newer,
        ),
        Unmount(mount, strict=True),
        Flush(device),
        Dispose(attachment),
    ]
