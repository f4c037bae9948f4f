"""How much there is in a backup that is restored."""

from __future__ import annotations

from dataclasses import replace

from persistence import Catalogue, NotFound
from volflow.results.outcome import CopyProgress, Figures


class Totals:
    """Files and bytes of a backup, as far as the state database knows it.

    :param repository: the name of the repository in which it is
    """

    def __init__(self, catalogue: Catalogue, backup_id: str, repository: str) -> None:
        try:
            figures = Figures(**catalogue.get(backup_id, repository).figures)
        except NotFound:
            figures = Figures()
        self._files, self._bytes = figures.files_total, figures.bytes_total

    def of(self, copied: CopyProgress) -> CopyProgress:
        """How far a copy is, with what there is in all."""
        # While it is written, directories are counted, too.
        files = min(copied.files, self._files) if self._files else copied.files
        return replace(copied, files=files, files_total=self._files, bytes_total=self._bytes)
