"""Whether this host can create a file system again: its mkfs, and its kernel.

It is tried without any device. mkfs makes a dry run on an empty file as large as the target. Then a
small file system with the same features is created in memory and mounted for writing, because the
read-only mount of a backup shows too little: where a kernel does not know a read-only compatible
feature, it can read the file system, but not write to it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from volflow.disk.filesystem import FileSystem, new
from volflow.errors import DiskError, HostError, NoProgressError
from volflow.host.namespace import MountNamespace

# Bytes of the small file system. XFS cannot be smaller.
_SMALL = 320 * 1024**2
# What mkfs.ext4 and mkfs.xfs say of features that they do not know.
_REFUSED_SET = "Invalid filesystem option set"
_REFUSED_OPTION = re.compile(r"unknown option -\w (\w+)")


@dataclass(frozen=True)
class Fit:
    """What this host can create of a file system.

    :ivar file_system: it, without the features that this host does not have
    :ivar left_out: these features, and why each is missing
    """

    file_system: FileSystem
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The features that are left out and why; empty if there are none."""
        return ", ".join(f"'{name}' ({why})" for name, why in self.left_out.items())


class CannotCreateError(DiskError):
    """This host can create nothing that can hold the files of a file system.

    :ivar why: the reason alone
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class _Refusal(NamedTuple):
    message: str
    why: str


class Rehearsal:
    """Tries what this host can create. It remembers each answer.

    :param namespace: starts a mount namespace, which this class closes
    :ivar unknown: why it is unknown what the kernel can mount; empty if it is known
    """

    def __init__(self, namespace: Callable[[], MountNamespace]) -> None:
        self._namespace = namespace
        # What is tried takes memory, so that it is tried once at a time.
        self._lock = threading.Lock()
        self._known: dict[object, tuple[dict[str, str | None], dict[str, str]] | _Refusal] = {}
        self._mounted: dict[object, dict[str, str] | _Refusal] = {}
        self.unknown = ""

    def fit(self, file_system: FileSystem, room: int) -> Fit:
        """What this host can create of a file system.

        :param room: bytes that it fills
        :raises CannotCreateError: nothing that can hold its files; names the feature
        :raises HostError: it could not be tried
        """
        key = (file_system.type, file_system.kind, file_system.size_in(room))
        with self._lock:
            if key not in self._known:
                try:
                    fit = self._try(file_system, room)
                    changes = _changes(file_system.parameters, fit.file_system.parameters)
                    self._known[key] = changes, dict(fit.left_out)
                except CannotCreateError as error:
                    self._known[key] = _Refusal(str(error), error.why)
            found = self._known[key]
        if isinstance(found, _Refusal):
            raise CannotCreateError(*found)
        changes, left_out = found
        parameters = {**file_system.parameters, **changes}
        kept = {name: value for name, value in parameters.items() if value is not None}
        return Fit(replace(file_system, parameters=kept), left_out)

    def abilities(self) -> dict[str, dict[str, str]]:
        """What this host lacks to create file systems: features and why, by type.

        :raises DiskError: it cannot create file systems of a type at all
        :raises HostError: it could not be tried
        """
        found: dict[str, dict[str, str]] = {}
        for kind in ("ext4", "xfs"):
            namespace = self._namespace()
            try:
                plain = new(namespace, kind, str(namespace.root / "plain"), _SMALL)
            finally:
                namespace.close()
            found[kind] = dict(self.fit(plain, _SMALL).left_out)
            for name in plain.tried:
                try:
                    found[kind] |= self.fit(plain.having(name), _SMALL).left_out
                except CannotCreateError as error:
                    found[kind][name] = error.why
        return found

    def _try(self, file_system: FileSystem, room: int) -> Fit:
        namespace = self._namespace()
        try:
            trial = _Trial(namespace)
            made, refused = trial.make(file_system, room)
            key = (made.type, made.sample().kind)
            if key not in self._mounted:
                try:
                    self._mounted[key] = trial.write(made)
                except CannotCreateError as error:
                    self._mounted[key] = _Refusal(str(error), error.why)
                except _NothingMountedError as error:
                    # Such as in a container without loop devices, where volumes can be mounted.
                    self.unknown = str(error)
                    self._mounted[key] = {}
        finally:
            namespace.close()
        cannot = self._mounted[key]
        if isinstance(cannot, _Refusal):
            raise CannotCreateError(*cannot)
        return Fit(made.without(cannot), refused | cannot)


class _NotCreatedError(HostError):
    """mkfs could not create a small file system, so that nothing is known of the kernel."""


class _NothingMountedError(HostError):
    """The kernel mounts nothing here, so that nothing is known of the features."""


class _Trial:
    """Tries it in one mount namespace.

    :param namespace: the empty file is in its tmpfs, where it takes no memory
    """

    def __init__(self, namespace: MountNamespace) -> None:
        self._namespace = namespace
        self._file = str(namespace.root / "rehearsal")
        self._place = namespace.root / "rehearsed"

    def make(self, file_system: FileSystem, room: int) -> tuple[FileSystem, dict[str, str]]:
        """What mkfs can create of a file system, and the features that it lacks, and why.

        :raises CannotCreateError: it can create nothing that can hold the same files
        """
        program = file_system.mkfs(self._file, room)[0]
        nameless = f"{program} of this host does not know it"
        left_out = dict.fromkeys(file_system.nameless, nameless)
        while True:
            self._empty(file_system.size_in(room))
            command = file_system.mkfs(self._file, room, dry_run=True)
            said, error = self._attempt(*command)
            if error is None:
                asked = file_system.asked(said)
                if asked == file_system:
                    return file_system, left_out
                file_system = asked
                continue
            unknown = self._unknown(file_system, str(error))
            if not unknown and (others := self._refused(file_system, room)):
                refused = f"{command[0]} of this host does not accept the value of the backup"
                left_out |= dict.fromkeys(others, refused)
                file_system = file_system.choosing(*others)
                continue
            needed = sorted(unknown & set(file_system.features) - set(file_system.optional))
            if needed or not unknown:
                why = f"it does not know the feature {', '.join(needed)}" if needed else str(error)
                raise CannotCreateError(
                    f"{command[0]} of this host cannot create the volume's {file_system.type}: "
                    # mkfs.xfs adds all of its options.
                    f"{_ended(why.partition(chr(10) + 'Usage')[0])}",
                    f"{command[0]} of this host cannot create it",
                ) from error
            lacked = unknown & set(file_system.features)
            left_out |= dict.fromkeys(lacked, f"{command[0]} of this host does not know it")
            file_system = file_system.without(unknown, known=False)

    def _refused(self, file_system: FileSystem, room: int) -> tuple[str, ...]:
        """The parameters that mkfs has to choose itself, so that it can create a file system.

        Other versions of mkfs have other bounds, for example for the size of a small journal.
        """
        for names in (*((name,) for name in file_system.layout), file_system.layout):
            self._empty(file_system.size_in(room))
            other = file_system.choosing(*names)
            if names and self._attempt(*other.mkfs(self._file, room, dry_run=True))[1] is None:
                return names
        return ()

    def _unknown(self, file_system: FileSystem, said: str) -> set[str]:
        """The names of features that mkfs has refused."""
        if _REFUSED_SET not in said:
            return set(_REFUSED_OPTION.findall(said))
        # It does not say which.
        self._empty(_SMALL)
        return {
            name
            for name in file_system.features
            if _REFUSED_SET
            in str(self._attempt("mkfs.ext4", "-n", "-F", "-O", f"none,{name}", self._file)[1])
        }

    def write(self, file_system: FileSystem) -> dict[str, str]:
        """Which features the kernel cannot write to, and why.

        :raises CannotCreateError: it cannot write to such a file system without them either
        :raises _NothingMountedError: nothing in a file can be mounted here
        :raises HostError: mkfs cannot create a small one without them
        """
        sample = file_system.sample()
        error = self._written(sample)
        if error is None or isinstance(error, _NotCreatedError):
            return {}
        optional = sample.optional
        bare = self._written(sample.without(optional))
        if bare is not None and not isinstance(bare, _NotCreatedError):
            plain = self._mounts(sample, f"mkfs.{'xfs' if sample.is_xfs else 'ext4'}", self._file)
            if plain is not None:
                raise _NothingMountedError(f"no file system in a file can be mounted: {plain}")
            needed = [
                name
                for name in set(sample.features) - set(optional)
                if self._written(sample.without({name, *optional})) is None
            ]
            what = f" with the feature {' or '.join(sorted(needed))}" if needed else ""
            raise CannotCreateError(
                f"The kernel of this host does not mount an {sample.type} like that of the "
                f"volume{what}: {_ended(str(bare))}",
                "the kernel of this host does not mount it",
            )
        kept: set[str] = set()
        found = True
        while found:
            # Some features need another one that comes later.
            found = False
            for name in optional:
                without = set(optional) - kept - {name}
                if name not in kept and self._written(sample.without(without)) is None:
                    kept.add(name)
                    found = True
        if not kept and bare is not None:
            raise bare
        why = "the kernel of this host does not mount it for writing"
        return {name: why for name in optional if name not in kept}

    def _written(self, sample: FileSystem) -> HostError | None:
        """Why a small file system cannot be created and mounted for writing; None if it can."""
        return self._mounts(sample, *sample.mkfs(self._file, _SMALL))

    def _mounts(self, sample: FileSystem, *mkfs: str) -> HostError | None:
        self._empty(_SMALL)
        _, error = self._attempt(*mkfs)
        if error is not None:
            return _NotCreatedError(str(error))
        options = ["loop", *sample.mount_options(read_only=False)]
        try:
            self._namespace.mount(self._file, self._place, sample.type, options)
            self._namespace.unmount()
        except NoProgressError:
            raise
        except HostError as refused:
            return refused
        return None

    def _attempt(self, *command: str) -> tuple[str, HostError | None]:
        """What a program has printed, and why it has failed; None if it has not."""
        try:
            return self._namespace.run(*command), None
        except NoProgressError:
            raise
        except HostError as error:
            return "", error

    def _empty(self, size: int) -> None:
        """Replace the file by an empty one.

        :param size: its size in bytes
        """
        self._namespace.run("rm", "--force", self._file)
        self._namespace.run("truncate", f"--size={size}", self._file)


def _ended(reason: str) -> str:
    """A reason that another sentence can follow."""
    return f"{reason.rstrip().rstrip('.')}."


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """The values that differ in a second description, by name; None for those that it lacks."""
    return {
        name: after.get(name)
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
