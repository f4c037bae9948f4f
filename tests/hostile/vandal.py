"""A tenant who does to volumes and snapshots whatever Cinder permits, at random."""

from __future__ import annotations

import random
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cinderclient import exceptions

from tests.hostile.estate import SNAPSHOTS, VOLUMES, Estate, Thing
from tests.support.cloud import CONNECTOR
from tests.support.people import Person

# Seconds between two acts, at most.
_PAUSE = 0.6
# Most of what a tenant makes is small in number, so that the lab stays quick.
_MOST = 20
_MARK = "volflow"
# The description of the volumes that it asks Cinder for. Cinder can refuse the request after it has
# recorded the volume, if its source is deleted at that moment: it stays "creating" for ever.
DESCRIPTION = "made by a tenant"


class Vandal(threading.Thread):
    """One tenant, acting until told to stop.

    :param who: the tenant
    :param other: the tenant who gets what is transferred
    :param administrator: a cinderclient that may reset states
    :param database: Cinder's own database, to make things older than they are
    :ivar done: how often each act succeeded
    :ivar attachments: the attachments that it made
    :ivar troubles: acts that failed in an unexpected way
    """

    def __init__(
        self,
        who: Person,
        other: Person,
        estate: Estate,
        administrator: Any,
        database: Path,
        seed: str,
    ) -> None:
        super().__init__(daemon=True)
        self._who, self._other, self._estate = who, other, estate
        self._client, self._administrator = who.cloud.client, administrator
        self._database = database
        self._chance = random.Random(seed)
        self._ended = threading.Event()
        self.done: Counter[str] = Counter()
        self.attachments: list[str] = []
        self.troubles: list[str] = []

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        acts: list[Callable[[], object]] = [
            self.mark_volume,
            self.mark_snapshot,
            self.clone_marked,
            self.make_from_its_snapshot,
            self.rename,
            self.extend,
            self.take_snapshot,
            self.delete_volume,
            self.delete_snapshot,
            self.transfer,
            self.attach,
            self.unmark,
            self.change_state,
        ]
        while not self._ended.wait(self._chance.uniform(0, _PAUSE)):
            act = self._chance.choice(acts)
            try:
                if act() is not False:
                    self.done[act.__name__] += 1
            except exceptions.ClientException:
                self.done[f"{act.__name__} (refused)"] += 1
            except Exception as error:  # noqa: BLE001 - it is reported
                self.troubles.append(f"{act.__name__}: {error!r}")

    # What it acts on

    def _volumes(self) -> list[Any]:
        return list(self._client.volumes.list())

    def _snapshots(self) -> list[Any]:
        return list(self._client.volume_snapshots.list())

    def _one(self, found: list[Any]) -> Any:
        """One of these, volflow's own as likely as all others together."""
        foreign = [each for each in found if self._estate.find(each.id) is None]
        own = [each for each in found if self._estate.find(each.id) is not None]
        pick = foreign if foreign and (not own or self._chance.random() < 0.5) else own
        if not pick:
            raise exceptions.NotFound(404, "nothing is there")
        return self._chance.choice(pick)

    def _forged(self) -> dict[str, str]:
        """A mark, forged in one of many ways."""
        volumes, snapshots = self._volumes(), self._snapshots()
        real = [dict(each.metadata) for each in (*volumes, *snapshots) if _MARK in each.metadata]
        run, volume = str(uuid.uuid4()), self._chance.choice(volumes).id if volumes else "none"
        kind = self._chance.choice(["volume", "snapshot", "target", "claim", "kept", "group"])
        values = [
            "hello",
            "team/web/volume",
            f"{run}/{volume}/{kind}",
            f"{run}/{uuid.uuid4()}/{kind}",
            f"{run[:8]}/{volume}/{kind}",
            f"{run}/{volume}/{kind}/{kind}",
            f"{run}/{volume}/no such kind",
            "",
        ]
        alive = self._chance.choice([{}, {"volflow_alive": "never"}])
        return self._chance.choice([*real, {_MARK: self._chance.choice(values)} | alive])

    def _dress(self) -> dict[str, Any]:
        """A name and a mark that do not fit together: else nobody could tell who made it."""
        metadata = self._forged()
        names = [volume.name for volume in self._volumes() if volume.name.startswith(_MARK)]
        name = self._chance.choice(["mine", f"{_MARK}-{uuid.uuid4()}", *names[:1]])
        run = metadata.get(_MARK, "").partition("/")[0]
        return {"name": "mine" if run and run in name else name, "metadata": metadata}

    def _has_room(self) -> bool:
        return len(self._estate.present(project=self._who.project_id)) < _MOST

    def _made(self, kind: str, made: Any) -> None:
        thing = Thing(kind, str(made.id), self._who.project_id, {str(made.name)})
        self._estate.add(thing)
        if self._chance.random() < 0.5:
            self._age(thing)

    def _age(self, thing: Thing) -> None:
        """Make it six days old."""
        then = (datetime.now(UTC) - timedelta(days=6)).strftime("%Y-%m-%d %H:%M:%S.%f")
        with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
            database.execute(
                f"UPDATE {thing.kind} SET created_at = ? WHERE id = ?", (then, thing.id)
            )

    # The acts

    def mark_volume(self) -> None:
        """Write a mark on a volume of its own."""
        own = [v for v in self._volumes() if self._estate.find(v.id) is not None]
        self._client.volumes.set_metadata(self._chance.choice(own).id, self._forged())

    def mark_snapshot(self) -> object:
        if not self._has_room():
            return False
        volume = self._one(self._volumes())
        self._made(
            SNAPSHOTS,
            self._client.volume_snapshots.create(volume.id, force=True, **self._dress()),
        )
        return True

    def take_snapshot(self) -> object:
        if not self._has_room():
            return False
        volume = self._one(self._volumes())
        self._made(
            SNAPSHOTS, self._client.volume_snapshots.create(volume.id, force=True, name="mine")
        )
        return True

    def clone_marked(self) -> object:
        """Clone a volume with its name and its metadata, as scripts do."""
        if not self._has_room():
            return False
        volume = self._one(self._volumes())
        self._made(
            VOLUMES,
            self._client.volumes.create(
                volume.size,
                source_volid=volume.id,
                name=volume.name,
                description=DESCRIPTION,
                metadata=dict(volume.metadata),
            ),
        )
        return True

    def make_from_its_snapshot(self) -> object:
        """Make a volume from a snapshot, with a mark."""
        if not self._has_room():
            return False
        snapshot = self._one(self._snapshots())
        self._made(
            VOLUMES,
            self._client.volumes.create(
                snapshot.size,
                snapshot_id=snapshot.id,
                # Never the name that volflow would give it: nobody could tell them apart.
                name="from a snapshot",
                description=DESCRIPTION,
                metadata=self._forged(),
            ),
        )
        return True

    def rename(self) -> None:
        name = f"renamed {self._chance.randrange(1000)}"
        if self._chance.random() < 0.3:
            self._client.volume_snapshots.update(self._one(self._snapshots()).id, name=name)
            return
        volume = self._one(self._volumes())
        if thing := self._estate.find(volume.id):
            thing.names.add(name)
        self._client.volumes.update(volume.id, name=name)

    def extend(self) -> None:
        volume = self._one(self._volumes())
        self._client.volumes.extend(volume.id, volume.size + 1)

    def delete_volume(self) -> None:
        volume = self._one(self._volumes())
        thing = self._estate.find(volume.id)
        if thing and thing.files is not None and self._chance.random() < 0.9:
            return  # else soon no volume is left to work on
        self._remove(thing, lambda: self._client.volumes.delete(volume.id))

    def delete_snapshot(self) -> None:
        snapshot = self._one(self._snapshots())
        self._remove(
            self._estate.find(snapshot.id),
            lambda: self._client.volume_snapshots.delete(snapshot.id),
        )

    @staticmethod
    def _remove(thing: Thing | None, delete: Callable[[], object]) -> None:
        if thing:
            thing.deleted = True
        try:
            delete()
        except exceptions.ClientException:
            if thing:
                thing.deleted = False
            raise

    def transfer(self) -> None:
        """Give a volume, with its snapshots, to the other tenant."""
        volume = self._one(self._volumes())
        made = self._client.transfers.create(volume.id)
        if self._chance.random() < 0.2:
            return  # nobody accepts it
        self._other.cloud.client.transfers.accept(made.id, made.auth_key)
        snapshots = {
            str(each.id)
            for each in self._other.cloud.client.volume_snapshots.list()
            if each.volume_id == volume.id
        }
        for id in {volume.id, *snapshots}:
            if thing := self._estate.find(id):
                thing.project = self._other.project_id

    def attach(self) -> None:
        volume = self._one(self._volumes())
        made = self._client.attachments.create(volume.id, CONNECTOR | {"host": "a-server"})
        self.attachments.append(str(made["id"] if isinstance(made, dict) else made.id))

    def unmark(self) -> None:
        """Take the mark from something of volflow, or replace it."""
        found = [v for v in self._volumes() if self._estate.find(v.id) is None]
        volume = self._chance.choice(found or self._volumes())
        if self._chance.random() < 0.5:
            self._client.volumes.delete_metadata(volume.id, [_MARK])
        else:
            self._client.volumes.set_metadata(volume.id, self._forged())

    def change_state(self) -> None:
        """Let the administrator set a state."""
        volume = self._one(self._volumes())
        state = self._chance.choice(["error", "available", "maintenance", "error_extending"])
        self._administrator.volumes.reset_state(volume.id, state)
