"""What every mover can do. A mover sees file trees, and nothing of Cinder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from volflow.host.namespace import MountNamespace
from volflow.results.outcome import Figures, Outcome

# Where things stand below a namespace's root, and so in every backup.
REGIONS = Path("regions")
# Where the one region stands that a volume has so far.
REGION = REGIONS / "0"
MANIFEST = Path("manifest.json")


@dataclass(frozen=True)
class CopyProgress:
    """How far a copy is. A total is 0 as long as it is not known. Sizes are bytes."""

    files: int = 0
    files_total: int = 0
    bytes: int = 0
    bytes_total: int = 0


@dataclass(frozen=True)
class StoredBackup:
    """A backup in the repository, as the repository tells of it.

    :ivar tags: what :meth:`Mover.save` was given
    """

    id: str
    created_at: datetime
    tags: Mapping[str, str]

    @property
    def unread(self) -> int:
        """How many files of the volume could not be read, and are not in it."""
        found = self.tags.get("unread", "")
        return int(found) if found.isdecimal() else 0

    @property
    def outcome(self) -> Outcome:
        """Whether all of the volume is in it."""
        return Outcome.PARTIAL if self.unread else Outcome.COMPLETE


@dataclass(frozen=True)
class Saved:
    """What came of storing a backup.

    :ivar unread: every path that could not be read
    """

    id: str
    figures: Figures = field(default_factory=Figures)
    unread: tuple[str, ...] = ()


class Mover(Protocol):
    """Moves the trees under a namespace's root into a repository and back.

    Every method raises :class:`~volflow.errors.RepositoryError` when the repository is missing,
    refuses or fails, and says what to do.
    """

    @property
    def location(self) -> str:
        """The repository's name, without secrets."""
        ...

    def check(self) -> None:
        """Make sure that the mover's programs and options are there and usable."""
        ...

    def init(self) -> None:
        """Make the repository."""
        ...

    def backups(self) -> Sequence[StoredBackup]:
        """All backups in the repository, the oldest first; shows that it can be written to.

        What a run has stored of a volume more than once is one backup: the last of it.
        """
        ...

    def save(
        self,
        namespace: MountNamespace,
        *,
        volume_id: str,
        tags: Mapping[str, str],
        parent_id: str | None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> Saved:
        """Store ``REGIONS`` and ``MANIFEST`` below the namespace's root as one backup.

        :param parent_id: the backup against which unchanged files are told
        :raises StoppedError: ``stopping`` was set; nothing is stored then
        """
        ...

    def manifest(self, backup_id: str) -> str:
        """The text of a backup's manifest."""
        ...

    def paths(self, backup_id: str, tree: Path) -> Iterator[tuple[str, bool]]:
        """Every path below a tree of a backup, and whether it is a directory.

        The tree itself comes first, as an empty path, and a directory before what is in it.

        :raises RepositoryError: a name cannot be told as it is
        """
        ...

    def restore(
        self,
        namespace: MountNamespace,
        backup_id: str,
        *,
        paths: Sequence[Path] = (REGIONS,),
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Write what is below these paths of the backup below the namespace's root.

        :raises StoppedError: ``stopping`` was set; what was written by then stays
        """
        ...

    def compare(
        self,
        namespace: MountNamespace,
        backup_id: str,
        tree: Path,
        *,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Compare a tree below the namespace's root with that of the backup.

        Of each file the content, the kind, the owner and the permissions.

        :raises HostError: they are not the same
        :raises StoppedError: ``stopping`` was set
        """
        ...

    def forget(self, backup_id: str) -> None:
        """Strike a backup."""
        ...

    def unlock(self) -> None:
        """Remove what the repository is locked with by copies that were killed."""
        ...
