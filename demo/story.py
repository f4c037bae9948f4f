"""The chapters of the demo."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import inventory, orders, properties, remains, tree
from demo.inventory import Inventory
from demo.narrator import Narrator
from demo.program import Program
from demo.properties import Properties
from demo.server import Server
from lab import Lab

# The number of differences to show.
_SHOWN = 3
# The columns of volflow's tables to show.
_OF_A_BACKUP = ("-c", "Name", "-c", "Files", "-c", "Read", "-c", "New data", "-c", "Time")
_OF_A_RESTORE = ("-c", "Name", "-c", "Backup", "-c", "Restored to", "-c", "Time")


@dataclass
class Volume:
    """A volume, with what is needed to check its restore.

    :ivar excepted: a directory that changes constantly; its content is checked in another way
    """

    id: str
    fs_type: str
    excepted: str | None = None
    properties: Properties = field(default_factory=dict)
    inventory: Inventory = field(default_factory=dict)

    def look(self, root: Path) -> Inventory:
        """The inventory of the volume, which is mounted at ``root``."""
        return inventory.take(root, without=self.excepted)


class Story:
    """Two volumes: ``website``, which is detached, and ``shop``, which a server writes to."""

    def __init__(self, narrator: Narrator, lab: Lab, directory: Path) -> None:
        self._narrator = narrator
        self._lab = lab
        self._directory = directory
        self._cinder = lab.cinder()
        self._volflow = Program(narrator, directory, lab.environment)
        self._volumes: dict[str, Volume] = {}
        self._known_ids: set[str] = set()

    def run(self) -> None:
        """Run the whole demo."""
        self._cloud()
        with ExitStack() as servers:
            self._website()
            shop = servers.enter_context(self._shop())
            self._first_backup()
            self._second_backup(shop)
            self._nothing_temporary(shop, "After the backups")
            self._lose_and_restore()
            self._restore_copy(shop)
            self._nothing_temporary(shop, "After the restores")
            self._narrator.chapter("Cleaning up")

    # The chapters

    def _cloud(self) -> None:
        version = importlib.metadata.version("cinder")
        self._narrator.say(
            f"A real Cinder {version} (API, scheduler and two volume services) runs at "
            f"{self._lab.endpoint}. Its volumes are block devices of this machine."
        )

    def _website(self) -> None:
        self._narrator.chapter("Two volumes")
        volume = self._create(
            "website",
            "ext4",
            size=2,
            description="What the world sees of us: HTML, images, und Umlaute äöü",
            volume_type="lab",
            availability_zone="second",
            metadata={"owner": "Zoë", "tier": "gold", "comment": "a=b, c; 'd'"},
        )
        self._cinder.volumes.set_bootable(volume.id, True)
        self._cinder.volumes.set_image_metadata(
            volume.id, {"os_distro": "debian", "hw_disk_bus": "virtio"}
        )
        volume.properties = properties.read(self._cinder, volume.id)
        with self._server("website") as server:
            server.format("ext4")
            server.mount("ext4")
            tree.plant(server.root)
            volume.inventory = volume.look(server.root)
        self._narrator.say(
            f"'website', ext4, detached: a copy of {tree.library()} and special cases: "
            "hard and symbolic links, holes, access control lists, capabilities, names with line "
            "breaks and bytes that are not UTF-8, devices, a fifo, setuid, times before 1970 and "
            f"after 2038. {len(volume.inventory)} names."
        )

    def _shop(self) -> Server:
        volume = self._create(
            "shop",
            "xfs",
            size=1,
            description="Orders",
            volume_type="lab-multiattach",
            availability_zone="nova",
            metadata={"criticality": "high"},
        )
        volume.excepted = orders.DIRECTORY
        volume.properties = properties.read(self._cinder, volume.id)
        server = self._server("shop")
        try:
            server.format("xfs")
            server.mount("xfs")
            (server.root / orders.DIRECTORY).mkdir()
            tree.plant(server.root)
            server.sync()
            server.take_orders()
            volume.inventory = volume.look(server.root)
        except BaseException:
            server.close()
            raise
        self._narrator.say(
            "'shop', XFS, attached to a server and mounted there: the same files, and a database "
            "that commits an order every few milliseconds, during the whole demo."
        )
        return server

    def _first_backup(self) -> None:
        self._narrator.chapter("The first backup")
        self._narrator.say(f"{self._volflow.configuration} sets where backups are stored:")
        self._narrator.lines(self._volflow.configuration.read_text().splitlines())
        self._volflow.run("repository", "init")
        self._stored_first = {}
        for name, (files, read, stored) in self._back_up().items():
            self._stored_first[name] = stored
            self._narrator.check(
                f"The first backup of '{name}' reads every file",
                read == files and files >= inventory.files(self._volumes[name].inventory),
                f"{read} of {files} files",
            )

    def _second_backup(self, shop: Server) -> None:
        self._narrator.chapter("A day later")
        website = self._volumes["website"]
        changed = {}
        for name in self._volumes:
            volume, before = self._volumes[name], self._volumes[name].inventory
            if volume is website:
                with self._server(name) as server:
                    server.mount(volume.fs_type)
                    what = tree.change(server.root)
                    volume.inventory = volume.look(server.root)
            else:
                tree.change(shop.root)
                shop.sync()
                volume.inventory = volume.look(shop.root)
            changed[name] = inventory.changed_files(before, volume.inventory)
        self._narrator.say(f"{what} Both volumes change, and the shop takes more orders.")
        self._orders_before = shop.orders()
        figures = self._back_up()
        self._orders_after = shop.orders()
        files, read, stored = figures["website"]
        self._narrator.check(
            "The second backup of 'website' stores only what is new, and reads what may be",
            changed["website"] <= read <= files and stored < self._stored_first["website"] / 5,
            f"{read} of {files} files, {stored / 1e6:.1f} MB of new data",
        )
        files, read, stored = figures["shop"]
        self._narrator.check(
            "The second backup of 'shop' stores only what is new, and reads what may be",
            changed["shop"] <= read <= files and stored < self._stored_first["shop"] / 5,
            f"{read} of {files} files, {stored / 1e6:.1f} MB of new data",
        )

    def _nothing_temporary(self, shop: Server, when: str) -> None:
        left = remains.in_cinder(self._cinder, but=self._known_ids | {shop.attachment_id})
        self._narrator.check(
            f"{when}, Cinder holds no temporary resource",
            not left,
            "; ".join(left) or "no volume, snapshot, attachment",
        )
        pool = self._lab.directory.pool_mount
        known = {self._lab.directory.pool_file, pool}
        known |= {pool / f"volume-{shop.volume_id}", shop.mount_point}
        left = remains.on_host(self._directory, but={self._lab.pid, *shop.processes, *known})
        self._narrator.check(
            f"{when}, the host holds no temporary resource",
            not left,
            "; ".join(left) or "no process, mount, loop device",
        )

    def _lose_and_restore(self) -> None:
        self._narrator.chapter("A volume is lost")
        website = self._volumes["website"]
        self._cinder.volumes.delete(website.id)
        while any(v.id == website.id for v in self._cinder.volumes.list()):
            time.sleep(0.1)
        self._known_ids.remove(website.id)
        self._narrator.say("'website' was deleted in Cinder. volflow restores it to a new volume:")
        self._volflow.run("restore", "create", "website", *_OF_A_RESTORE)
        self._compare("website")

    def _restore_copy(self, shop: Server) -> None:
        self._narrator.chapter("A copy of a volume in use")
        self._narrator.say("'shop' stays in use. volflow restores its backup to another volume:")
        self._volflow.run("restore", "create", "--new", "shop", *_OF_A_RESTORE)
        self._compare("shop")

    # How

    def _create(self, name: str, fs_type: str, **properties_: Any) -> Volume:
        made = self._cinder.volumes.create(name=name, **properties_)
        while made.status != "available":
            time.sleep(0.1)
            made.get()
        self._known_ids.add(made.id)
        self._volumes[name] = Volume(made.id, fs_type)
        return self._volumes[name]

    def _server(self, name: str, volume_id: str | None = None) -> Server:
        place = self._directory / f"server-{name}"
        return Server(self._cinder, volume_id or self._volumes[name].id, place)

    def _back_up(self) -> dict[str, tuple[int, int, int]]:
        """Back up all volumes; return files, files read and bytes stored of each."""
        self._volflow.run("backup", "create", *self._volumes, *_OF_A_BACKUP)
        # The newest come first.
        listed = self._volflow.ask("backup", "list")[: len(self._volumes)]
        figures = {b["Name"]: (b["Files"], b["Read"], b["New data"]) for b in listed}
        return {name: figures[name] for name in self._volumes}

    def _compare(self, name: str) -> None:
        """Check the volume that a restore has just made."""
        volume = self._volumes[name]
        (new,) = (v for v in self._cinder.volumes.list() if v.id not in self._known_ids)
        self._known_ids.add(new.id)
        wrong = properties.differences(volume.properties, properties.read(self._cinder, new.id))
        self._check_differences(
            f"The new '{name}' has the old one's properties in Cinder", wrong, "all are equal"
        )
        with self._server(f"new-{name}", new.id) as server:
            server.mount(volume.fs_type, "ro,nouuid" if volume.fs_type == "xfs" else "ro")
            found = volume.look(server.root)
            wrong = inventory.differences(volume.inventory, found)
            self._check_differences(
                f"The new '{name}' has the old one's files, with the same content and metadata",
                wrong,
                f"{len(found)} names are equal",
            )
            if volume.excepted:
                held, trouble = orders.examine(server.root / volume.excepted)
                self._narrator.check(
                    f"The database of '{name}' is intact, with every order from before the backup",
                    not trouble and self._orders_before <= held <= self._orders_after,
                    trouble
                    or f"{held} orders; {self._orders_before} before the backup began, "
                    f"{self._orders_after} when it had ended",
                )

    def _check_differences(self, what: str, wrong: Sequence[str], equal: str) -> None:
        found = "; ".join(wrong[:_SHOWN])
        if len(wrong) > _SHOWN:
            found += f"; and {len(wrong) - _SHOWN} more"
        self._narrator.check(what, not wrong, found or equal)
