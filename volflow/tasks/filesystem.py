"""The file system on the volume: probed before a backup, made before a restore."""

from __future__ import annotations

import math
from typing import Any

from volflow.disk import filesystem
from volflow.disk.filesystem import FileSystem
from volflow.errors import HostError, StoppedError
from volflow.movers.stall import StallGuard
from volflow.tasks.base import Step
from volflow.tasks.claim import Claim
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.work import Work


def _overwriting(safety: SafetySnapshot, volume_id: str, attachment_id: str) -> None:
    """Begin to overwrite an existing volume, unless somebody else may write to it."""
    Claim.require_alone(safety.work, volume_id, attachment_id)
    safety.overwriting()


def found_file_systems(stored: dict[str, Any]) -> list[FileSystem]:
    """The file systems of a volume, in the order of its regions, from the result of a step.

    :param stored: one file system as a dictionary; volflow supports only one per volume so far
    """
    return [FileSystem(**stored)]


class Probe(Step):
    """Finds which file system is on the volume. Makes nothing."""

    step = "probe"
    default_provides = "file_system"

    def execute(self, device: str) -> dict[str, Any]:
        return filesystem.probe(self.services.host.privilege, device).to_dict()


class ProbeTarget(Step):
    """Finds which file system is on the volume that a restore merges into.

    :param safety: the safety snapshot, if the volume is an existing one; None for a copy of it
    """

    step = "probe"
    default_provides = "file_system"

    def __init__(self, work: Work, safety: SafetySnapshot | None) -> None:
        super().__init__(work)
        self._safety = safety

    def execute(self, device: str, clone_id: str, attachment_id: str) -> dict[str, Any]:
        found = filesystem.probe(self.services.host.privilege, device).to_dict()
        if self._safety:
            _overwriting(self._safety, clone_id, attachment_id)
        return found


class MakeFileSystem(Step):
    """Makes the file system of the backup on the target. The previous content is lost.

    This step has nothing to revert: other steps delete a new volume, and revert an existing one to
    its safety snapshot.

    :param size: maximum size in bytes; that of the device by default
    :param safety: the safety snapshot, if the target is an existing volume
    """

    step = "make file system"
    default_provides = "file_system"

    def __init__(
        self,
        work: Work,
        file_system: FileSystem,
        *,
        size: int | None = None,
        safety: SafetySnapshot | None = None,
    ) -> None:
        super().__init__(work)
        self._file_system, self._size, self._safety = file_system, size, safety

    def execute(self, device: str, clone_id: str, attachment_id: str) -> dict[str, Any]:
        if self._safety:
            _overwriting(self._safety, clone_id, attachment_id)
        room = self.services.host.device_size(device)
        size = self._size if self._size and self._size < room else None
        self._make(device, size)
        return self._file_system.to_dict()

    def _make(self, device: str, size: int | None) -> None:
        """Make it, unless the run is asked to stop in the meantime: a resume starts again.

        :raises StoppedError: the run was asked to stop
        """
        services = self.services
        namespace = services.host.namespace()
        try:
            with StallGuard(services.stopping, math.inf).watching(namespace.close):
                self._file_system.make(namespace, device, size)
        except HostError as error:
            if services.stopping.is_set():
                raise StoppedError("Stopped while making a file system.") from error
            raise
        finally:
            namespace.close()
