"""The backups that there are: found in the repositories, which have the last word."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from volflow.errors import BackupNotFoundError, UsageError
from volflow.manifest import Manifest
from volflow.movers.base import Stored
from volflow.parts import Parts


class Archive:
    """The backups in the repository, or in the repositories of several projects.

    :param parts: what volflow is made of
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._manifests: dict[str, Manifest] = {}

    def backups(self, projects: Iterable[str] | None = None) -> list[Stored]:
        """All backups, the oldest first.

        :param projects: look in the repositories of these projects, where each has its own;
            unless given, in that of the project of the login
        :raises RepositoryError: one is missing, refuses or fails
        """
        if projects is None or not self._parts.repository_per_project:
            return list(self._parts.mover().backups())
        with ThreadPoolExecutor(os.cpu_count(), "repository") as pool:
            found = pool.map(lambda one: self._parts.mover(one).backups(), sorted(set(projects)))
            merged = [backup for backups in found for backup in backups]
        return sorted(merged, key=lambda backup: backup.created_at)

    def manifest(self, backup: Stored) -> Manifest:
        """The manifest of a backup, which never changes."""
        return self.manifest_of(backup.id, backup.tags.get("project"))

    def manifest_of(self, backup_id: str, project_id: str | None) -> Manifest:
        """The same by the id of the backup, and the project that its volume was in."""
        if backup_id not in self._manifests:
            mover = self._parts.mover(project_id)
            self._manifests[backup_id] = Manifest.from_json(mover.manifest(backup_id))
        return self._manifests[backup_id]

    def manifests(self, backups: Sequence[Stored]) -> list[Manifest]:
        """The manifests of several backups, read side by side."""
        # Reading one takes restic most of a second, for which it mostly computes.
        with ThreadPoolExecutor(os.cpu_count(), "manifest") as pool:
            return list(pool.map(self.manifest, backups))


def find(stored: Sequence[Stored], what: str) -> Stored:
    """The backup of that id or prefix, or the last backup of the volume of that id or name.

    :param stored: the backups, the oldest first
    :raises BackupNotFoundError: there is none
    :raises UsageError: it could be several
    """
    by_volume = [b for b in stored if what in (b.tags.get("volume"), b.tags.get("name"))]
    volumes = {backup.tags.get("volume") for backup in by_volume}
    if len(volumes) > 1:
        ids = ", ".join(sorted(map(str, volumes)))
        raise UsageError(f"Backups of {len(volumes)} volumes named '{what}'; give an id: {ids}")
    if by_volume:
        return by_volume[-1]
    by_id = [backup for backup in stored if backup.id.startswith(what)]
    if not by_id:
        raise BackupNotFoundError(
            f"No backup, and no volume with a backup, has the id or name '{what}'. "
            "'volflow backup list' shows those that there are."
        )
    if len(by_id) > 1:
        ids = ", ".join(backup.id[:12] for backup in by_id)
        raise UsageError(f"{len(by_id)} backups begin with '{what}'; give more of it: {ids}")
    return by_id[0]


def latest(stored: Iterable[Stored]) -> list[Stored]:
    """The last backup of each volume.

    :param stored: the backups, the oldest first
    """
    return list({backup.tags["volume"]: backup for backup in stored}.values())


def until(stored: Iterable[Stored], moment: datetime | None) -> list[Stored]:
    """The backups that there were at a moment; all where none is given."""
    return [backup for backup in stored if moment is None or backup.created_at <= moment]
