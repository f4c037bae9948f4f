"""What the tasks of a run, and those of one volume in it, share while this process lives."""

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
    """What the tasks of a run work with.

    :ivar parents: the backup to compare with, by volume id
    :ivar whole: how many volumes the run covers of each project of which it covers all
    :ivar lanes: how many volumes are worked on at a time
    :ivar stopping: set when the run is asked to stop
    """

    run_id: str
    host: Host
    ledger: Ledger
    catalogue: Catalogue
    progress: Observer
    slots: Slots
    parents: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, int] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass
class Work:
    """One volume's part in a run, with what must never be stored: secrets and live things.

    :ivar volume_id: the volume that is backed up, or whose backup is restored; or the group that
        several share
    :ivar cinder: block storage in the project in which this is done
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

    def let_go(self) -> None:
        """Give up what belongs to this process alone: the mounts, which a resume makes again."""
        namespace, self.namespace = self.namespace, None
        if namespace is not None:
            namespace.close()

    def tag(self, kind: str) -> str:
        """The mark of the one thing of this kind that this run makes for this volume."""
        return tag(self.services.run_id, self.volume_id, kind)

    def is_ours(self, tag: str | None) -> bool:
        """Whether a tag is of this run and volume."""
        mark = Mark.parse(tag)
        return mark is not None and mark == Mark(self.services.run_id, self.volume_id, mark.kind)

    def connection(self, attachment_id: str) -> dict[str, Any]:
        """The connection info of an attachment, which can hold secrets: kept in memory alone."""
        if attachment_id not in self._connections:
            attachment = self.cinder.attachments.get(attachment_id)
            self._connections[attachment_id] = attachment["connection_info"]
        return self._connections[attachment_id]
