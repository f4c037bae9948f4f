"""File systems: recognises, describes and creates them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Protocol

from volflow.disk import extended, first_format, mounting, signatures, xfs
from volflow.disk.signatures import Signature
from volflow.errors import DiskError, HostError, NoProgressError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

LOG = logging.getLogger(__name__)

# A file system that is smaller than its device by less is as large as it can be.
_REST = 1024**2
# Of a file system that nobody uses.
_ANY = "7f6d3c52-0d8b-4f3e-9a55-3f9c1c1f2a01"

Runs = Privilege | MountNamespace
# How a file system that was made again differs: the former and the present value of each property,
# by its name; None where it has none.
Differences = dict[str, tuple[str | None, str | None]]


class _Tools(Protocol):
    """What the modules for the types of file systems have in common."""

    @property
    def LAYOUT(self) -> tuple[str, ...]: ...
    @property
    def NUMBERS(self) -> tuple[str, ...]: ...
    @property
    def TRIED(self) -> tuple[str, ...]: ...

    def describe(self, runs: Runs, device: str) -> tuple[dict[str, str], str]: ...
    def size(self, values: Mapping[str, str]) -> int: ...
    def lasting(self, values: Mapping[str, str], *, same_size: bool) -> dict[str, str]: ...
    def features(self, values: Mapping[str, str]) -> list[str]: ...
    def optional(self, values: Mapping[str, str]) -> list[str]: ...
    def having(self, values: Mapping[str, str], name: str) -> dict[str, str]: ...
    def sample(self, values: Mapping[str, str]) -> dict[str, str]: ...


def _tools(kind: str) -> _Tools:
    """The module for a type of file systems."""
    return xfs if kind == "xfs" else extended


@dataclass(frozen=True)
class FileSystem:
    """A file system, with everything that is needed to create one like it.

    :ivar type: as blkid(8) names it: ``ext2``, ``ext3``, ``ext4`` or ``xfs``
    :ivar uuid: empty if it has none
    :ivar parameters: its description: names and values as the tools of the type print them
    :ivar raw: what the tools printed; empty if a release described it that kept less
    """

    type: str
    uuid: str
    label: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    raw: str = ""

    @property
    def size(self) -> int:
        """Its size in bytes, which can be smaller than its device; 0 if it is not known."""
        return self._tools.size(self.parameters)

    @property
    def is_xfs(self) -> bool:
        return self.type == "xfs"

    @property
    def _tools(self) -> _Tools:
        return _tools(self.type)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FileSystem:
        """Read what :meth:`to_dict` returned, of this release or an earlier one.

        :raises TypeError: a value is no text
        :raises ValueError: a number is none
        """
        found = cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})
        texts = (found.type, found.uuid, found.label, found.raw, *found.parameters.values())
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a value of the file system is no text")
        parameters = first_format.translated(found.type, found.parameters)
        if not all(parameters.get(name, "0").isdecimal() for name in found._tools.NUMBERS):
            raise ValueError("a number of the file system is none")
        return replace(found, parameters=parameters)

    def mount_options(self, *, read_only: bool) -> list[str]:
        """Options for mount(8). The journal is replayed in either case."""
        journal = "has_journal" in self.features
        return mounting.options(self.type, journal=journal, read_only=read_only)

    @property
    def look_options(self) -> list[str]:
        """Options for mount(8) that change nothing: the journal is not replayed."""
        unread = "norecovery" if self.is_xfs else "noload"
        return [*mounting.options(self.type, journal=False, read_only=True), unread]

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return tuple(self._tools.features(self.parameters))

    @property
    def optional(self) -> tuple[str, ...]:
        """Those of its features without which the same files can be stored.

        A kernel that does not know such a feature may still read the file system, or use it.
        """
        return tuple(self._tools.optional(self.parameters))

    def without(self, features: Collection[str], *, known: bool = True) -> FileSystem:
        """This file system without some of its features.

        :param known: whether mkfs knows them, so that it can be told that they are not wanted
        """
        if self.is_xfs:
            return replace(self, parameters=xfs.without(self.parameters, features, known=known))
        return replace(self, parameters=extended.without(self.parameters, features))

    @property
    def tried(self) -> tuple[str, ...]:
        """Features of its type that it does not have, and that a host may lack."""
        return tuple(name for name in self._tools.TRIED if name not in self.features)

    def having(self, feature: str) -> FileSystem:
        """This file system with one more feature."""
        return replace(self, parameters=self._tools.having(self.parameters, feature))

    @property
    def nameless(self) -> tuple[str, ...]:
        """Those of its features that mkfs has no name for, so that it cannot create them."""
        return tuple(xfs.nameless(self.parameters)) if self.is_xfs else ()

    @property
    def layout(self) -> tuple[str, ...]:
        """The names of those of its parameters that mkfs can also choose itself."""
        return tuple(name for name in self._tools.LAYOUT if name in self.parameters)

    def choosing(self, *names: str) -> FileSystem:
        """This file system without some parameters, so that mkfs chooses them."""
        left = {name: value for name, value in self.parameters.items() if name not in names}
        return replace(self, parameters=left)

    def asked(self, said: str) -> FileSystem:
        """This file system, also without features that this mkfs would add unasked.

        :param said: what a dry run of mkfs has printed
        """
        unasked = xfs.unasked(self.parameters, said) if self.is_xfs else {}
        return replace(self, parameters=self.parameters | unasked)

    def sample(self) -> FileSystem:
        """A file system with the same features that can be small."""
        return replace(self, uuid=_ANY, parameters=self._tools.sample(self.parameters))

    @property
    def kind(self) -> frozenset[tuple[str, str]]:
        """What it has in common with others that are created with the same options."""
        return frozenset(self._tools.lasting(self.parameters, same_size=True).items()) - {
            (name, self.parameters.get(name, "")) for name in extended.OWN
        }

    def size_on(self, room: int, *, was: int, grow: bool) -> int:
        """The bytes that this file system gets on a device.

        :param room: bytes of the device
        :param was: bytes of the device that it was on
        :param grow: whether it fills the device
        """
        return room if grow else min(room, self.size or was or room)

    def size_in(self, room: int) -> int:
        """The bytes that this file system gets, if it fills this many bytes."""
        return self.size if 0 <= room - self.size < _REST else room

    def mkfs(self, device: str, room: int, *, dry_run: bool = False) -> list[str]:
        """The command that creates it on a device or in a file.

        :param room: bytes that it fills
        :param dry_run: it only says what it would create
        :raises DiskError: the description is not that of a file system
        """
        size = self.size_in(room)
        same = size == self.size
        about = (self.parameters, self.uuid, self.label)
        try:
            if self.is_xfs:
                options = xfs.make(*about, same_size=same, size=size)
                return ["mkfs.xfs", "-N" if dry_run else "-q", *options, device]
            options = extended.make(*about, same_size=same)
            return ["mkfs.ext4", "-n" if dry_run else "-q", *options, device, f"{size // 1024}k"]
        except (KeyError, ArithmeticError) as error:
            # Whoever has the password of a repository can write any description there.
            raise DiskError(
                f"The backup does not describe its {self.type} completely: {error!r}."
            ) from error

    def make(self, runs: Runs, device: str, room: int) -> FileSystem:
        """Create this file system on a device or in a file. The previous content is lost.

        :param runs: runs the programs; in a namespace, they end with this process
        :param room: bytes that it fills
        :returns: the new file system, described like this one
        :raises HostError: a program failed, or cannot create such a file system
        """
        runs.run(*self.mkfs(device, room))
        if self.is_xfs:
            if not self.uuid:
                runs.run("xfs_admin", "-U", "nil", device)
            return self._described(runs, device)
        made = self._described(runs, device)
        same = self.size_in(room) == self.size
        tuning = extended.tune(self.parameters, made.parameters, same_size=same)
        for command in tuning:
            try:
                runs.run(*command, device)
            except NoProgressError:
                raise
            except HostError as error:
                # The files fit all the same, and the result tells the difference.
                LOG.warning("The new file system stays as mkfs has made it: %s", error)
        return self._described(runs, device) if tuning else made

    def settle(self, runs: Runs, device: str) -> None:
        """Remove from an unmounted file system where this host had mounted it.

        :raises HostError: a program failed
        """
        if not self.is_xfs:
            alone = extended.alone(self.parameters)
            runs.run("tune2fs", *alone, "-M", extended.last_mounted_on(self.parameters), device)

    @property
    def guarded(self) -> bool:
        """Whether a mount waits for minutes if another host may use it, or has been using it."""
        return "mmp" in self.features

    def unguard(self, runs: Runs, device: str) -> None:
        """Let the next mount of a guarded file system take for granted that no host uses it.

        :raises HostError: a program failed
        """
        runs.run("tune2fs", *extended.alone(self.parameters), "-E", "clear_mmp", device)

    def _described(self, runs: Runs, device: str) -> FileSystem:
        parameters, raw = self._tools.describe(runs, device)
        return replace(self, parameters=parameters, raw=raw)

    def differences(self, now: FileSystem) -> Differences:
        """How a file system that was made again differs from this one."""
        lasting = self._tools.lasting
        same = now.size == self.size
        before, after = (lasting(each.parameters, same_size=same) for each in (self, now))
        names = before.keys() | after.keys() if self.raw else before.keys()
        return {
            name: (before.get(name), after.get(name))
            for name in sorted(names)
            if before.get(name) != after.get(name)
        }


PROGRAMS = {
    "ext2": extended.PROGRAMS,
    "ext3": extended.PROGRAMS,
    "ext4": extended.PROGRAMS,
    "xfs": xfs.PROGRAMS,
}


def new(runs: Runs, kind: str, file: str, size: int) -> FileSystem:
    """Create a file system in a file, as mkfs of this host does by default.

    :param kind: its type
    :param size: bytes of the file
    :raises HostError: a program failed
    """
    runs.run("truncate", f"--size={size}", file)
    runs.run(f"mkfs.{kind}", "-q", "-f" if kind == "xfs" else "-F", file)
    parameters, raw = _tools(kind).describe(runs, file)
    return FileSystem(kind, "", parameters=parameters, raw=raw)


def probe(privilege: Privilege, device: str, found: Signature | None = None) -> FileSystem:
    """Describe the file system that fills a device.

    :param found: which one it is, if that is known
    :raises DiskError: the device has no file system, several, an unknown one, or a partition table
    """
    found = found or signatures.identify(privilege, device)
    parameters, raw = _tools(found.type).describe(privilege, device)
    return FileSystem(
        type=found.type,
        uuid=found.uuid,
        label=found.label,
        parameters=parameters,
        raw=raw,
    )
