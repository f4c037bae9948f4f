"""Flags, project ids and birth times of a volume's files, in its backup and after a restore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from volflow.disk import attributed
from volflow.disk.attributed import Applied, Collected
from volflow.host.namespace import MountNamespace
from volflow.printable import bounded
from volflow.repositories.attributes import file_of, not_set
from volflow.repositories.manifest import Manifest, Region
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

# The number of encrypted directories that count as unread one by one.
_UNREAD = 10_000
# The number of paths to name, and characters of one.
_SHOWN, _LONGEST = 5, 300


def collected(
    namespace: MountNamespace, regions: Sequence[Region]
) -> tuple[tuple[Region, ...], tuple[Collected, ...]]:
    """Collect the attributes of mounted regions. Images have none.

    :returns: the regions as the manifest describes them, and what was found in each
    """
    found = tuple(_collected(namespace, region) for region in regions)
    described = tuple(
        replace(
            region,
            attributes=dict(one.counts),
            sparse=one.visible(region.sparse),
            sockets=one.visible(region.sockets),
        )
        for region, one in zip(regions, found, strict=True)
    )
    return described, found


def _collected(namespace: MountNamespace, region: Region) -> Collected:
    if region.file_system is None:
        return Collected()
    place, target = namespace.root / region.path, namespace.root / file_of(region)
    return attributed.collect(namespace, place, target, region.file_system)


def files(regions: Sequence[Region]) -> list[Path]:
    """The files with the attributes of regions, which are stored too."""
    return [file_of(region) for region in regions if not region.is_image]


def unread(manifest: Manifest, found: Sequence[Collected]) -> tuple[str, ...]:
    """The paths in the volume of encrypted directories, as those of unread directories."""
    return tuple(f"{path.rstrip('/')}/" for path in _encrypted(manifest, found)[:_UNREAD])


def _encrypted(manifest: Manifest, found: Sequence[Collected]) -> list[str]:
    return [
        manifest.in_volume(f"{region.path}/{path}")
        for region, one in zip(manifest.regions, found, strict=True)
        for path in one.encrypted
    ]


def tell_left_out(work: Work, manifest: Manifest, found: Sequence[Collected]) -> None:
    """Remark what is not in the backup."""
    encrypted = _encrypted(manifest, found)
    if encrypted:
        shown = [bounded(path, _LONGEST) for path in encrypted[:_SHOWN]]
        more = f" and {len(encrypted) - _SHOWN:,} more" if len(encrypted) > _SHOWN else ""
        Remark.ENCRYPTED.of(
            work,
            "These directories are not in the backup, because the guest encrypts them (fscrypt), "
            f"and neither names nor contents can be read without its key: {', '.join(shown)}"
            f"{more}. Back them up in the guest.",
        )
    births, flags = (
        sum(one.left_out.get(what, 0) for one in found) for what in ("births", "flags")
    )
    lacks = [f"the birth times of {births:,} files"] if births else []
    lacks += [f"flags and project ids of {flags:,} files"] if flags else []
    if lacks:
        Remark.ATTRIBUTES.of(
            work,
            f"Not in the backup: {' and '.join(lacks)}, because there are too many for the memory "
            "of this host.",
        )


def tell_not_set(work: Work, applied: Sequence[Applied]) -> None:
    """Remark which flags and project ids could not be set."""
    if said := not_set(applied):
        Remark.ATTRIBUTES.of(work, said)
