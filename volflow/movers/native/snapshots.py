"""Snapshots: what makes a tree a backup.

From restic's design document, "Snapshots". What is known of a snapshot is kept as it is.
"""

from __future__ import annotations

from typing import Any

from volflow.errors import BackupNotFoundError
from volflow.movers.native import documents
from volflow.movers.native.crypto import Key
from volflow.movers.native.directory import Directory, Kind

Snapshot = dict[str, Any]


class Snapshots:
    """The snapshots of a repository."""

    def __init__(self, directory: Directory, key: Key) -> None:
        self._directory = directory
        self._key = key

    def full_id(self, beginning: str) -> str:
        """The id of a snapshot that begins so.

        :raises BackupNotFoundError: there is none, or more than one
        """
        found = [
            name for name in self._directory.names(Kind.SNAPSHOT) if name.startswith(beginning)
        ]
        if len(found) != 1 or not beginning:
            raise BackupNotFoundError(
                f"The repository {self._directory.path} holds {len(found) or 'no'} backups "
                f"'{beginning[:80]}'."
            )
        return found[0]

    def read(self, snapshot_id: str) -> Snapshot:
        """A snapshot.

        :param snapshot_id: or its beginning
        :raises BackupNotFoundError: it does not exist
        :raises DamagedError: it is damaged
        """
        name = self.full_id(snapshot_id)
        try:
            sealed = self._directory.read(Kind.SNAPSHOT, name)
        except FileNotFoundError as error:
            raise BackupNotFoundError(
                f"The repository {self._directory.path} holds no backup {name[:8]} any more."
            ) from error
        return documents.unseal_object(self._key, sealed, f"Snapshot {name[:8]}")

    def write(self, snapshot: Snapshot) -> str:
        """Store a snapshot; returns its id.

        :raises OSError: it cannot be written
        """
        return self._directory.write(Kind.SNAPSHOT, documents.seal(self._key, snapshot))

    def remove(self, snapshot_id: str) -> None:
        """Remove a snapshot, which another one replaces.

        restic removes snapshots under an exclusive lock, because a prune may follow. Without a
        prune, nothing that another process reads or refers to goes with it.
        """
        self._directory.remove(Kind.SNAPSHOT, snapshot_id)
