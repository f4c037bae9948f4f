"""What the tasks of a run share (Services), and what those of one volume share (Work)."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from persistence import Catalogue, Ledger
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import tag
from volflow.disk.inspection import Choice
from volflow.disk.regions import Disk, MappedRegions
from volflow.disk.rehearsal import Rehearsal
from volflow.errors import StoppedError
from volflow.host.freeze import Quiesce
from volflow.host.host import Host
from volflow.host.namespace import MountNamespace
from volflow.movers.base import Mover, Repository, StoredBackup
from volflow.observers.progress import Observer
from volflow.repositories.increment import Increment
from volflow.tasks.concurrency import Slots


@dataclass(frozen=True)
class Services:
    """What all tasks of a run use.

    :ivar ledger: where each temporary resource is recorded before it is made
    :ivar catalogue: where each backup is recorded when it is stored
    :ivar observer: receives the progress of each copy
    :ivar rehearsal: tries which file systems this host can create
    :ivar slots: limit the number of volumes that are copied in parallel
    :ivar parents: the backup that is the parent of the next one, by volume id
    :ivar numbers: the number of the last backup, by volume id
    :ivar volumes_in_project: the number of volumes, by project id, of each project that the run
        covers completely
    :ivar file_systems: what tells the file systems in the last backup from others, by volume id
    :ivar choice: what is stored as images
    :ivar full_every: how often a backup of a volume reads everything; zero for never
    :ivar quiesce: how guests are frozen for a snapshot; None if they are not
    :ivar stopping: set when the run is asked to stop
    :ivar patience: seconds for which the removal of a resource is tried again
    :ivar in_vain: the kinds of resources for which all this time has passed in vain
    """

    run_id: str
    host: Host
    ledger: Ledger
    catalogue: Catalogue
    observer: Observer
    rehearsal: Rehearsal
    slots: Slots
    parents: Mapping[str, StoredBackup] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    volumes_in_project: Mapping[str, int] = field(default_factory=dict)
    file_systems: Mapping[str, str] = field(default_factory=dict)
    choice: Choice = field(default_factory=Choice)
    full_every: timedelta = timedelta()
    quiesce: Quiesce | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    patience: float = 0.0
    in_vain: set[str] = field(default_factory=set)


@dataclass
class Work:
    """What the tasks of one volume use, with what must never be stored: secrets, open namespaces.

    :ivar volume_id: id of the volume that is backed up, or that the backup is of; or of the group
        that several volumes share
    :ivar cinder: block storage in the project that owns the temporary resources
    :ivar repository: the repository of the volume's project
    :ivar mover: what copies into and out of that repository
    :ivar changed_too: a person has agreed to undo also what others have changed since
    :ivar namespace: the mount namespace, while something is mounted
    :ivar mapped: the block devices of its regions, while they are mounted
    :ivar disk: what a backup stores of the volume, once it is mounted
    :ivar increment: what a backup reads of what is mounted
    :ivar undoing: a request to stop does not end the waits for a removal
    """

    services: Services
    volume_id: str
    cinder: Cinder
    repository: Repository
    mover: Mover
    namespace: MountNamespace | None = None
    mapped: MappedRegions | None = None
    disk: Disk | None = None
    increment: Increment | None = None
    undoing: bool = True
    changed_too: bool = False
    _connections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def plan_increment(self, snapshot: Mapping[str, Any], file_system: str) -> Increment:
        """Decide what the backup of a snapshot reads.

        :param file_system: tells the file systems on it from others
        """
        return Increment.plan(
            self.volume_id,
            snapshot,
            file_system,
            parent=self.services.parents.get(self.volume_id),
            repository=self.repository,
            full_every=self.services.full_every,
        )

    def interruptible(self) -> Work:
        """The same work, with waits for a removal that a request to stop ends."""
        return replace(self, cinder=self.cinder.interruptible(), undoing=False)

    def rest(self, seconds: float, doing: str) -> None:
        """Wait before the next attempt to remove something.

        :raises StoppedError: the run was asked to stop
        """
        if self.undoing:
            time.sleep(seconds)
        elif self.services.stopping.wait(seconds):
            raise StoppedError(f"Stopped while {doing}.")

    def unmount(self) -> None:
        """Unmount what this process has mounted; a resume mounts it again."""
        namespace, self.namespace = self.namespace, None
        maps, self.mapped = self.mapped, None
        if namespace is not None:
            namespace.close()
        if maps is not None:
            maps.close()

    def tag(self, kind: str) -> str:
        """The tag of the one resource of this kind that this run makes for this volume."""
        return tag(self.services.run_id, self.volume_id, kind)

    def record(self, kind: str, **details: Any) -> None:
        """Record something that is nothing to remove: its entry is closed at once."""
        ledger, mark = self.services.ledger, self.tag(kind)
        ledger.intend(
            mark,
            run_id=self.services.run_id,
            item=self.volume_id,
            kind=kind,
            details=details,
        )
        ledger.gone(mark)

    def is_ours(self, tag: str | None) -> bool:
        """Whether a tag belongs to this run and volume."""
        return (tag or "").rpartition("/")[0] == f"{self.services.run_id}/{self.volume_id}"

    def connection(self, attachment_id: str) -> dict[str, Any]:
        """The connection info of an attachment. It can hold secrets: it is kept only in memory."""
        if attachment_id not in self._connections:
            attachment = self.cinder.attachments.get(attachment_id)
            self._connections[attachment_id] = attachment["connection_info"]
        return self._connections[attachment_id]
