"""The manifest of a backup: everything that Cinder knows about the volume, and what is on it.

The repository stores it in the same snapshot as the data, and again, with the files that could not
be read, in the verdict on that: data never exists without a manifest, and
the repository alone is enough for a restore.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from volflow.disk.capacity import Used
from volflow.disk.filesystem import FileSystem
from volflow.disk.holes import Sparse
from volflow.disk.layout import Layout, Part, Role
from volflow.disk.regions import (
    ROOT,
    Disk,
    DiskRegion,
    boot_sector_of,
    region_path,
)
from volflow.disk.signatures import Content
from volflow.disk.special import NUMBERS
from volflow.errors import DiskError, RepositoryError, UsageError

Json = dict[str, Any]

FORMAT = 3
# A path in one of several regions, as people give it.
_IN_REGION = re.compile(r"(p?[0-9]{1,6}|[\w.+-]+/[\w.+-]+):(|/.*)", re.DOTALL)
# What was recorded of the content of a region by a release that knew only file systems.
_NO_CONTENT = {"type": "", "uuid": "", "label": ""}
# Those that this release reads.
_READS = (1, 2, FORMAT)


@dataclass(frozen=True)
class Region:
    """A part of a volume that is stored by itself, as a file tree or as an image.

    :ivar path: the path of the tree or of the image in the backup
    :ivar size: bytes of the device
    :ivar file_system: the file system of the tree; None for an image
    :ivar part: where it is on the volume; the whole volume unless given
    :ivar content: what blkid sees in it
    :ivar why: why it is an image, if its type is usually stored as files
    :ivar boot_sector: what precedes the superblock of the file system, in base64
    :ivar sparse: the sparse files, by their path in the tree
    :ivar sockets: the sockets, by their path in the tree, as :mod:`volflow.disk.special` has them:
        restic stores none
    :ivar unread: what could not be read and is not in the backup, by its absolute path in the
        tree; a name without a slash if the path is unknown. A path that ends with a slash is a
        directory: all that was below it is missing too
    :ivar used: the room that the files take
    :ivar attributes: how many files have ``flags``, ``projects`` and ``births`` (inode flags,
        project ids, birth times) in the file beside the manifest; empty if there is none
    """

    path: str
    size: int
    file_system: FileSystem | None
    sparse: dict[str, Sparse] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    used: Used = field(default_factory=Used)
    sockets: dict[str, list[int]] = field(default_factory=dict)
    attributes: dict[str, int] = field(default_factory=dict)
    part: Part | None = None
    content: Content = field(default_factory=lambda: Content("", "", ""))
    why: str = ""
    boot_sector: str = ""

    @property
    def is_image(self) -> bool:
        return self.file_system is None

    @property
    def place(self) -> Part:
        """Where it is on the volume."""
        return self.part or Part(0, self.size, Role.WHOLE)

    @property
    def type(self) -> str:
        """The type of what is in it, as blkid names it; empty if it is unknown."""
        return self.file_system.type if self.file_system else self.content.type

    def on_disk(self, number: int) -> DiskRegion:
        """The region as a part of a device.

        :param number: its place among the regions of the volume
        """
        return DiskRegion(
            number,
            self.place,
            self.content,
            self.file_system,
            self.why,
            boot_sector_of(self.boot_sector),
        )

    @classmethod
    def of(cls, region: DiskRegion, **found: Any) -> Region:
        """The stored region for one of a device.

        :param found: what a backup has found in it
        """
        return cls(
            str(region.path),
            region.size,
            region.file_system,
            part=region.part,
            content=region.content,
            why=region.why,
            boot_sector=base64.b64encode(region.boot_sector).decode(),
            **found,
        )


@dataclass(frozen=True)
class Manifest:
    """Describes one backup of one volume.

    Resources are as the Block Storage API v3 showed them at the time of the backup.

    :ivar volume: the volume, every field
    :ivar volume_type: its type with the extra specs that policy showed; empty if it has none
    :ivar qos: the QoS specification of that type; empty if it has none, or policy hid it
    :ivar encryption: its encryption metadata; empty if it is not encrypted
    :ivar group: its volume group; empty if it is in no group
    :ivar group_type: the type of that group, as policy showed it
    :ivar group_volume_types: the names of the types that volumes of that group may have
    :ivar snapshot: the temporary snapshot; its ``created_at`` is the time of the data
    :ivar run_id: the run that made the backup
    :ivar layout: the parts of the volume, as :class:`volflow.disk.layout.Layout` has them; empty if
        it was not recorded
    """

    run_id: str
    volume: Json
    volume_type: Json
    encryption: Json
    group: Json
    snapshot: Json
    regions: tuple[Region, ...]
    qos: Json = field(default_factory=dict)
    group_type: Json = field(default_factory=dict)
    group_volume_types: tuple[str, ...] = ()
    layout: Json = field(default_factory=dict)
    format: int = FORMAT

    @property
    def volume_id(self) -> str:
        return str(self.volume["id"])

    @property
    def root(self) -> Path:
        """The directory of the backup that people see as the root of the volume.

        With one file tree it is that tree. With several regions, or an image, it holds them all.
        """
        return Path(self.regions[0].path) if self.is_one_tree else ROOT

    @property
    def is_one_tree(self) -> bool:
        """Whether the volume is one file system, of which the files are stored."""
        return len(self.regions) == 1 and not self.regions[0].is_image

    @property
    def trees(self) -> tuple[Region, ...]:
        """The regions that are stored as files."""
        return tuple(region for region in self.regions if not region.is_image)

    @property
    def images(self) -> tuple[Region, ...]:
        """The regions that are stored as images."""
        return tuple(region for region in self.regions if region.is_image)

    @property
    def disk(self) -> Disk:
        """The regions as parts of a device."""
        layout = Layout.from_dict(self.layout) if self.layout else None
        return Disk(layout, tuple(one.on_disk(n) for n, one in enumerate(self.regions)))

    def in_volume(self, path: str) -> str:
        """The path in the volume, as people see it, for a path in the backup."""
        return path.removeprefix(str(self.root)) or "/"

    def below_root(self, path: str) -> str:
        """The path below :attr:`root` of one that a person gives.

        :param path: in the volume. Of a volume with several regions it can begin with one of them
            and a colon: its number, ``p`` and the number of a partition, or the names of a volume
            group and a logical volume. ``2:/etc`` is the same as ``/2/etc``
        :raises UsageError: there is no such region
        """
        found = None if self.is_one_tree else _IN_REGION.fullmatch(path)
        if found is None:
            return path
        wanted, rest = found.groups()
        for number, region in enumerate(self.regions):
            place = region.place
            names = {str(number), f"p{place.number}" if place.number else ""}
            if place.role is Role.VOLUME:
                names.add(place.name)
            if wanted in names:
                return f"/{Path(region.path).name}{rest}"
        raise UsageError(
            f"The volume has no region '{wanted}': 'volflow backup show' lists its regions."
        )

    @property
    def unread(self) -> tuple[str, ...]:
        """The paths in the volume of what could not be read and is not in the backup.

        A path that ends with a slash is a directory: all that was below it is missing too.
        """
        return tuple(
            self.in_volume(f"{region.path}{path}") if path.startswith("/") or not path else path
            for region in self.regions
            for path in region.unread
        )

    def unread_of(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Those of :attr:`unread` that are at or below some paths, or that these are below.

        :param paths: in the volume
        """
        wanted = [Path("/") / self.below_root(path).strip("/") for path in paths]
        return tuple(
            one
            for one in self.unread
            # It can be anywhere if its path is unknown.
            if not one.startswith("/")
            or any(
                Path(one).is_relative_to(path)
                # Nothing is known of what was in a directory that could not be read.
                or (one.endswith("/") and path.is_relative_to(one))
                for path in wanted
            )
        )

    @property
    def holds_nothing(self) -> bool:
        """Whether the root of the volume could not be read, so that nothing is in the backup."""
        return "/" in self.unread

    def without(self, unread: Sequence[str]) -> Manifest:
        """This manifest for a backup that lacks some files.

        :param unread: their paths in the volume; a file with an unknown path counts for the first
            region
        """
        missing: dict[str, list[str]] = {region.path: [] for region in self.regions}
        for path in unread:
            for region in self.regions:
                prefix = self.in_volume(region.path).rstrip("/")
                if path.startswith(f"{prefix}/") or (region.is_image and path == prefix):
                    missing[region.path].append(path.removeprefix(prefix))
                    break
            else:
                missing[self.regions[0].path].append(path)
        regions = tuple(
            replace(region, unread=tuple(missing[region.path])) for region in self.regions
        )
        return replace(self, regions=regions)

    @property
    def size_gib(self) -> int:
        """The size of the volume in GiB when the snapshot was taken; it may have grown since."""
        return int(self.snapshot.get("size") or self.volume["size"])

    @property
    def type_names(self) -> set[str]:
        """The volume types that :meth:`mapped` can give another name."""
        return {
            str(name) for name in (self.volume["volume_type"], *self.group_volume_types) if name
        }

    @property
    def zone_names(self) -> set[str]:
        """The availability zones that :meth:`mapped` can give another name."""
        return {str(one["availability_zone"]) for one in (self.volume, self.group) if one}

    def mapped(self, types: Mapping[str, str], zones: Mapping[str, str]) -> Manifest:
        """This manifest with other names of volume types and zones, for another cloud."""
        volume, group = dict(self.volume), dict(self.group)
        volume["volume_type"] = types.get(volume["volume_type"], volume["volume_type"])
        for resource in filter(None, (volume, group)):
            zone = resource["availability_zone"]
            resource["availability_zone"] = zones.get(zone, zone)
        allowed = tuple(types.get(name, name) for name in self.group_volume_types)
        return replace(self, volume=volume, group=group, group_volume_types=allowed)

    @classmethod
    def missing(cls, volume_id: str) -> Manifest:
        """Placeholder for a manifest that cannot be read, when a restore is only undone."""
        said_nothing = ("name", "description", "volume_type", "availability_zone")
        volume = dict.fromkeys(said_nothing, "") | {"id": volume_id, "size": 0, "metadata": {}}
        region = Region("regions/0", 0, FileSystem("", ""))
        return cls("", volume | {"bootable": "false"}, {}, {}, {}, {}, (region,))

    def to_json(self) -> str:
        # No spaces: the ranges of sparse files can be most of it.
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read a manifest.

        :raises RepositoryError: it is damaged, or this version cannot read its format
        """
        try:
            values = json.loads(text)
            if values["format"] not in _READS:
                raise RepositoryError(
                    f"The backup's manifest has format {values['format']}; this volflow reads "
                    f"{', '.join(map(str, _READS[:-1]))} and {FORMAT}. Use a newer volflow."
                )
            values["regions"] = tuple(
                Region(
                    **region
                    | {
                        "file_system": FileSystem.from_dict(region["file_system"])
                        if region["file_system"]
                        else None,
                        "part": Part.from_dict(region["part"]) if region.get("part") else None,
                        "content": Content(**region.get("content", _NO_CONTENT)),
                        "used": Used(**region.get("used", {})),
                        "unread": tuple(region.get("unread", ())),
                    }
                )
                for region in values["regions"]
            )
            values["group_volume_types"] = tuple(values.get("group_volume_types", ()))
            # They become parts of URLs and names.
            for resource in ("volume", "group"):
                if values[resource]:
                    UUID(values[resource]["id"])
            found = cls(**values)
            _require(found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RepositoryError(f"The backup's manifest is damaged: {error!r}") from error
        return found


def _require(manifest: Manifest) -> None:
    """Make sure that the fields that a restore plan reads exist and have the right types.

    Whoever has the password of a repository can write anything into it, and one such backup must
    not end a restore of all volumes.
    """
    texts = [
        *(manifest.volume[name] for name in ("name", "volume_type", "availability_zone")),
        *(manifest.snapshot[name] for name in ("created_at",)),
    ]
    if manifest.group:
        texts += [manifest.group[n] for n in ("name", "description", "availability_zone")]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise TypeError("a name is not a string")
    objects = (manifest.volume["metadata"], manifest.volume_type, manifest.group_type)
    if not all(isinstance(each, dict) for each in objects):
        raise TypeError("properties are not an object")
    if not manifest.regions:
        raise ValueError("it has no region")
    for number, region in enumerate(manifest.regions):
        # A volume is mounted there: no path may lead out of the namespace or into another region.
        if region.path != str(region_path(number, image=region.is_image)):
            raise ValueError(f"region {number} has the path {region.path!r}")
        boot_sector_of(region.boot_sector)
        if region.place.size != region.size:
            raise ValueError(f"region {number} has two sizes")
        if region.is_image and (region.sparse or region.sockets):
            raise ValueError(f"region {number} is an image and has files")
    _require_cover(manifest)
    numbers = [manifest.size_gib, *(region.size for region in manifest.regions)]
    numbers += [each["size"] for region in manifest.regions for each in region.sparse.values()]
    sockets = [each for region in manifest.regions for each in region.sockets.values()]
    if any(len(each) != NUMBERS for each in sockets):
        raise ValueError("a socket is not described")
    numbers += [number for each in sockets for number in each]
    numbers += [number for region in manifest.regions for number in astuple(region.used)]
    named = [(one.why, *astuple(one.content)) for one in manifest.regions]
    if not all(isinstance(text, str) for texts in named for text in texts):
        raise TypeError("the content of a region is not described by texts")
    numbers += [number for region in manifest.regions for number in region.attributes.values()]
    if not all(isinstance(number, int) for number in numbers):
        raise TypeError("a size is not a number")


def _require_cover(manifest: Manifest) -> None:
    """Make sure that each byte of the volume is in one region.

    :raises ValueError: it is not
    """
    if manifest.layout:
        parts = Layout.from_dict(manifest.layout).parts
        if parts != tuple(region.place for region in manifest.regions):
            raise ValueError("its regions are not the parts of its disk")
    elif len(manifest.regions) > 1:
        raise ValueError("it has several regions and no layout")


def sparse_files_fit(manifest: Manifest, *, restores_holes: bool, room: int | None = None) -> None:
    """Refuse a backup if its sparse files do not fit when their holes are filled.

    :param restores_holes: whether the mover keeps the holes
    :param room: free bytes; the size of the region by default
    :raises DiskError: they do not fit; says what to do
    """
    for region in manifest.trees:
        apparent = sum(sparse["size"] for sparse in region.sparse.values())
        most = region.size if room is None else room
        if apparent > most and not restores_holes:
            raise DiskError(
                f"The backup has sparse files of {apparent} bytes in all, but the target has only "
                f"{most}: this restic fills holes while it restores. Install restic 0.15 or newer."
            )
