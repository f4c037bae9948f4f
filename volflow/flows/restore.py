"""The flow that restores one volume."""

from __future__ import annotations

from taskflow.patterns import linear_flow

from volflow.flows.volume import volume_flow
from volflow.plans.restore_target import Destination, RestoreTarget
from volflow.results.options import Overwrite, RestoreOptions
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Dispose, Step
from volflow.tasks.claim import Claim
from volflow.tasks.device import Device, Flush
from volflow.tasks.filesystem import MakeFileSystem, ProbeTarget
from volflow.tasks.group import Join, RestoredGroup
from volflow.tasks.images import RestoreImages
from volflow.tasks.merge import ChooseFiles, MergeData, VerifyMerged
from volflow.tasks.mount import Mount, Unmount
from volflow.tasks.new_volume import CopiedVolume, KeepVolume, MemberVolume, NewVolume
from volflow.tasks.properties import (
    ApplyProperties,
    Compare,
    CompareJoined,
    CompareMember,
    KeepProperties,
)
from volflow.tasks.restore import RestoreData
from volflow.tasks.safety_snapshot import Keep, SafetySnapshot
from volflow.tasks.slot import AcquireSlot, ReleaseSlot
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.verify import Verify
from volflow.tasks.work import Work


def restore_flow(
    work: Work,
    target: RestoreTarget,
    options: RestoreOptions,
    group: RestoredGroup | None = None,
) -> linear_flow.Flow:
    """The flow for the destination that the plan has chosen.

    :param group: the group that the volume joins, if any
    """
    way = {Destination.NEW: _to_new, Destination.IN_PLACE: _in_place, Destination.COPY: _to_copy}[
        target.destination
    ]
    steps = way(work, target, options, group)
    if group:
        # The volumes of a group run as one flow, but only a limited number in parallel.
        steps = [AcquireSlot(work), *steps, ReleaseSlot(work)]
    return volume_flow(work, "restore").add(*steps)


def _to_new(
    work: Work, target: RestoreTarget, options: RestoreOptions, group: RestoredGroup | None
) -> list[Step]:
    """Create a volume like the one in the backup and fill it; a failure deletes it."""
    manifest = target.manifest.mapped(options.type_map, options.az_map)
    volume = MemberVolume(work, manifest, group) if group else NewVolume(work, manifest)
    properties = ApplyProperties(work, target.manifest, options.overrides)
    return [
        volume,
        *_copy(work, target, options),
        properties,
        _compare(work, target, group, applied=True),
        KeepVolume(volume),
        KeepProperties(properties),
    ]


def _in_place(
    work: Work, target: RestoreTarget, options: RestoreOptions, group: RestoredGroup | None
) -> list[Step]:
    """Fill an existing volume; a failure reverts it to its safety snapshot."""
    assert target.overwritten is not None
    claim, safety = Claim(work, target.overwritten), SafetySnapshot(work)
    applied, kept = _override(work, target, options)
    if group:
        # A volume joins its group only when the restored data stays.
        joined = CompareJoined(work, target.manifest, group, applied=bool(applied))
        before, after = [], [Join(work, group), joined]
    else:
        before, after = [_compare(work, target, None, applied=bool(applied))], []
    return [
        claim,
        safety,
        *_copy(work, target, options, safety),
        *applied,
        *before,
        Keep(safety),
        *kept,
        *after,
        Dispose(safety),
        Dispose(claim),
    ]


def _to_copy(
    work: Work, target: RestoreTarget, options: RestoreOptions, group: RestoredGroup | None
) -> list[Step]:
    """Copy an attached volume and fill the copy; a failure deletes the copy."""
    assert target.existing is not None
    snapshot = Snapshot(work, target.existing["id"])
    volume = CopiedVolume(work, target.manifest, target.existing)
    applied, kept = _override(work, target, options)
    return [
        snapshot,
        volume,
        *_copy(work, target, options),
        *applied,
        _compare(work, target, group, applied=bool(applied)),
        KeepVolume(volume),
        *kept,
        Dispose(snapshot),
    ]


def _compare(
    work: Work, target: RestoreTarget, group: RestoredGroup | None, *, applied: bool
) -> Compare:
    if group:
        return CompareMember(work, target.manifest, group, applied=applied)
    old, was = target.replaced, target.manifest.group
    beside = bool(old and was and old.get("group_id") == was["id"])
    return Compare(work, target.manifest, applied=applied, beside=beside)


def _override(
    work: Work, target: RestoreTarget, options: RestoreOptions
) -> tuple[list[Step], list[Step]]:
    """The steps that set the backup's properties on an existing volume, if requested.

    :returns: the steps before the data is kept, and those after it
    """
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
    file_system: Step
    # A new volume has no files to keep.
    merge = options.merges and target.destination is not Destination.NEW
    disk = target.manifest.disk
    if merge:
        # The plan allows it only where the files of one file system are the whole backup.
        wanted = disk.regions[0].file_system
        assert wanted is not None
        file_system = ProbeTarget(work, safety, wanted)
    else:
        file_system = MakeFileSystem(
            work,
            disk,
            grow=options.grow,
            safety=safety,
            new=target.destination is Destination.NEW,
        )
    copied = (work, target.backup.id, target.manifest)
    images: list[Step] = []
    if disk.images:
        images = [RestoreImages(*copied, grow=options.grow, verify=options.verified)]
    choose: list[Step] = []
    copy: Step = RestoreData(*copied, over=merge)
    verify: Step = Verify(*copied)
    if merge and options.overwrite is not Overwrite.ALWAYS:
        choose = [ChooseFiles(*copied, overwrite=options.overwrite)]
        copy = MergeData(*copied, overwrite=options.overwrite, keep_extra=options.keep_extra)
        verify = VerifyMerged(*copied, overwrite=options.overwrite)
    return [
        attachment,
        device,
        file_system,
        *images,
        mount,
        *choose,
        copy,
        Unmount(mount, strict=True),
        *([verify] if options.verified else []),
        Flush(device),
        Dispose(attachment),
    ]
