"""Decides how each region of a device is stored: as files, or as an image.

Nothing is mounted to find out. Whatever cannot be stored as files is stored as an image, so that no
volume is refused for what is on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from volflow.disk import boot_code, boot_sector, filesystem, layout, lvm, signatures
from volflow.disk.filesystem import FileSystem
from volflow.disk.layout import Layout, Role
from volflow.disk.regions import Disk, DiskRegion, MappedRegions, mapped
from volflow.disk.rehearsal import CannotCreateError, Rehearsal
from volflow.disk.signatures import SUPPORTED, Content
from volflow.errors import DiskError, HostError, NoProgressError
from volflow.host.privilege import Privilege

_LVM = "LVM2_member"
# What cannot hold a file system.
_NEVER = (Role.TABLE, Role.BACKUP_TABLE, Role.GAP, Role.METADATA)


@dataclass(frozen=True)
class Choice:
    """What a person wants to be stored as images.

    :ivar image: the whole device, as one image
    :ivar image_types: the types of file systems that are stored as images, as blkid names them
    :ivar file_types: the types of which the files are stored; the others are stored as images
    """

    image: bool = False
    image_types: Sequence[str] = ()
    file_types: Sequence[str] = SUPPORTED

    def against(self, kind: str) -> str:
        """Why a type is stored as an image; empty if it need not be."""
        if kind in self.image_types:
            return f"[backup] image_types has {kind}"
        if kind not in self.file_types:
            return f"[backup] file_types does not have {kind}"
        return ""


@dataclass(frozen=True)
class Inspection:
    """What was found on a device.

    :ivar decided: where there are signs of several formats: why it is this one
    :ivar errors: what to do about errors that a kernel has found in file systems
    :ivar left_out: what this host leaves out when it creates the file systems again
    """

    disk: Disk
    decided: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Inspector:
    """Looks at devices.

    :param rehearsal: tries which file systems this host can create
    """

    def __init__(
        self, privilege: Privilege, rehearsal: Rehearsal, choice: Choice | None = None
    ) -> None:
        self._privilege, self._rehearsal = privilege, rehearsal
        self._choice = choice or Choice()

    def inspect(self, device: str, size: int) -> Inspection:
        """Decide how each region of a device is stored.

        :param size: bytes of the device
        :raises HostError: the device cannot be read
        """
        if self._choice.image:
            whole = Layout.whole(size)
            content = signatures.content(self._privilege, device)
            region = DiskRegion(0, whole.parts[0], content, why="--image was given")
            return Inspection(Disk(whole, (region,)))
        found = self._with_logical_volumes(device, layout.find(self._privilege, device))
        notes = _Notes()
        # A boot loader that reads blocks by their numbers would find others after a restore.
        fixed = boot_code.why_images(self._privilege, device, found)
        if found.why:
            # The volume is one part, whatever its table says.
            fixed = {0: found.why.removeprefix(layout.AS_ONE)}
        candidates = tuple(DiskRegion(number, part) for number, part in enumerate(found.parts))
        looked = [one for one in candidates if one.part.role not in _NEVER]
        with self._mapped(device, looked, found) as maps:
            regions = tuple(
                self._region(region, maps.of(region), notes, fixed.get(region.number, ""))
                if region in looked
                else region
                for region in candidates
            )
        return Inspection(
            Disk(found, regions), tuple(notes.decided), tuple(notes.errors), tuple(notes.left_out)
        )

    def _mapped(
        self, device: str, regions: Sequence[DiskRegion], found: Layout
    ) -> AbstractContextManager[MappedRegions]:
        return mapped(
            self._privilege, device, regions, read_only=True, sector_size=found.sector_size
        )

    def _with_logical_volumes(self, device: str, found: Layout) -> Layout:
        """The layout with the linear logical volumes of physical volumes as parts of it."""
        if _LVM in self._choice.image_types:
            return found
        candidates = [
            DiskRegion(number, part)
            for number, part in enumerate(found.parts)
            if part.role in (Role.PARTITION, Role.WHOLE) and not part.why
        ]
        with self._mapped(device, candidates, found) as maps:
            physical = [
                one.part
                for one in candidates
                if signatures.content(self._privilege, maps.of(one)).type == _LVM
            ]
        for part in physical:
            inside = lvm.find(self._privilege, device, part.start, part.size)
            if isinstance(inside, str):
                inside = (replace(part, why=f"its logical volumes are not taken apart: {inside}"),)
            found = found.split(part, inside)
        return found

    def _region(self, region: DiskRegion, device: str, notes: _Notes, fixed: str) -> DiskRegion:
        """How one region is stored.

        :param device: its block device
        :param fixed: why its blocks must stay where they are; empty if they need not
        """
        content = signatures.content(self._privilege, device)
        region = replace(region, content=content)
        if why := region.part.why or fixed:
            return region.as_image(why)
        try:
            signature = signatures.identify(self._privilege, device)
        except DiskError as error:
            return region.as_image(_reason(content, error))
        content = Content(signature.type, signature.uuid, signature.label)
        region = replace(region, content=content)
        if why := self._choice.against(signature.type):
            return region.as_image(why)
        if why := boot_sector.why_image(self._privilege, device, signature.type):
            return region.as_image(why)
        notes.add(signature.decided, signature.errors)
        try:
            described = filesystem.probe(self._privilege, device, signature)
        except NoProgressError:
            raise
        except (DiskError, HostError) as error:
            return region.as_image(str(error))
        whole = region.part.role is Role.WHOLE
        if why := self._cannot_create(described, region, notes, whole=whole):
            return region.as_image(why)
        before = boot_sector.read(self._privilege, device, signature.type)
        return replace(region, file_system=described, boot_sector=before)

    def _cannot_create(
        self, found: FileSystem, region: DiskRegion, notes: _Notes, *, whole: bool
    ) -> str:
        """Why this host could not create a file system again; empty if it can."""
        try:
            fit = self._rehearsal.fit(
                found, found.size_on(region.size, was=region.size, grow=False)
            )
        except CannotCreateError as error:
            return str(error)
        except NoProgressError:
            raise
        except HostError as error:
            notes.left_out.append(
                f"whether this host can create the file system again is unknown: {error}"
            )
            return ""
        if fit.left_out:
            of = "" if whole else f"of {region} "
            notes.left_out.append(f"a restore on this host leaves out {of}{fit}")
        return ""


class _Notes:
    def __init__(self) -> None:
        self.decided: list[str] = []
        self.errors: list[str] = []
        self.left_out: list[str] = []

    def add(self, decided: str, errors: str) -> None:
        self.decided += [decided] if decided else []
        self.errors += [errors] if errors else []


def _reason(content: Content, error: DiskError) -> str:
    """Why a region is an image; empty if its type always is, or if it has none."""
    obvious = content.type not in SUPPORTED
    always = any(text in str(error) for text in (signatures.NOT_KNOWN, signatures.NOT_SUPPORTED))
    return "" if obvious and always else str(error)
