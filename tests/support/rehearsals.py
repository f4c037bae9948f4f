"""What a host can create of a file system, as tests need it."""

from __future__ import annotations

from volflow.disk.filesystem import FileSystem
from volflow.disk.rehearsal import Fit


class Able:
    """A host that can create every file system."""

    def fit(self, file_system: FileSystem, room: int) -> Fit:
        return Fit(file_system)
