"""Disks of the gallery that are backed up and restored together."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gallery.catalogue import missing
from tests.gallery.exhibit import FILES, IMAGE, Exhibit, Region
from tests.support import tree
from tests.support.cloud import run
from tests.support.site import Site
from volflow.disk.layout import Role
from volflow.disk.mapping import Mapping
from volflow.host.privilege import Privilege

_GIB = 1024**3
_CHUNK = 8 * 1024**2
_ME = Privilege(helper="")


@dataclass
class Verdict:
    """What became of a disk.

    :ivar told: why regions are images, as volflow said
    :ivar troubles: what is wrong
    :ivar skipped: why this host cannot make the disk
    """

    exhibit: Exhibit
    told: str = ""
    troubles: list[str] = field(default_factory=list)
    skipped: str = ""

    def __str__(self) -> str:
        word = "---" if self.skipped else "BAD" if self.troubles else "ok "
        return f"{word} {self.exhibit}: {self.skipped or self.told or 'all as files'}"


@dataclass(frozen=True)
class Seen:
    """What is on a volume: the table, and the files or the checksum of each region."""

    table: str
    regions: tuple[Any, ...]


class Batch:
    """Some disks on volumes of a site."""

    def __init__(self, site: Site, volflow: Any) -> None:
        self._site, self._volflow = site, volflow

    def run(self, exhibits: Sequence[Exhibit]) -> list[Verdict]:
        """Back up and restore disks; delete their volumes afterwards."""
        verdicts = [Verdict(one, skipped=missing(one)) for one in exhibits]
        known = {self._made(one): one for one in verdicts if not one.skipped}
        try:
            self._all(known)
        finally:
            for volume in list(self._site.cloud.known.volumes):
                self._site.cloud.delete(volume)
        return verdicts

    def _made(self, verdict: Verdict) -> str:
        """A volume with the disk."""
        cloud, exhibit = self._site.cloud, verdict.exhibit
        volume = cloud.create(name=exhibit.name)
        image = self._site.home / "exhibit"
        exhibit.build(image, self._site.home, _GIB)
        with cloud.attached(volume) as device:
            run("dd", f"if={image}", f"of={device}", "bs=64K", "conv=sparse", "status=none")
        image.unlink()
        return volume

    def _all(self, known: dict[str, Verdict]) -> None:
        result = self._volflow.backups.create(list(known))
        before: dict[str, Seen] = {}
        manifests = {}
        for one in result.volumes:
            verdict = known[one.volume_id]
            verdict.told = "; ".join(each for each in one.remarks if "stored as an image" in each)
            if str(one.outcome) != "complete":
                verdict.troubles.append(f"the backup is {one.outcome}: {one.error}")
                continue
            manifest = self._volflow.backups.manifest(one.backup_id)
            manifests[one.volume_id] = manifest
            # The devices of the lab have sectors of 512 bytes.
            if verdict.exhibit.sector == 512:
                verdict.troubles += _unexpected(verdict.exhibit, manifest)
            before[one.volume_id] = self._see(one.volume_id, manifest)
        for where, options in (("new", {"new": True}), ("in place", {})):
            if where == "in place":
                self._spoil(before)
            for volume, target in self._restored(list(before), known, where, options):
                after = self._see(target, manifests[volume])
                known[volume].troubles += [
                    f"{where}: {each}" for each in _differences(before[volume], after)
                ]
        for volume in before:
            larger = self._site.cloud.create(size=2, name="larger")
            options = {"into": larger, "grow": True}
            for _ in self._restored([volume], known, "larger", options):
                known[volume].troubles += self._on_larger(larger, manifests[volume], before[volume])
            self._site.cloud.delete(larger)

    def _spoil(self, volumes: dict[str, Seen]) -> None:
        """Write something over each volume, here and there."""
        for volume in volumes:
            with self._site.cloud.attached(volume) as device, open(device, "r+b") as file:
                for place in range(0, _GIB, _GIB // 16):
                    file.seek(place)
                    file.write(b"spoiled " * 8192)

    def _restored(
        self, volumes: list[str], known: dict[str, Verdict], where: str, options: dict[str, Any]
    ) -> Iterator[tuple[str, str]]:
        """The volumes that were restored, and where to."""
        result = self._site.restore(*volumes, verify=True, **options)
        for one in result.volumes:
            if str(one.outcome) == "complete":
                yield one.volume_id, one.target_id
            else:
                known[one.volume_id].troubles.append(f"{where}: {one.outcome}: {one.error}")

    def _see(self, volume: str, manifest: Any) -> Seen:
        """Describe a volume by the regions of its backup."""
        with self._site.cloud.attached(volume) as device:
            regions = tuple(self._region(device, region) for region in manifest.regions)
            return Seen(_table(device), regions)

    def _region(self, device: str, region: Any) -> Any:
        place = region.place
        if region.is_image:
            return _checksum(device, place.start, place.size)
        if place.role is Role.WHOLE:
            return self._files(device, region)
        with Mapping(_ME, device, [(place.start, place.size)], read_only=False) as mapped:
            return self._files(mapped.paths[0], region)

    def _files(self, device: str, region: Any) -> Any:
        return self._site.cloud.mounted(
            device, tree.describe, read_only=True, kind=region.file_system.type
        )

    def _on_larger(self, volume: str, manifest: Any, before: Seen) -> Iterator[str]:
        """What is wrong on a larger volume, of which the last partition may have grown."""
        with self._site.cloud.attached(volume) as device:
            if manifest.layout.get("table") == "gpt" and manifest.disk.sector_size == 512:
                said = run("sfdisk", "--verify", device)
                if "No errors detected" not in said:
                    yield f"larger: sfdisk says {said}"
            for number, (region, was) in enumerate(
                zip(manifest.regions, before.regions, strict=True)
            ):
                # These change, and what follows a partition that has grown.
                if region.is_image and region.place.role in (
                    *(Role.TABLE, Role.BACKUP_TABLE, Role.GAP),
                ):
                    continue
                for each in _different(was, self._on_place(device, region, volume)):
                    yield f"larger: region {number}: {each}"

    def _on_place(self, device: str, region: Any, volume: str) -> Any:
        """A region on a larger volume: a partition can have another size there."""
        if region.is_image or region.place.role is not Role.PARTITION:
            return self._region(device, region)
        places = [(region.place.start, _GIB * 2 - region.place.start)]
        with Mapping(_ME, device, places, read_only=False) as mapped:
            return self._files(mapped.paths[0], region)


def _unexpected(exhibit: Exhibit, manifest: Any) -> list[str]:
    """How the regions of a backup differ from those that the exhibit should have."""
    found = [
        Region(
            region.place.role,
            region.type,
            IMAGE if region.is_image else FILES,
            region.place.number,
            region.place.name,
        )
        for region in manifest.regions
    ]
    wanted = list(exhibit.regions)
    return [] if found == wanted else [f"regions {found} instead of {wanted}"]


def _differences(before: Seen, after: Seen) -> list[str]:
    found = [] if before.table == after.table else [f"table {after.table} after {before.table}"]
    for number, (was, now) in enumerate(zip(before.regions, after.regions, strict=True)):
        found += [f"region {number}: {each}" for each in _different(was, now)]
    return found


def _different(was: Any, now: Any) -> list[str]:
    if isinstance(was, str):
        return [] if was == now else ["other bytes"]
    return tree.differences(was, now)[:5]


def _checksum(device: str, start: int, size: int) -> str:
    digest = hashlib.blake2b()
    with open(device, "rb") as file:
        file.seek(start)
        while size and (data := file.read(min(size, _CHUNK))):
            digest.update(data)
            size -= len(data)
    return digest.hexdigest()


def _table(device: str) -> str:
    done = subprocess.run(
        ["sfdisk", "--dump", device], capture_output=True, encoding="utf-8", check=False
    )
    return re.sub(re.escape(str(Path(device))), "DISK", done.stdout)
