"""Repository and Mover: what volflow asks of whatever stores its backups.

A repository keeps backups. A mover copies the data of volumes into it and out of it. Both see file
trees and a manifest, and nothing of Cinder. A backup looks like a directory: the manifest is the
file :data:`MANIFEST`, each region of the volume is a tree whose path the manifest gives. Paths in a
backup are relative to that directory.

Every method raises :class:`~volflow.errors.RepositoryError`, or a class of that, when the
repository does not exist, refuses access or fails. The message says what to do.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

from volflow.host.identity import Process
from volflow.host.namespace import MountNamespace
from volflow.results.outcome import CopyProgress, Figures, Outcome
from volflow.times import moment_of

# Where the manifest is in a backup, and below a namespace's root while the backup is stored.
MANIFEST = Path("manifest.json")
#: The directory of a backup with what is known of files beside their data. What is in it are no
#: files of the volume, and not counted.
ATTRIBUTES = Path("attributes")
# The tag ``state`` of a copy until there is a verdict on it.
UNCHECKED = "unchecked"
# Clocks of hosts differ by less than this.
CLOCKS_DIFFER = timedelta(minutes=5)
# The free bytes without which a repository in a directory cannot take data: restic writes several
# files of 16 MiB and more at a time.
STORES_WITH = 64 * 2**20
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class StoredBackup:
    """A backup as the repository lists it.

    :ivar created_at: when it was stored, by the clock of the host that stored it
    :ivar tags: the tags that :meth:`Mover.save` stored with it
    """

    id: str
    created_at: datetime
    tags: Mapping[str, str]

    @property
    def taken_at(self) -> datetime:
        """The time of the data: when Cinder made the snapshot.

        Release 0.1.0 did not record it; its backups count from when they were stored.
        """
        return moment_of(self.tags.get("taken", "")) or self.created_at

    @property
    def full_at(self) -> datetime | None:
        """The time of the data of the last backup that read everything: this one or an ancestor.

        None if it was not recorded: by release 0.1.0.
        """
        return moment_of(self.tags.get("full", ""))

    @property
    def number(self) -> int:
        """Counts the backups of a volume; 0 if it was not recorded."""
        found = self.tags.get("number", "")
        return int(found) if _COUNT.fullmatch(found) else 0

    @property
    def order(self) -> tuple[datetime, int, datetime]:
        """Sorts backups, the oldest data first."""
        return self.taken_at, self.number, self.created_at

    @property
    def finished(self) -> bool:
        """Whether it is known which files could not be read.

        If not, nobody knows whether all files are in it.
        """
        return self.tags.get("state") != UNCHECKED

    @property
    def verdict_id(self) -> str:
        """What to read the manifest of: the verdict if there is one, else the backup itself."""
        return self.tags.get("checked") or self.id

    def of_the_future(self, now: datetime | None = None) -> bool:
        """Whether its data is later than now: a clock was wrong."""
        return self.taken_at > (now or datetime.now(UTC)) + CLOCKS_DIFFER

    @property
    def unread(self) -> int:
        """The number of files and directories that could not be read and are not in the backup.

        A directory counts as one, whatever was in it.
        """
        found = self.tags.get("unread", "")
        return int(found) if found.isdecimal() else 0

    @property
    def files(self) -> int | None:
        """The number of files in the backup; None if it was not recorded."""
        return self._count("files")

    @property
    def files_before(self) -> int | None:
        """If this backup is partial and has far fewer files than the last complete one before it:
        the number of files of that one.
        """
        return self._count("files_before")

    def _count(self, key: str) -> int | None:
        found = self.tags.get(key, "")
        return int(found) if _COUNT.fullmatch(found) else None

    @property
    def outcome(self) -> Outcome:
        """Complete, partial if files are missing, or unfinished if that is not known."""
        if not self.finished:
            return Outcome.UNFINISHED
        return Outcome.PARTIAL if self.unread else Outcome.COMPLETE


@dataclass(frozen=True)
class Saved:
    """The result of storing a backup.

    :ivar id: the id of the backup
    :ivar unread: the path in the backup of every file that could not be read; a name without a
        slash if the mover cannot tell the path
    """

    id: str
    figures: Figures = field(default_factory=Figures)
    unread: tuple[str, ...] = ()


class StoredPath(NamedTuple):
    """A path of a backup, relative to a tree of it; empty for the tree itself.

    :ivar modified: microseconds since the epoch
    """

    path: str
    directory: bool
    modified: int


@dataclass(frozen=True)
class MountedTree:
    """A region that is a file tree, mounted in a namespace.

    :ivar path: relative to the namespace's root, and the same in the backup
    :ivar without: paths in the tree that are not stored, nor what is below them
    """

    path: Path
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawImage:
    """A region that is stored as an image: a range of a device, byte for byte.

    :ivar path: of the file in the backup, relative, for example ``regions/2.img``
    :ivar device: the block device, or a file
    :ivar start: the first byte of the range
    :ivar size: the bytes of the range
    """

    path: Path
    device: str
    start: int
    size: int


@dataclass(frozen=True)
class Node:
    """A file, directory or other object in a backup.

    :ivar path: absolute, as a text
    :ivar type: file, dir, symlink, fifo, socket, chardev or dev, as restic calls them
    :ivar permissions: as ``ls -l`` shows them
    :ivar size: bytes; 0 for anything but a file
    """

    path: str
    type: str
    permissions: str
    uid: int
    gid: int
    size: int
    modified_at: datetime


@dataclass(frozen=True)
class Change:
    """A path that differs between two backups.

    :ivar path: absolute, as a text
    :ivar kind: ``added``, ``removed``, ``changed`` if the content differs, or ``metadata`` if
        nothing else does
    """

    path: str
    kind: str


@dataclass(frozen=True)
class ServedBackup:
    """A backup that the repository shows as a directory.

    :ivar path: the directory that shows the backup
    :ivar ended: returns True once the program that serves the mount has ended
    """

    path: Path
    ended: Callable[[], bool]


class Repository(Protocol):
    """Keeps backups."""

    @property
    def location(self) -> str:
        """The repository's name, without secrets."""
        ...

    @property
    def local_path(self) -> Path | None:
        """The repository's directory, if it is on this host."""
        ...

    @property
    def version(self) -> str:
        """The version of the program that accesses the repository."""
        ...

    def check(self) -> None:
        """Make sure that the required programs are installed and the options are valid.

        :raises ConfigError: an option is invalid or missing
        """
        ...

    def init(self) -> None:
        """Create the repository.

        :raises RepositoryError: it exists already
        """
        ...

    def exists(self) -> bool:
        """Whether the repository exists. The password is not needed.

        :raises RepositoryError: this cannot be determined
        """
        ...

    def check_writable(self) -> None:
        """Fail if it is known that nothing can be stored.

        What only reads works nevertheless.

        :raises RepositoryError: the repository is a read-only directory
        """
        ...

    def backups(self) -> Sequence[StoredBackup]:
        """All backups, the oldest data first.

        A warning names what cannot be read, and is missing in the list.

        If a run has stored a volume more than once, only the last one is a backup. A copy on which
        there is no verdict is listed as unfinished.

        :raises NoRepositoryError: the repository does not exist
        :raises PasswordError: the password is wrong
        """
        ...

    def holds(self, backup: StoredBackup) -> bool:
        """Whether the storage itself has a finished backup: its copy, and the verdict on it.

        :meth:`backups` can come from a cache, which has also what the storage has lost.

        :raises RepositoryError: this cannot be determined
        """
        ...

    def manifest(self, backup_id: str) -> str:
        """The text of a manifest.

        :param backup_id: of a verdict (:attr:`StoredBackup.verdict_id`), which alone names the
            files that could not be read, or of a backup
        :raises BackupNotFoundError: the backup does not exist
        """
        ...

    def forget(self, backup_id: str) -> None:
        """Remove a backup and its verdict from the list. :meth:`prune` frees the space.

        A backup that does not exist is no error.
        """
        ...

    def prune(self, abandoned: Callable[[StoredBackup], bool] = lambda _: False) -> str:
        """Free the space that no backup needs; returns a report.

        No backup may be stored at the same time.

        :param abandoned: says whether the run of an unfinished copy will not continue: it goes too
        :raises RepositoryError: not everything can be read, so it is not known what is needed
        """
        ...

    def note_gone(self, volume_id: str, *, run_id: str, project_id: str) -> None:
        """Record that a volume no longer existed when a run came to it.

        The volume then counts as one that the run has seen: all backups of the run in this
        project list it in the tag ``gone``.
        """
        ...

    def check_data(self, percent: float = 0.0) -> str:
        """Check the repository's structure; returns a report.

        :param percent: how much of the stored data to read and compare with its checksums
        :raises RepositoryError: data is missing or damaged
        """
        ...

    def unlock(self, owners: Sequence[Process] = (), others: Sequence[Process] = ()) -> None:
        """Remove the locks of processes that were killed. Locks of running ones stay.

        Without a lock of one of the owners there is nothing to do.

        :param owners: processes that may have held a lock, and whose volflow has ended
        :param others: processes that may hold other locks, and may run. No lock is removed before
            it is proved of the process of each lock that it runs here or has ended
        :raises RepositoryError: a lock may belong to a running process, or cannot be removed
            without harm
        """
        ...

    def nodes(self, backup_id: str, path: Path, *, recursive: bool = False) -> Sequence[Node]:
        """The object with this path. If it is a directory, its contents follow.

        :param recursive: list the contents of its subdirectories too
        :returns: nodes with paths in the backup; none if the backup has no such path
        """
        ...

    def size(self, backup_id: str) -> int:
        """The bytes of all files of a backup, with their holes.

        Files with several names count once.
        """
        ...

    def changes(self, old_id: str, new_id: str, *, metadata: bool = False) -> Iterator[Change]:
        """The differences between two backups, with paths in the backup.

        :param metadata: include paths of which only the metadata differs
        """
        ...

    def read_all(self, backup_id: str, path: Path) -> int:
        """Read every byte below a path of a backup and compare it with its checksums.

        :returns: the number of bytes read
        :raises RepositoryError: data is missing or damaged
        """
        ...

    def mounted(self, backup_id: str, mount_point: Path) -> AbstractContextManager[ServedBackup]:
        """Mount a backup read-only while the ``with`` block runs.

        :param mount_point: an empty directory
        :raises HostError: this host cannot mount it
        """
        ...


class Mover(Protocol):
    """Copies regions of a volume into a repository and back."""

    @property
    def restores_holes(self) -> bool:
        """Whether :meth:`restore` never writes more of a sparse file than was allocated."""
        ...

    def save(
        self,
        namespace: MountNamespace,
        regions: Sequence[MountedTree | RawImage],
        *,
        volume_id: str,
        tags: Mapping[str, str],
        listed_at: datetime,
        parent_id: str | None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> Saved:
        """Store the regions and the ``MANIFEST`` below the namespace's root as one copy.

        It is unfinished until :meth:`confirm`.

        :param regions: file trees are mounted in the namespace. An image is an ordinary file in
            the backup, and counts as one file; a mover reads its device directly, and may mount
            something at its path in the namespace meanwhile
        :param listed_at: the time by which the repository's own tools order and retain it
        :param parent_id: files that have not changed since this backup are not read; images may be
        :raises StoppedError: ``stopping`` was set; nothing is stored
        """
        ...

    def confirm(
        self,
        namespace: MountNamespace,
        copy_id: str,
        *,
        volume_id: str,
        tags: Mapping[str, str],
        listed_at: datetime,
        stopping: threading.Event,
    ) -> bool:
        """Make a copy a backup: store the verdict on it, and see that the storage has both.

        The verdict is the ``MANIFEST`` below the namespace's root. It is stored again if the
        storage has lost it.

        :param copy_id: what :meth:`save` returned
        :param tags: those of the copy, and what is known now: with ``unread``, the number of its
            unreadable files and directories, the backup is partial
        :param listed_at: the same as for :meth:`save`
        :returns: whether the storage has lost something that it had accepted
        :raises StoppedError: ``stopping`` was set; there is no verdict
        """
        ...

    def paths(self, backup_id: str, tree: Path) -> Iterator[StoredPath]:
        """Every path below a tree of a backup.

        The tree itself comes first, as an empty path. A directory comes before its contents.

        :raises RepositoryError: the exact name of a file cannot be determined
        """
        ...

    def restore(
        self,
        namespace: MountNamespace,
        backup_id: str,
        paths: Sequence[Path],
        *,
        without: Sequence[Path] = (),
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Write these paths of the backup, with their contents, below the namespace's root.

        :param without: paths below these that are not written, nor their contents
        :raises StoppedError: ``stopping`` was set; what has been written stays
        """
        ...

    def compare(
        self,
        namespace: MountNamespace,
        backup_id: str,
        tree: Path,
        *,
        covered: Callable[[str], bool] | None = None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Compare a tree below the namespace's root with the same tree of the backup.

        Compares the content, type, owner and permissions of each file.

        :param covered: returns whether a path of the tree must be the same; all by default
        :raises HostError: they differ
        :raises StoppedError: ``stopping`` was set
        """
        ...

    def restore_image(
        self,
        namespace: MountNamespace,
        backup_id: str,
        image: RawImage,
        *,
        blank: bool,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Write an image of the backup to its range of a device. It is durable on return.

        Nothing outside of the range is written.

        :param blank: the range reads as zeros already. Otherwise it does so afterwards where the
            image is zero: these ranges are discarded, or zeros are written
        :raises HostError: the stored file has another size than the range, or the device cannot be
            written; a part of the range may have been written
        :raises StoppedError: ``stopping`` was set; what has been written stays
        """
        ...

    def compare_image(
        self,
        namespace: MountNamespace,
        backup_id: str,
        image: RawImage,
        *,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Compare the range of a device, as the device has it, with an image of the backup.

        :raises HostError: they differ; names the offset in the range of the first difference
        :raises StoppedError: ``stopping`` was set
        """
        ...
