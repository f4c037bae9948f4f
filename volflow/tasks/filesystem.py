"""The file system on the volume: told before a backup, made before a restore."""

from __future__ import annotations

from typing import Any

from volflow.disk import filesystem
from volflow.disk.filesystem import FileSystem
from volflow.tasks.base import Step
from volflow.tasks.safety import SafetySnapshot
from volflow.tasks.work import Work


class Probe(Step):
    """Tells what is on the volume. Makes nothing."""

    step = "probe"
    default_provides = "file_system"

    def execute(self, device: str) -> dict[str, Any]:
        return filesystem.probe(self.services.privilege, device).to_dict()


class MakeFileSystem(Step):
    """Makes the file system of the backup on the target, which loses what it had.

    There is nothing to revert here: a new volume is deleted, and one that was there before goes
    back to its safety snapshot.

    :param safety: the safety snapshot, where the target was there before
    """

    step = "make file system"
    default_provides = "file_system"

    def __init__(
        self, work: Work, file_system: FileSystem, safety: SafetySnapshot | None = None
    ) -> None:
        super().__init__(work)
        self._file_system, self._safety = file_system, safety

    def execute(self, device: str) -> dict[str, Any]:
        if self._safety:
            self._safety.overwriting()
        self._file_system.make(self.services.privilege, device)
        return self._file_system.to_dict()
