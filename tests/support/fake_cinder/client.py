"""The fake python-cinderclient itself."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cinderclient import api_versions, exceptions

from tests.support.fake_cinder.attachments import Attachments
from tests.support.fake_cinder.groups import Groups, GroupSnapshots
from tests.support.fake_cinder.manager import PROJECT, Resource
from tests.support.fake_cinder.snapshots import Snapshots
from tests.support.fake_cinder.volumes import TYPE, Volumes
from volflow.cloud.cinder import NEWEST, Cinder
from volflow.cloud.marks import TAG_KEY
from volflow.cloud.patience import Patience
from volflow.cloud.wait import Wait

_VERSION = api_versions.APIVersion(NEWEST)
_LIMITS = {
    "volumes": "maxTotalVolumes",
    "snapshots": "maxTotalSnapshots",
    "gigabytes": "maxTotalVolumeGigabytes",
}


class FakeClient:
    """The part of a python-cinderclient that volflow uses.

    :ivar done: the calls that changed something, in their order
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.volumes = Volumes(self.done, "volumes")
        self.volume_snapshots = Snapshots(self.done, "volume_snapshots")
        self.attachments = Attachments(self.done, "attachments")
        self.consistencygroups = Groups(self.done, "consistencygroups", self.volumes)
        self.groups = Groups(self.done, "groups", self.volumes, self.consistencygroups)
        self.group_snapshots = GroupSnapshots(
            self.done, "group_snapshots", self.volumes, self.volume_snapshots
        )
        self.cgsnapshots = GroupSnapshots(
            self.done, "cgsnapshots", self.volumes, self.volume_snapshots
        )
        self.types = [TYPE]
        self.volume_types = SimpleNamespace(list=lambda: list(map(Resource, self.types)))
        self.messages = SimpleNamespace(list=lambda search_opts: [])
        self.services = SimpleNamespace(list=list)
        zone = SimpleNamespace(zoneName="nova", zoneState={"available": True})
        self.availability_zones = SimpleNamespace(list=lambda: [zone])
        # No limits unless a test sets them.
        absolute: list[SimpleNamespace] = []
        self.limits = SimpleNamespace(get=lambda: SimpleNamespace(absolute=absolute))
        self._usage: dict[str, Any] = {}
        self.quotas = SimpleNamespace(get=lambda project, usage: Resource(self._usage))
        self._changed: list[tuple[Any, str]] = []

    def cinder(
        self, project_id: str | None = PROJECT, *, patience: Patience | None = None
    ) -> Cinder:
        """volflow's own Cinder, using this client.

        :param patience: how long it repeats what fails; not at all unless given
        """
        return Cinder(
            self,
            project_id=project_id,
            version=_VERSION,
            wait=Wait(),
            patience=patience or Patience(0),
        )

    # Called by tests

    def put(self, tag: str | None = None, *, volume_id: str | None = None, **more: Any) -> str:
        """Add a volume, or a snapshot of a volume.

        :param tag: its tag
        """
        more.setdefault("metadata", {TAG_KEY: tag} if tag else {})
        if volume_id:
            return str(self.volume_snapshots.create(volume_id, **more).id)
        return str(self.volumes.create(**more).id)

    def attach(self, volume_id: str, *, server: str | None = None, status: str = "attached") -> str:
        """Add an attachment of a volume.

        :param server: the id of the server that it is attached to
        """
        made = str(self.attachments.create(volume_id, {}, server)["id"])
        self.attachments[made]["status"] = status
        self.done.pop()
        return made

    def tag(self, volume_id: str) -> str | None:
        """The tag of a volume."""
        found: str | None = self.volumes[volume_id]["metadata"].get(TAG_KEY)
        return found

    def leave(self, *, volume_type: str | None = None, **left: int) -> None:
        """Limit the free quota.

        :param volume_type: the name of the type with this limit; else the limit is the project's
        :param left: ``volumes``, ``snapshots`` and ``gigabytes``
        """
        for resource, amount in left.items():
            if volume_type:
                limit = {"limit": amount, "in_use": 0, "reserved": 0}
                self._usage[f"{resource}_{volume_type}"] = limit
            else:
                limit_of = SimpleNamespace(name=_LIMITS[resource], value=amount)
                self.limits.get().absolute.append(limit_of)

    def reserve(self, **amounts: int) -> None:
        """Reserve a part of the project's quota, as a request in progress does."""
        for resource, amount in amounts.items():
            self._usage[resource] = {"limit": -1, "in_use": 0, "reserved": amount}

    # Making calls fail, or act

    def fail(
        self,
        *calls: str,
        when: Callable[..., bool] = lambda *_, **__: True,
        message: str = "refused",
        error: Exception | None = None,
    ) -> None:
        """Make these calls fail until :meth:`recover`.

        :param calls: each as ``<manager>.<method>``
        :param when: whether a call with these arguments fails; every call unless given
        :param message: the message of the error 500 that they raise
        :param error: the exception that they raise instead
        """
        for call in calls:
            manager, _, method = call.partition(".")
            original = getattr(getattr(self, manager), method)

            def failing(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
                if when(*args, **kwargs):
                    raise error or exceptions.ClientException(500, message)
                return _original(*args, **kwargs)

            self._change(call, failing)

    def after(self, call: str, act: Callable[[], object]) -> None:
        """Act once, after this call has been carried out and before it returns.

        :param call: ``<manager>.<method>``
        """
        manager, _, method = call.partition(".")
        original = getattr(getattr(self, manager), method)

        def acting(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self.recover()
            act()
            return result

        self._change(call, acting)

    def recover(self) -> None:
        """Let all calls succeed again."""
        for manager, method in self._changed:
            vars(manager).pop(method, None)
        self._changed.clear()

    def _change(self, call: str, function: Callable[..., Any]) -> None:
        name, _, method = call.partition(".")
        manager = getattr(self, name)
        setattr(manager, method, function)
        self._changed.append((manager, method))
