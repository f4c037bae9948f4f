"""The size of a backup that is restored, for its progress."""

from __future__ import annotations

from dataclasses import replace

from persistence import Catalogue, NotFound
from volflow.results.outcome import CopyProgress, Figures


class Totals:
    """Number of files and bytes of a backup, if the state database knows it.

    :param repository: the name of its repository
    :ivar files: the number of its files; 0 if it is not known
    :ivar bytes: the size of all its files; 0 if it is not known
    """

    def __init__(self, catalogue: Catalogue, backup_id: str, repository: str) -> None:
        try:
            figures = Figures.of(catalogue.get(backup_id, repository).figures)
        except NotFound:
            figures = Figures()
        self.files, self.bytes = figures.files_total, figures.bytes_total

    def of(self, copied: CopyProgress) -> CopyProgress:
        """The progress of a copy, with the totals."""
        # restic counts directories too while it restores.
        files = min(copied.files, self.files) if self.files else copied.files
        return replace(copied, files=files, files_total=self.files, bytes_total=self.bytes)
