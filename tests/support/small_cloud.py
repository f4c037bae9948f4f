"""A cloud that keeps volumes, snapshots and attachments in memory, and answers at once.

It stands where volflow's own Cinder would, for steps that a real one cannot be brought to fail or
to race at the very moment.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from persistence import RunState, State
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import TAG_KEY
from volflow.errors import CloudError, ResourceNotFoundError
from volflow.tasks.concurrency import Slots
from volflow.tasks.work import Services, Work

CREATED = "2020-01-01T00:00:00.000000"


class SmallCloud:
    """Volumes by their ids, and what was done to them.

    :ivar done: what was asked for, in its order
    :ivar refused: names of methods that fail
    :ivar between: called once a mark is set, as another run may set its own
    """

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.attached: dict[str, dict[str, Any]] = {}
        self.done: list[str] = []
        self.refused: set[str] = set()
        self.between: Callable[[], None] = lambda: None
        self._numbers = itertools.count(1)
        # What groups are asked for: there are none.
        nothing = type("Nothing", (), {"list": lambda *_, **__: []})()
        self.client = type("Client", (), {})()
        for name in ("groups", "consistencygroups", "group_snapshots", "cgsnapshots"):
            setattr(self.client, name, nothing)

    def _act(self, method: str, *what: str) -> None:
        if method in self.refused:
            raise CloudError(f"{method} refused")
        self.done.append(" ".join((method, *what)))

    def put(self, tag: str | None = None, *, volume_id: str | None = None, **more: Any) -> str:
        """Have a volume there, or a snapshot of a volume."""
        found = f"{'snapshot' if volume_id else 'volume'}-{next(self._numbers)}"
        self.things[found] = {
            "id": found,
            "name": "",
            "status": "available",
            "size": 1,
            "encrypted": False,
            "metadata": {TAG_KEY: tag} if tag else {},
            "created_at": CREATED,
            **({"volume_id": volume_id} if volume_id else {}),
            **more,
        }
        return found

    def mark(self, volume_id: str) -> str | None:
        return cast("str | None", self.things[volume_id]["metadata"].get(TAG_KEY))

    def attach(self, volume_id: str, *, server: str | None = None, status: str = "attached") -> str:
        found = f"attachment-{next(self._numbers)}"
        self.attached[found] = {
            "id": found,
            "volume_id": volume_id,
            "instance": server,
            "status": status,
        }
        return found

    # As volflow's Cinder

    def volume(self, volume_id: str) -> dict[str, Any]:
        if volume_id not in self.things:
            raise ResourceNotFoundError(volume_id)
        found = self.things[volume_id]
        return found | {"metadata": dict(found["metadata"])}

    def existing_volume(self, volume_id: str) -> dict[str, Any] | None:
        return self.volume(volume_id) if volume_id in self.things else None

    def all_tagged(self) -> list[dict[str, Any]]:
        return [found for found in self.things.values() if found["metadata"].get(TAG_KEY)]

    def volumes_tagged(self, tag: str) -> list[dict[str, Any]]:
        tagged = [found for found in self.all_tagged() if "volume_id" not in found]
        return [found for found in tagged if found["metadata"][TAG_KEY] == tag]

    def snapshots_tagged(self, volume_id: str, tag: str) -> list[dict[str, Any]]:
        tagged = [found for found in self.all_tagged() if found.get("volume_id") == volume_id]
        return [found for found in tagged if found["metadata"][TAG_KEY] == tag]

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        self._act("set_metadata", volume_id, *metadata.values())
        self.things[volume_id]["metadata"].update(metadata)
        self.between()

    def delete_metadata(self, volume_id: str, keys: list[str]) -> None:
        self._act("delete_metadata", volume_id)
        for key in keys:
            self.things[volume_id]["metadata"].pop(key, None)

    def create_snapshot(self, volume_id: str, *, metadata: Any, **_: Any) -> dict[str, Any]:
        return self.things[self.put(metadata[TAG_KEY], volume_id=volume_id)]

    def wait_snapshot(self, snapshot_id: str) -> dict[str, Any]:
        return self.things[snapshot_id]

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._act("delete_snapshot", snapshot_id)
        self.things.pop(snapshot_id, None)

    def delete_volume(self, volume_id: str) -> None:
        self._act("delete_volume", volume_id)
        self.things.pop(volume_id, None)

    def revert_to_snapshot(self, volume_id: str, snapshot_id: str) -> None:
        self._act("revert_to_snapshot", volume_id, snapshot_id)

    def attachment(self, attachment_id: str) -> dict[str, Any]:
        if attachment_id not in self.attached:
            raise ResourceNotFoundError(attachment_id)
        return self.attached[attachment_id] | {"connection_info": {"of": attachment_id}}

    def attachments(self, volume_id: str) -> list[dict[str, Any]]:
        return [one for one in self.attached.values() if one["volume_id"] == volume_id]

    def create_attachment(self, volume_id: str, connector: Any) -> str:
        self._act("create_attachment", volume_id)
        return self.attach(volume_id, status="attaching")

    def delete_attachment(self, attachment_id: str) -> None:
        self._act("delete_attachment", attachment_id)
        self.attached.pop(attachment_id, None)


class SmallHost:
    """An os-brick to which every device is there already."""

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def properties(self) -> dict[str, Any]:
        return {"host": "here"}

    def disconnect(self, connection: Any, info: Any, *, discard: bool) -> None:
        self._done.append(f"disconnect {connection['of']}{' (discard)' if discard else ''}")


def work_of(state: State, cloud: SmallCloud, volume_id: str, run_id: str | None = None) -> Work:
    """A volume's part in a run that is new."""
    if run_id is None:
        run = state.runs.create("restore", {}, [(volume_id, "")], host="here", boot_id="now", pid=1)
        run_id = run.id
    services = Services(
        run_id=run_id,
        host=cast(Any, SimpleNamespace(connector=SmallHost(cloud.done))),
        ledger=state.ledger,
        catalogue=state.catalogue,
        progress=cast(Any, None),
        slots=Slots(1, threading.Event()),
    )
    return Work(services, volume_id, cast(Cinder, cloud), cast(Any, None), cast(Any, None))


def end(state: State, work: Work) -> None:
    """Have a run be over."""
    state.runs.update(work.services.run_id, state=RunState.FAILED)
