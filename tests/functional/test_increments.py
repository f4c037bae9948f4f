"""A backup reads again what its parent may have in an older state with the same times."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree
from tests.support.aged import DAY, age, stamp
from tests.support.cloud import run
from tests.support.site import Site

pytestmark = pytest.mark.lab


def write(path: Path, letter: str, *, mode: str = "r+b") -> None:
    """Write a block into a file, in place, so that it is on the disk."""
    with path.open(mode) as file:
        file.write(letter.encode() * 4096)
        file.flush()
        os.fsync(file.fileno())


def fill_to_the_brim(path: Path) -> None:
    """Make a file that takes every block of its file system."""
    with path.open("wb") as file:
        size, end = 2**27, 0
        while size >= 1024:
            try:
                os.posix_fallocate(file.fileno(), end, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
            else:
                end += size
        os.fsync(file.fileno())


def stamped(site: Site, volume: str, names: list[str], moment: int) -> None:
    """Give files of a volume these times, as if all their changes were at one moment."""
    with site.cloud.attached(volume) as device:

        def inodes(root: Path) -> list[str]:
            return [str((root / name).stat().st_ino) for name in names]

        stamp(device, site.cloud.mounted(device, inodes, read_only=True), moment)


def back_up(site: Site, volume: str, **options: Any) -> Any:
    """Back up a volume, and see that the backup is what is on it."""
    result = site.backup(volume, **options)
    assert str(result.outcome) == "complete", result
    return result.volumes[0]


def restored(site: Site, volume: str, read: Callable[[Path], Any]) -> Any:
    """What a function reads on the volume that the last backup becomes."""
    result = site.restore(volume, new=True)
    assert str(result.outcome) == "complete", result
    return site.cloud.on(result.volumes[0].target_id, read, read_only=True)


@contextmanager
def writable_mounts() -> Iterator[list[str]]:
    """The mounts that volflow makes writable while a block runs."""
    from volflow.host.namespace import MountNamespace

    found: list[str] = []
    real = MountNamespace.remount

    def remount(self: MountNamespace, device: str, path: Path, kind: str, options: Any) -> None:
        if "rw" in options:
            found.append(device)
        real(self, device, path, kind, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MountNamespace, "remount", remount)
        yield found


def test_a_change_within_one_tick_of_the_clock_is_in_the_next_backup(site: Site) -> None:
    """Before the parent's snapshot and after it a file is changed, with the same times."""
    volume = site.cloud.create(name="one tick")
    names = ["old", "plain", "immutable", "append-only"]
    site.cloud.fill(
        volume, "ext4", lambda root: [write(root / n, "A", mode="wb") for n in names], "-I", "128"
    )
    age(site.cloud, volume)
    tick = int(site.cloud.on(volume, lambda root: root.stat().st_ctime))
    stamped(site, volume, names[1:], tick)
    first = back_up(site, volume)

    def change(root: Path) -> None:
        for name in names[1:]:
            write(root / name, "B")
        run("chattr", "+i", str(root / "immutable"))
        run("chattr", "+a", str(root / "append-only"))

    site.cloud.on(volume, change)
    stamped(site, volume, names[1:], tick)
    second = back_up(site, volume)

    assert second.parent_id == first.backup_id
    assert (second.figures.files_changed, second.figures.files_unmodified) == (3, 1)
    found = restored(
        site, volume, lambda root: {name: (root / name).read_text()[0] for name in names}
    )
    assert found == {"old": "A", "plain": "B", "immutable": "B", "append-only": "B"}


def test_a_clock_that_is_behind_does_not_hide_a_change(site: Site) -> None:
    volume = site.cloud.create(name="behind")
    site.cloud.fill(volume, "ext4", lambda root: write(root / "file", "A", mode="wb"))
    with site.cloud.attached(volume) as device:
        # All that is on it, also its directories: the guest's clock is a day behind.
        inodes = site.cloud.mounted(
            device, lambda root: run("find", str(root), "-printf", "%i\n").split(), read_only=True
        )
        moment = int(os.stat(device).st_ctime) - DAY
        stamp(device, inodes, moment)
    back_up(site, volume)
    site.cloud.on(volume, lambda root: write(root / "file", "B"))
    with site.cloud.attached(volume) as device:
        stamp(device, inodes, moment)
    back_up(site, volume)

    assert restored(site, volume, lambda root: (root / "file").read_text()[0]) == "B"


def test_no_backup_waits_for_the_guest_of_a_volume_in_use(site: Site) -> None:
    """With multiple mount protection, the kernel waits for minutes before it mounts a copy."""
    volume = site.cloud.create(name="multiple mount protection")
    options = ("-b", "4096", "-O", "mmp,^metadata_csum", "-E", "mmp_update_interval=100")
    site.cloud.fill(volume, "ext4", lambda root: write(root / "file", "A", mode="wb"), *options)
    back_up(site, volume)
    with site.cloud.attached(volume) as device:
        (number,) = re.findall(r"MMP block number: *(\d+)", run("dumpe2fs", "-h", device))
        with open(device, "r+b") as file:
            # A sequence that says that a host has mounted it.
            file.seek(int(number) * 4096 + 4)
            file.write((1).to_bytes(4, "little"))

    second = back_up(site, volume)

    assert not second.remarks
    assert second.figures.files_changed == 1


def test_a_quiet_volume_is_never_mounted_writable(site: Site) -> None:
    volume = site.cloud.create(name="quiet")
    site.cloud.fill(volume, "ext4", lambda root: write(root / "file", "A", mode="wb"))
    age(site.cloud, volume)
    with writable_mounts() as made:
        back_up(site, volume)
        second = back_up(site, volume)
    assert second.figures.files_unmodified == 1
    assert made == []


def test_only_the_temporary_volume_is_made_writable(site: Site) -> None:
    """The volume itself does not change, nor what its backup says of its files."""
    volume = site.cloud.create(name="busy")
    site.cloud.fill(volume, "xfs", lambda root: write(root / "file", "A", mode="wb"))
    before = site.cloud.on(volume, tree.describe, read_only=True)
    image = _image(site, volume)
    with writable_mounts() as made:
        back_up(site, volume)
        content = image.read_bytes()
        second = back_up(site, volume)
        assert image.read_bytes() == content
    assert len(made) == 1
    assert second.figures.files_changed == 1
    assert restored(site, volume, tree.describe) == before


def test_a_full_file_system_loses_no_file(site: Site) -> None:
    """The ctime of an inode needs no new block."""
    volume = site.cloud.create(name="full to the brim")

    def fill(root: Path) -> None:
        for number in range(500):
            write(root / f"{number}", "A", mode="wb")
        fill_to_the_brim(root / "rest")
        assert os.statvfs(root).f_bavail == 0

    with site.cloud.attached(volume) as device:
        run("mkfs.ext4", "-q", "-F", "-m", "0", device, "250M")
        site.cloud.mounted(device, fill)
    back_up(site, volume)
    second = back_up(site, volume)
    assert second.figures.files_changed == 501
    assert second.parent_id


def test_everything_is_read_where_the_volume_cannot_be_made_writable(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from volflow.errors import HostError
    from volflow.host.namespace import MountNamespace

    volume = site.cloud.create(name="never writable")
    site.cloud.fill(volume, "ext4", lambda root: write(root / "file", "A", mode="wb"))
    back_up(site, volume)
    real = MountNamespace.remount

    def remount(self: MountNamespace, device: str, path: Path, kind: str, options: Any) -> None:
        if "rw" in options:
            raise HostError("wrong fs type")
        real(self, device, path, kind, options)

    monkeypatch.setattr(MountNamespace, "remount", remount)
    second = back_up(site, volume)

    assert second.parent_id is None
    assert second.figures.files_new == 1
    (remark,) = [one for one in second.remarks if "all files were read" in one]
    assert "wrong fs type" in remark


def test_a_full_read_comes_after_its_period(site: Site) -> None:
    volume = site.cloud.create(name="in turn")
    site.cloud.fill(volume, "ext4", lambda root: write(root / "file", "A", mode="wb"))
    age(site.cloud, volume)
    first = back_up(site, volume)
    assert back_up(site, volume).parent_id == first.backup_id
    assert site.cli("backup", "create", volume, "--dry-run").stderr.count("All files are read") == 0
    site.overrides["backup__full_every"] = 1e-6
    planned = site.cli("backup", "create", volume, "--dry-run", "-f", "json")
    assert "All files are read, because a full read is due" in planned.stderr, planned
    assert json.loads(planned.stdout)[0]["Changes since"] == ""
    second = back_up(site, volume)
    assert second.parent_id is None
    assert second.figures.files_new == 1
    site.overrides["backup__full_every"] = 0
    assert back_up(site, volume).parent_id == second.backup_id

    with site.volflow() as volflow:
        listed = volflow.backups.list(volume=volume)
    full = [one.full_at for one in listed]
    assert full[0] == full[1] == listed[0].taken_at
    assert full[2] == full[3] == listed[2].taken_at


def _image(site: Site, volume: str) -> Path:
    with site.cloud.attached(volume) as device:
        name = Path(os.path.realpath(device)).name
        return Path(Path(f"/sys/block/{name}/loop/backing_file").read_text().strip())
