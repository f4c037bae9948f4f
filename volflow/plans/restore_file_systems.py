"""Whether this host can create the file systems of a restore."""

from __future__ import annotations

from collections.abc import Sequence

from volflow.disk.growing import grown
from volflow.disk.layout import Role
from volflow.disk.rehearsal import Rehearsal
from volflow.errors import DiskError, HostError, VolflowError
from volflow.plans.restore_target import Destination, RestoreTarget
from volflow.results.options import RestoreOptions

_GIB = 1024**3


def rehearse(
    rehearsal: Rehearsal, targets: Sequence[RestoreTarget], options: RestoreOptions
) -> tuple[list[RestoreTarget], dict[str, VolflowError], list[str]]:
    """Try whether this host can create the file system of each target.

    :returns: the targets to restore; why each other backup cannot be restored, by its id; and what
        a person should know
    """
    found: list[RestoreTarget] = []
    refused: dict[str, VolflowError] = {}
    notes: list[str] = []
    for target in targets:
        # An existing file system that keeps some of its files is not created.
        if options.merges and target.destination is not Destination.NEW:
            found.append(target)
            continue
        name = target.manifest.volume["name"] or target.manifest.volume_id
        try:
            left_out = _left_out(rehearsal, target, options)
        except DiskError as error:
            refused[target.backup.id] = DiskError(
                f"Backup {target.backup.id[:8]} of {name}: {error} --to-path extracts its files."
            )
            continue
        except HostError as error:
            notes.append(f"Whether this host can create the file systems is unknown: {error}")
            left_out = []
        notes += [f"The file system of {name} is created without {each}." for each in left_out]
        found.append(target)
    # What is unknown is unknown of all of them.
    return found, refused, list(dict.fromkeys(notes))


def _left_out(rehearsal: Rehearsal, target: RestoreTarget, options: RestoreOptions) -> list[str]:
    room = target.created_size(options).gib * _GIB
    if target.destination is Destination.IN_PLACE and target.existing:
        room = int(target.existing["size"]) * _GIB
    left_out = []
    disk = target.manifest.disk
    disk = grown(disk, room).disk if options.grow else disk
    for region in disk.trees:
        assert region.file_system is not None
        was = target.manifest.regions[region.number].size
        alone = region.part.role is Role.WHOLE
        given = room if alone else region.size
        grow = options.grow and (alone or given > was)
        size = region.file_system.size_on(given, was=was, grow=grow)
        fit = rehearsal.fit(region.file_system, size)
        left_out += [str(fit)] if fit.left_out else []
    return left_out
