"""The start of all branches of a restore, and the comparison of their results."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from lab import clouds
from tests.support import tree
from tests.support.auditor import assert_nothing
from tests.support.cloud import Cloud
from tests.support.site import Site

# Properties that belong to one volume, or to the time of its creation.
OWN = {
    *("attachments", "cluster_name", "created_at", "id", "os-vol-host-attr:host"),
    *("service_uuid", "source_volid", "snapshot_id", "updated_at"),
}
# Every property that can be given to a volume.
PROPERTIES: dict[str, Any] = {
    "description": "with a\nsecond line",
    "metadata": {"colour": "blue", "empty": "", "with space": "a=b,c"},
}
OTHER_PROJECT = "1ab00000000000000000000000000009"
IMAGE = {"os_distro": "debian", "hw_disk_bus": "virtio", "image_name": "with space"}


@dataclass
class Seen:
    """The comparisons that were made, for the table."""

    data: list[str] = field(default_factory=list)
    properties: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Original:
    """A volume that has been backed up.

    :ivar shown: its properties at that time
    :ivar tree: its files at that time
    """

    volume: str
    backup: str
    shown: dict[str, Any]
    tree: tree.Tree


@dataclass
class Stage:
    """The lab, with a volume that holds every odd kind of file.

    :ivar template: its id
    :ivar tree: its files
    """

    site: Site
    template: str
    tree: tree.Tree
    seen: Seen = field(default_factory=Seen)

    @classmethod
    def make(cls, site: Site) -> Stage:
        template = site.cloud.create(name="template")
        site.cloud.fill(template, "ext4", tree.make)
        return cls(site, template, site.cloud.on(template, tree.describe, read_only=True))

    # Before a restore

    def volume(self, name: str, **properties: Any) -> str:
        """Make a volume with the content of the template."""
        return self.site.cloud.create(name=name, source_volid=self.template, **properties)

    def original(
        self, name: str, change: Callable[[Path], object] | None = None, **properties: Any
    ) -> Original:
        """Make a volume with the content of the template, and back it up.

        :param change: changes its files before the backup
        """
        volume, found = self.volume(name, **properties), self.tree
        if change:
            self.site.cloud.on(volume, change)
            found = self.look(volume)
        return self.backed_up(volume, found)

    def backed_up(self, volume: str, found: tree.Tree | None = None) -> Original:
        """Back up a volume."""
        found = self.look(volume) if found is None else found
        return self._backed_up(volume, found)

    def backed_up_attached(self, volume: str) -> Original:
        """Back up an attached volume. A copy of it shows its files."""
        # Another volume of the same content can.
        copy = self.site.cloud.create(name="to look at", source_volid=volume)
        found = self.look(copy)
        self.site.cloud.delete(copy)
        return self._backed_up(volume, found)

    def _backed_up(self, volume: str, found: tree.Tree) -> Original:
        shown = self.site.cloud.show(volume)
        result = self.site.backup(volume)
        assert str(result.outcome) == "complete", result
        return Original(volume, result.volumes[0].backup_id, shown, found)

    def change(self, volume: str) -> tree.Tree:
        """Change some files on a volume; return its tree after that."""
        self.site.cloud.on(volume, later)
        return self.look(volume)

    def look(self, volume: str) -> tree.Tree:
        volumes = self.site.cloud.client.volumes
        read_only = volumes.get(volume).metadata.get("readonly") == "True"
        if read_only:
            # Cinder attaches it only to clients that ask for read-only access.
            volumes.update_readonly_flag(volume, False)
        found: tree.Tree = self.site.cloud.on(volume, tree.describe, read_only=True)
        if read_only:
            volumes.update_readonly_flag(volume, True)
        return found

    # After a restore

    def same_data(self, was: tree.Tree, volume: str) -> None:
        """Fail unless a volume holds this tree, byte by byte."""
        self.same_tree(was, self.look(volume))

    def same_tree(self, was: tree.Tree, now: tree.Tree) -> None:
        tree.assert_same(was, now)
        size = sum(entry.size for entry in now.values()) / tree.MIB
        self.seen.data.append(f"{len(now)} paths, {size:.0f} MiB equal")

    def same_properties(
        self, was: dict[str, Any], volume: str, *, but: Collection[str] = (), own: bool = False
    ) -> None:
        """Fail unless a volume has all of these properties.

        :param but: those that must differ
        :param own: also compare those that belong to one volume
        """
        now = self.site.cloud.show(volume)
        names = (was.keys() | now.keys()) - ({"updated_at"} if own else OWN)
        changed = {n: (was.get(n), now.get(n)) for n in names if was.get(n) != now.get(n)}
        assert changed.keys() == set(but), changed
        told = f"{len(names) - len(changed)} equal"
        self.seen.properties.append(f"{told}, {len(changed)} as asked" if changed else told)

    def nothing_left(self) -> None:
        """Fail if anything temporary remains anywhere."""
        assert_nothing(self.site.findings())

    # Commands

    def run(self, *arguments: str, status: int = 0, **more: Any) -> str:
        """Run a command in a separate process; return its output."""
        done = self.cli(*arguments, status=status, **more)
        return done.stdout if status == 0 else done.stderr

    def cli(
        self, *arguments: str, status: int = 0, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        done = self.site.cli(*arguments, **more)
        assert done.returncode == status, (arguments, done)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def rows(self, *arguments: str, status: int = 0, **more: Any) -> list[dict[str, Any]]:
        """Run a command and return the rows that it prints; adopt new volumes."""
        done = self.cli(*arguments, "-f", "json", status=status, **more)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        for row in found:
            if row.get("target_id"):
                self.site.cloud.adopt(row["target_id"])
        return found

    @contextmanager
    def other_project(self) -> Iterator[Stage]:
        """This stage in another project of the cloud."""
        site = in_project(self.site, OTHER_PROJECT)
        other = Stage(site, self.template, self.tree)
        try:
            yield other
        finally:
            site.cloud.clean()

    @contextmanager
    def without_cloud(self) -> Iterator[dict[str, Any]]:
        """Options of a machine that has only the repository and its password."""
        nothing = dict.fromkeys(name for name in os.environ if name.startswith("OS_"))
        elsewhere = self.site.home / f"elsewhere-{len(list(self.site.home.iterdir()))}"
        elsewhere.mkdir()
        config = elsewhere / "volflow.conf"
        config.write_text(
            f"[DEFAULT]\nstate_dir = {elsewhere / 'state'}\n"
            f"[repository]\nlocation = {self.site.repository}\n"
            f"password_file = {self.site.password_file}\n"
        )
        yield {"config": config, "environment": nothing | {"HOME": str(elsewhere)}}


def in_project(site: Site, project_id: str) -> Site:
    """This site with a login to another project. Without Keystone, any login works."""
    told = yaml.safe_load(Path(site.environment["OS_CLIENT_CONFIG_FILE"]).read_text())
    told["clouds"]["lab"]["auth"]["project_id"] = project_id
    file = site.home / f"clouds-{project_id}.yaml"
    file.write_text(yaml.safe_dump(told))
    mounts = site.home / f"mounts-{project_id}"
    mounts.mkdir()
    environment = {**site.environment, "OS_CLIENT_CONFIG_FILE": str(file)}
    return replace(site, cloud=Cloud(clouds.cinder(file), mounts), environment=environment)


def later(root: Path) -> None:
    """Change a volume's files, as happens after a backup."""
    (root / "text").write_text("other words\n")
    (root / "random").unlink()
    (root / "later").mkdir()
    (root / "later" / "file").write_bytes(os.urandom(100_000))
    (root / "many" / "one more").write_text("more\n")
    os.chmod(root / "one byte", 0o600)
    os.setxattr(root / "many", "user.later", b"later")


def everything_set(stage: Stage, volume: str) -> None:
    """Set the properties that a volume can only get after it was made."""
    volumes = stage.site.cloud.client.volumes
    volumes.set_bootable(volume, True)
    volumes.set_image_metadata(volume, IMAGE)
    volumes.update_readonly_flag(volume, True)
