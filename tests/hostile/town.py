"""The scene: a cloud with two tenants and an administrator, and ten volumes that are in flight."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cinderclient import exceptions

from tests.fault_matrix.image import TEXT, change
from tests.hostile.estate import SNAPSHOTS, VOLUMES, Estate, Thing
from tests.hostile.office import Desk, Told, tell, until_settled
from tests.hostile.vandal import DESCRIPTION, Vandal
from tests.support import tree
from tests.support.auditor import TOKEN_VARIABLE
from tests.support.people import Keystone, Person, Town, admin_api
from tests.support.site import environment_of
from tests.support.waiting import until_gone

_VOLUMES = {"alpha": 6, "beta": 4}
_RESTORES = 2
# Most obstacles here stay until the tenants are asked.
_IMPATIENT: dict[str, Any] = {"cloud__patience": 4, "wait__limit": 20, "wait__limit_per_gib": 0}


@dataclass
class Scene:
    """Two tenants, an administrator, and what the tenants own."""

    town: Town
    lab: Any
    estate: Estate
    tenants: tuple[Person, Person]
    admin: Person
    backups: dict[str, tuple[str, tree.Tree]] = field(default_factory=dict)

    @property
    def everybody(self) -> tuple[Person, ...]:
        return (*self.tenants, self.admin)

    def furnish(self) -> None:
        """Make the volumes."""
        for person in self.tenants:
            self.town.make_repository(person.project_id)
            for one in (person, self.admin):
                self.town.give_key(one, person.project_id)
            template = person.volume(_fill, name="template")
            names = [f"{person.login} {n}" for n in range(_VOLUMES[person.login[4:]])]
            for volume in (template, *person.cloud.clones(template, names)):
                shown = person.cloud.show(volume)
                self._own(Thing(VOLUMES, volume, person.project_id, {shown["name"]}))

    def _own(self, thing: Thing) -> None:
        self.estate.add(thing)
        thing.files = self._look(thing)
        self.estate.read(thing)

    def _look(self, thing: Thing) -> tree.Tree:
        return self.admin.cloud.on(thing.id, tree.describe, read_only=True)

    # A round

    def round(self, seed: str, acts: Counter[str], outcomes: Counter[str]) -> list[str]:
        """Run one round; return what went wrong."""
        chance = random.Random(seed)
        self._change(chance)
        before = self.estate.present(VOLUMES)
        trees = {thing.id: thing.files for thing in before}
        desks = self._desks(chance)
        vandals = [
            Vandal(who, other, self.estate, self.admin.cloud.client, self._database, f"{seed}{n}")
            for n, (who, other) in enumerate((self.tenants, self.tenants[::-1]))
        ]
        for thread in (*desks, *vandals):
            thread.start()
        for desk in desks:
            desk.join()
        for vandal in vandals:
            vandal.stop()
            acts.update(vandal.done)
        heard = [told for desk in desks for told in desk.heard]
        for told in heard:
            outcomes[f"{' '.join(told.arguments[:2])}: status {told.status}"] += 1
            outcomes.update(str(row["outcome"]) for row in told.rows if "outcome" in row)
        found = [line for vandal in vandals for line in vandal.troubles]
        found += [line for told in heard for line in told.troubles()]
        found += _unreported(heard[0], before)
        found += self._peace(vandals)
        found += self._recover(heard, trees)
        found += self.estate.compare(self._shown())
        return found

    @property
    def _database(self) -> Path:
        found: Path = self.lab.directory.database("cinder")
        return found

    def _change(self, chance: random.Random) -> None:
        """Change some volumes, so that backups differ."""
        for thing in self._usable():
            if chance.random() < 0.3:
                change(self.estate.file(thing), secrets.token_hex(8))
                thing.files = self._look(thing)
                self.estate.read(thing)

    def _usable(self) -> list[Thing]:
        shown = {each["id"]: each for each in self._shown()[VOLUMES]}
        return [
            thing
            for thing in self.estate.present(VOLUMES)
            if thing.files is not None
            and TEXT.encode() in thing.files
            and shown.get(thing.id, {}).get("status") == "available"
        ]

    def _desks(self, chance: random.Random) -> list[Desk]:
        """The commands of this round. The first desk's first command backs up everything."""
        clean = [("leftover", "clean"), ("leftover", "clean", "--lost")]
        desks = [Desk(self.admin, [("backup", "create", "--all-tenants"), chance.choice(clean)])]
        for tenant in self.tenants:
            own = [
                one for one, (project, _) in self.backups.items() if project == tenant.project_id
            ]
            restores = []
            for one in chance.sample(own, min(len(own), _RESTORES)):
                how = chance.choice([("--yes",), ("--new", "--yes")])
                restores.append(("restore", "create", one, *how))
            orders = [("backup", "create", "--all"), *restores, chance.choice(clean)]
            chance.shuffle(orders)
            desks.append(Desk(tenant, orders))
        return desks

    # After it

    def _shown(self) -> dict[str, list[dict[str, Any]]]:
        return {kind: self.town.api.all(kind) for kind in (VOLUMES, SNAPSHOTS)}

    def _busy(self) -> list[str]:
        return [
            f"{kind[:-1]} {each['id']} stays {each['status']}"
            for kind, found in self._shown().items()
            for each in found
            if each["status"].endswith("ing")
            and not each["status"].startswith("error")
            and not self._is_refused(each)
        ]

    def _is_refused(self, shown: dict[str, Any]) -> bool:
        """Whether a volume is what a refused request of a tenant has left in Cinder."""
        unknown = self.estate.find(shown["id"]) is None
        return unknown and (shown["status"], shown["description"]) == ("creating", DESCRIPTION)

    def _peace(self, vandals: list[Vandal]) -> list[str]:
        """Undo what the tenants did that stands in the way, as they do when they are asked."""
        client = self.admin.cloud.client
        for vandal in vandals:
            for attachment in vandal.attachments:
                with contextlib.suppress(exceptions.ClientException):
                    client.attachments.delete(attachment)
        for transfer in client.transfers.list(search_opts={"all_tenants": 1}):
            with contextlib.suppress(exceptions.ClientException):
                client.transfers.delete(transfer.id)
        found = until_settled(self._busy)
        for each in self._shown()[VOLUMES]:
            if self._is_refused(each):
                self._remove_by_hand(client.volumes, each["id"])
        attached = {each["volume_id"] for each in self.town.api.all("attachments")}
        for each in self._shown()[VOLUMES]:
            if each["status"] not in ("available", "in-use"):
                state = "in-use" if each["id"] in attached else "available"
                client.volumes.reset_state(each["id"], state)
        self._remove_snapshots()
        return found

    def _remove_snapshots(self) -> None:
        """Remove the tenants' snapshots: volflow cannot remove or revert a volume that has one."""
        client = self.admin.cloud.client
        for thing in self.estate.present(SNAPSHOTS):
            thing.deleted = True
            with contextlib.suppress(exceptions.NotFound):
                client.volume_snapshots.reset_state(thing.id, "available")
                client.volume_snapshots.delete(thing.id)
            until_gone(client.volume_snapshots.get, thing.id)

    def _recover(self, heard: list[Told], trees: dict[str, tree.Tree | None]) -> list[str]:
        """Resume and clean up as operators do; look at what came of the runs."""
        found: list[str] = []
        lists: list[Told] = []
        for who in self.everybody:
            for order in (("run", "resume", "--all"), ("leftover", "clean")):
                found += tell(who, *order).troubles()
        for who in self.everybody:
            # Also what Cinder made after the run had ended.
            lists.append(tell(who, "leftover", "list", "--lost"))
            found += lists[-1].troubles()
        found += self._restored(heard, trees)
        found += self._unlisted(lists)
        return found

    def _restored(self, heard: list[Told], trees: dict[str, tree.Tree | None]) -> list[str]:
        """Compare what restores have written, and learn about the new backups."""
        found = []
        for told in heard:
            for row in told.rows:
                volume, outcome = str(row.get("volume_id")), row.get("outcome")
                if told.arguments[:2] == ("backup", "create") and outcome == "complete":
                    files = trees.get(volume)
                    if files is not None and told.who != self.admin.login:
                        project = next(p.project_id for p in self.tenants if p.login == told.who)
                        self.backups[str(row["backup_id"])] = (project, files)
                if told.arguments[:2] == ("restore", "create"):
                    found += self._restored_one(told, row)
        return found

    def _restored_one(self, told: Told, row: dict[str, Any]) -> list[str]:
        wanted = self.backups[told.arguments[2]][1]
        target = str(row.get("target_id") or row.get("volume_id"))
        # Also without --new: the old volume may be deleted by now.
        if "--new" in told.arguments or target != str(row.get("volume_id")):
            if not row.get("target_id") or self.estate.find(target):
                return []
            shown = next((v for v in self._shown()[VOLUMES] if v["id"] == target), None)
            if shown is None:
                return []  # its owner has deleted it since
            project = str(shown["os-vol-tenant-attr:tenant_id"])
            self._own(Thing(VOLUMES, target, project, {str(shown["name"])}))
        thing = self.estate.find(target)
        if thing is None or thing.deleted:
            return []
        if row.get("outcome") == "complete":
            differences = tree.differences(wanted, self._look(thing))
            thing.files = wanted
            self.estate.read(thing)
            return [f"restored {thing}: {line}" for line in differences]
        if told.names("left over") or row.get("leftovers"):
            thing.files, thing.excuse = None, "its restore left it half-written, and said so"
        return []

    def _unlisted(self, lists: list[Told]) -> list[str]:
        """What volflow made must be gone, or named as a leftover. Then remove it by hand."""
        found = []
        client = self.admin.cloud.client
        removers = {VOLUMES: client.volumes, SNAPSHOTS: client.volume_snapshots}
        for kind in (SNAPSHOTS, VOLUMES):
            for each in self._shown()[kind]:
                if self.estate.find(each["id"]) is not None:
                    continue
                mark = each["metadata"].get("volflow", "")
                if not any(told.names(each["id"], mark) for told in lists):
                    what = f"{kind[:-1]} {each['id']} ({each['name']}, {each['status']})"
                    found.append(f"{what} {each['metadata']} is left and in no list of leftovers")
                self._remove_by_hand(removers[kind], each["id"])
        for who in self.everybody:
            # Only a person knows that what this login cannot see is gone.
            if ids := [row["ID"] for row in tell(who, "leftover", "list").rows]:
                tell(who, "leftover", "clean", "--changed", *ids)
            if (told := tell(who, "leftover", "list")).rows:
                found.append(f"leftovers stay when all is removed: {told}")
        return found

    def _remove_by_hand(self, resources: Any, id: str) -> None:
        """Remove one resource, as an administrator can."""
        attachments = self.admin.cloud.client.attachments
        for each in self.town.api.all("attachments"):
            if each["volume_id"] == id:
                with contextlib.suppress(exceptions.ClientException):
                    attachments.delete(each["id"])
        with contextlib.suppress(exceptions.ClientException):
            resources.reset_state(id, "available")
            resources.delete(id)
        until_gone(resources.get, id)


def _unreported(told: Told, volumes: list[Thing]) -> list[str]:
    """The volumes that a backup of all tenants does not mention at all."""
    if told.status == 1 and not told.rows:
        return [f"nothing was backed up: {told}"]
    return [
        f"{thing} is not in what volflow reported: {told}"
        for thing in volumes
        if not thing.deleted and not told.names(thing.id, *thing.names)
    ]


def _fill(root: Path) -> None:
    for number in range(20):
        (root / f"{number:02}").write_bytes(secrets.token_bytes(20_000))
    (root / TEXT).write_text("as it was\n")


@contextmanager
def new_scene(directory: Path) -> Iterator[Scene]:
    """A scene that exists while the block runs."""
    from lab import Lab

    os.environ[TOKEN_VARIABLE] = secrets.token_hex(16)
    lab = Lab(directory / "lab")
    lab.up(keystone=True)
    try:
        with environment_of(lab, without="OS_CLOUD"):
            keystone = Keystone(lab.clouds_file)
            town = Town(directory, lab, keystone, admin_api(lab))
            alpha, beta, admin = (
                town.person(
                    name,
                    **_IMPATIENT,
                    DEFAULT__debug=True,
                    DEFAULT__log_file=directory / f"{name}.log",
                )
                for name in ("alpha", "beta", "admin")
            )
            for person in (alpha, beta):
                admin.cloud.client.quotas.update(
                    person.project_id, volumes=1000, snapshots=1000, gigabytes=10000
                )
            scene = Scene(town, lab, Estate(lab.directory.pool_mount), (alpha, beta), admin)
            scene.furnish()
            yield scene
    finally:
        lab.down()
