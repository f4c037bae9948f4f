"""The files of a backup, by their paths in the volume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from volflow.errors import RepositoryError
from volflow.movers.base import Change, Node, Repository, ServedBackup
from volflow.repositories.manifest import Manifest


class BackupContents:
    """Looks into one backup.

    :param repository: the repository that holds the backup
    :param manifest: the manifest of the backup
    """

    def __init__(self, repository: Repository, backup_id: str, manifest: Manifest) -> None:
        self._repository, self._backup_id = repository, backup_id
        self._manifest = manifest

    def list(self, path: str = "/", *, recursive: bool = False) -> tuple[Node, ...]:
        """The contents of a directory of the volume, or the file with this path.

        :raises RepositoryError: the backup has no such path
        """
        found = self._nodes(path, recursive=recursive)
        return found[1:] if found[0].type == "dir" else found

    def node(self, path: str = "/") -> Node:
        """The directory or file with this path in the volume; its root unless given.

        :raises RepositoryError: the backup has no such path
        """
        return self._nodes(path)[0]

    def _nodes(self, path: str, *, recursive: bool = False) -> tuple[Node, ...]:
        inside = self._manifest.below_root(path).strip("/")
        wanted = Path(f"{self._manifest.root}/{inside}")
        found = self._repository.nodes(self._backup_id, wanted, recursive=recursive)
        if not found:
            lost = [f"{one.rstrip('/')}/" for one in self._manifest.unread]
            if any(f"/{inside}/".startswith(one) for one in lost):
                raise RepositoryError(
                    f"'/{inside}' could not be read when backup {self._backup_id[:8]} was made. It "
                    "is not in the backup: look for it in an earlier one of the volume."
                )
            raise RepositoryError(f"The backup does not contain '/{inside}'.")
        return tuple(
            replace(node, path=self._manifest.in_volume(node.path.lstrip("/"))) for node in found
        )

    def size(self) -> int:
        """The bytes of all its files, with their holes; files with several names count once."""
        return self._repository.size(self._backup_id)

    def changes(self, newer_id: str, *, metadata: bool = False) -> Iterator[Change]:
        """The differences between this backup and a newer one of the same volume.

        :param metadata: include paths of which only the metadata differs
        """
        root = f"/{self._manifest.root}/"
        for change in self._repository.changes(self._backup_id, newer_id, metadata=metadata):
            # The root of the volume has no name, and always exists.
            if change.path.startswith(root) and change.path != root:
                yield replace(change, path=self._manifest.in_volume(change.path.lstrip("/")))

    def read_all(self) -> int:
        """Read every byte of the volume's files and compare it with its checksums.

        :returns: the number of bytes read
        :raises RepositoryError: data is missing or damaged
        """
        return self._repository.read_all(self._backup_id, self._manifest.root)

    @contextmanager
    def mounted(self, mount_point: Path) -> Iterator[ServedBackup]:
        """Mount the backup read-only while the ``with`` block runs.

        :param mount_point: an empty directory
        :returns: its path is the root of the volume
        :raises HostError: this host cannot mount it
        """
        with self._repository.mounted(self._backup_id, mount_point) as found:
            yield replace(found, path=found.path / self._manifest.root)
