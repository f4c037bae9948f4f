"""What a backup reads, what it leaves unchanged, and what it reports."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree
from tests.support.aged import age
from tests.support.cloud import run
from tests.support.site import PASSWORD, Site

pytestmark = pytest.mark.lab

MIB = 1024**2


def _unchanging(shown: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in shown.items() if k != "updated_at"}


def test_a_volume_in_use_is_backed_up(site: Site) -> None:
    """A volume that is attached and in use is backed up, and stays as it is."""
    volume = site.cloud.create(
        name="busy", description="in use", metadata={"owner": "somebody"}, availability_zone="nova"
    )
    site.cloud.fill(volume, "ext4", lambda root: (root / "flushed").write_text("on the disk\n"))
    with site.cloud.attached(volume, host="another-host") as device:

        def in_use(root: Path) -> Any:
            (root / "synced").write_text("before the backup\n")
            os.sync()
            before = site.cloud.show(volume)
            result = site.backup("busy")
            # Still writable: the mount is unchanged.
            (root / "after").write_text("after the backup\n")
            assert site.cloud.show(volume) == before
            return result

        result = site.cloud.mounted(device, in_use)
    assert str(result.outcome) == "complete"
    assert _unchanging(site.cloud.show(volume))["status"] == "available"

    restored = site.restore(volume, new=True).volumes[0].target_id
    entries = site.cloud.on(restored, tree.describe, read_only=True)
    assert {b"flushed", b"synced"} <= entries.keys()
    assert b"after" not in entries


def test_the_source_stays_as_it_is(site: Site, the_lab: Any) -> None:
    """No byte and no field changes, not even the time of the last change."""
    volume = site.cloud.create(name="untouched", metadata={"a": "b"})
    site.cloud.fill(volume, "xfs", lambda root: (root / "file").write_text("content\n"))
    image = the_lab.directory.pool_mount / f"volume-{volume}"
    before, bytes_before = site.cloud.show(volume), image.stat().st_mtime_ns
    assert str(site.backup(volume).outcome) == "complete"
    assert site.cloud.show(volume) == before
    assert image.stat().st_mtime_ns == bytes_before


def _fill(root: Path) -> None:
    for number in range(300):
        directory = root / f"{number % 10}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number}").write_bytes(os.urandom(20_000))
    (root / "large").write_bytes(os.urandom(64 * MIB))


def test_a_second_backup_reads_no_content(site: Site, the_lab: Any) -> None:
    """restic reports this, and so do the blocks that were read from the volume's own file.

    The clone is a reflink of the volume. Its loop device is removed in the run, so the test
    counts what the file system below it read. As the cache is dropped, everything that a backup
    reads comes from there.
    """
    volume = site.cloud.create(name="steady")
    site.cloud.fill(volume, "ext4", _fill)
    age(site.cloud, volume)

    def backup() -> tuple[Any, int]:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        before = _blocks_read(the_lab)
        result = site.backup(volume)
        assert str(result.outcome) == "complete"
        return result.volumes[0], _blocks_read(the_lab) - before

    first, read_first = backup()
    assert (first.figures.files_new, first.figures.files_unmodified) == (301, 0)
    assert first.figures.bytes_total == 64 * MIB + 300 * 20_000
    # The measurement works: a full backup reads all data.
    assert read_first > 64 * MIB

    second, read_second = backup()
    assert second.figures.files_new == second.figures.files_changed == 0
    assert second.figures.files_unmodified == 301
    assert second.figures.bytes_total == first.figures.bytes_total
    assert second.parent_id.startswith(first.backup_id)
    # Only inodes, directories and the journal are read: far less than the files.
    assert read_second < 16 * MIB
    assert second.figures.bytes_stored < MIB

    # A full backup reads everything again, but stores nothing new.
    third = site.backup(volume, full=True).volumes[0]
    assert third.figures.files_new == 301
    assert third.figures.bytes_stored < MIB


def _blocks_read(the_lab: Any) -> int:
    """Bytes read from the device of the lab's pool since it exists (Documentation/block/stat)."""
    number = os.stat(the_lab.directory.pool_mount).st_dev
    text = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text()
    return int(text.split()[2]) * 512


def test_changes_are_in_the_next_backup_and_not_in_the_last(site: Site) -> None:
    volume = site.cloud.create(name="changing")

    def fill(root: Path) -> None:
        for name in ("same", "changed", "deleted", "moved", "mode"):
            (root / name).write_text(f"{name}, as it was\n")
        # The size and the modification time are the same; only the change time differs.
        (root / "sly").write_text("before\n")
        os.utime(root / "sly", ns=(tree.MOMENT, tree.MOMENT))

    def change(root: Path) -> None:
        (root / "changed").write_text("something else\n")
        (root / "deleted").unlink()
        (root / "moved").rename(root / "moved away")
        (root / "mode").chmod(0o400)
        (root / "added").write_text("new\n")
        (root / "sly").write_text("behind\n")
        os.utime(root / "sly", ns=(tree.MOMENT, tree.MOMENT))

    site.cloud.fill(volume, "ext4", fill)
    age(site.cloud, volume)
    old = site.cloud.on(volume, tree.describe, read_only=True)
    first = site.backup(volume).volumes[0]
    site.cloud.on(volume, change)
    new = site.cloud.on(volume, tree.describe, read_only=True)
    second = site.backup(volume).volumes[0]
    assert second.figures.files_unmodified == 1  # "same"; a changed mode is a changed inode
    assert second.figures.files_read == 5

    for backup, expected in ((first.backup_id, old), (second.backup_id, new), (volume, new)):
        result = site.restore(backup)
        assert str(result.outcome) == "complete"
        found = site.cloud.on(volume, tree.describe, read_only=True)
        tree.assert_same(expected, found)


def test_one_run_backs_up_several_volumes(site: Site) -> None:
    """More volumes than run in parallel, and one of them twice as large."""
    volumes = [site.cloud.create(1 + number % 2, name=f"several {number}") for number in range(3)]
    for number, volume in enumerate(volumes):
        site.cloud.fill(volume, ("ext4", "xfs")[number % 2], _note(number))
    result = site.backup(*volumes, parallel=2)
    assert [volume.volume_id for volume in result.volumes] == volumes
    assert {str(volume.outcome) for volume in result.volumes} == {"complete"}
    restored = site.restore(*volumes, new=True)
    for number, volume in enumerate(restored.volumes):
        entries = site.cloud.on(volume.target_id, tree.describe, read_only=True)
        assert f"note {number}".encode() in entries


def _note(number: int) -> Any:
    return lambda root: (root / f"note {number}").write_text("note\n")


def test_the_repository_alone_is_enough(site: Site, tmp_path: Path) -> None:
    """Without the state and without the volume, the backup is found and restored."""
    volume = site.cloud.create(name="phoenix", description="out of the ashes")
    site.cloud.fill(volume, "ext4", lambda root: (root / "feather").write_text("red\n"))
    expected = site.cloud.on(volume, tree.describe, read_only=True)
    assert str(site.backup(volume).outcome) == "complete"
    site.cloud.delete(volume)
    run("rm", "-r", str(site.state))

    shown = json.loads(site.cli("backup", "show", "phoenix", "-f", "json").stdout)
    assert shown["volume"]["description"] == "out of the ashes"
    done = site.cli("restore", "create", "phoenix", "-f", "json")
    assert done.returncode == 0, done
    restored = site.cloud.adopt(json.loads(done.stdout)[0]["target_id"])
    tree.assert_same(expected, site.cloud.on(restored, tree.describe, read_only=True))


def test_what_is_kept_is_private(site: Site) -> None:
    """Only their owner can access the state, caches and locks, and they contain no secret."""
    volume = site.cloud.create(name="private")
    site.cloud.format(volume, "ext4")
    site.backup(volume)
    for path in [site.state, *site.state.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.parent == site.state or path == site.state:
            assert not mode & 0o077, f"{path} has mode {mode:04o}"
        if path.is_file():
            assert PASSWORD.strip().encode() not in path.read_bytes(), path
    database = (site.state / "state.sqlite").read_bytes()
    assert b"device_path" not in database, "connection info is in the state database"


def test_the_password_is_on_no_command_line(site: Site, tmp_path: Path) -> None:
    """A restic that records its arguments before it does its work."""
    notes = tmp_path / "notes"
    program = tmp_path / "restic"
    program.write_text(f'#!/bin/sh\necho "$@" >> {notes}\nenv >> {notes}\nexec restic "$@"\n')
    program.chmod(0o755)
    site.overrides["repository__restic"] = program
    volume = site.cloud.create(name="quiet")
    site.cloud.format(volume, "ext4")
    assert str(site.backup(volume).outcome) == "complete"
    told = notes.read_text()
    assert "backup" in told
    assert PASSWORD.strip() not in told


def test_a_file_that_cannot_be_read_makes_the_backup_partial(site: Site) -> None:
    """The exit status is 3, every unreadable file is named, and the rest is stored."""
    volume = site.cloud.create(name="damaged")

    def fill(root: Path) -> None:
        (root / "good").write_text("good\n")
        (root / "bad").write_bytes(os.urandom(4 * MIB))

    site.cloud.fill(volume, "ext4", fill)
    with site.cloud.attached(volume) as device:
        # The file's first block is far beyond the end of the device, so reading it fails.
        run("debugfs", "-w", "-R", "set_inode_field /bad block[5] 999999999", device)
        run("debugfs", "-w", "-R", "sif /bad block[3] 0x00000000", device)
    done = site.cli("backup", "create", "damaged", "-f", "json")
    result = json.loads(done.stdout)[0]
    assert done.returncode == 3, done
    assert result["outcome"] == "partial"
    assert [Path(path).name for path in result["unread"]] == ["bad"]
    listed = site.restic("ls", "--json", "latest", "--host", volume)
    assert '"good"' in listed
