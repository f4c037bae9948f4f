"""What the tasks of a run share (Services), and what those of one volume share (Work)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from persistence import Catalogue, Ledger
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import Mark, tag
from volflow.host.host import Host
from volflow.host.namespace import MountNamespace
from volflow.movers.base import Mover, Repository
from volflow.observers.progress import Observer
from volflow.tasks.concurrency import Slots


@dataclass(frozen=True)
class Services:
    """What all tasks of a run use.

    :ivar ledger: where each temporary resource is recorded before it is made
    :ivar catalogue: where each backup is recorded when it is stored
    :ivar observer: receives the progress of each copy
    :ivar slots: limit the number of volumes that are copied in parallel
    :ivar parents: the backup that is the parent of the next one, by volume id
    :ivar volumes_in_project: the number of volumes, by project id, of each project that the run
        covers completely
    :ivar stopping: set when the run is asked to stop
    """

    run_id: str
    host: Host
    ledger: Ledger
    catalogue: Catalogue
    observer: Observer
    slots: Slots
    parents: Mapping[str, str] = field(default_factory=dict)
    volumes_in_project: Mapping[str, int] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass
class Work:
    """What the tasks of one volume use, with what must never be stored: secrets, open namespaces.

    :ivar volume_id: id of the volume that is backed up, or that the backup is of; or of the group
        that several volumes share
    :ivar cinder: block storage in the project that owns the temporary resources
    :ivar repository: the repository of the volume's project
    :ivar mover: what copies into and out of that repository
    :ivar namespace: the mount namespace, while something is mounted
    """

    services: Services
    volume_id: str
    cinder: Cinder
    repository: Repository
    mover: Mover
    namespace: MountNamespace | None = None
    _connections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def unmount(self) -> None:
        """Unmount what this process has mounted; a resume mounts it again."""
        namespace, self.namespace = self.namespace, None
        if namespace is not None:
            namespace.close()

    def tag(self, kind: str) -> str:
        """The tag of the one resource of this kind that this run makes for this volume."""
        return tag(self.services.run_id, self.volume_id, kind)

    def is_ours(self, tag: str | None) -> bool:
        """Whether a tag belongs to this run and volume."""
        mark = Mark.parse(tag)
        return mark is not None and mark == Mark(self.services.run_id, self.volume_id, mark.kind)

    def connection(self, attachment_id: str) -> dict[str, Any]:
        """The connection info of an attachment. It can hold secrets: it is kept only in memory."""
        if attachment_id not in self._connections:
            attachment = self.cinder.attachments.get(attachment_id)
            self._connections[attachment_id] = attachment["connection_info"]
        return self._connections[attachment_id]
