"""A file system that cannot be read in part: what is stored, and which backup a restore takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.cloud import run
from tests.support.stage import Stage

pytestmark = pytest.mark.lab


def _fill(root: Path) -> None:
    (root / "good").write_text("good\n")
    (root / "many").mkdir()
    for number in range(20):
        (root / f"many/{number}").write_text(f"{number}\n")


def _damage(device: str, path: str) -> None:
    """Overwrite the first block of a directory."""
    out = run("debugfs", "-R", f"bmap {path} 0", device)
    with open(device, "r+b") as file:
        file.seek(int(out.split()[-1]) * 4096)
        file.write(os.urandom(4096))


def test_a_volume_without_a_readable_root_keeps_its_good_backup(stage: Stage) -> None:
    volume = stage.site.cloud.create(name="root gone")
    stage.site.cloud.fill(volume, "ext4", _fill)
    (good,) = stage.rows("backup", "create", volume)
    with stage.site.cloud.attached(volume) as device:
        _damage(device, "<2>")
    (row,) = stage.rows("backup", "create", volume, status=1)
    assert row["outcome"] == "failed"
    assert "damaged: its root directory cannot be read" in row["error"]
    assert "fsck" in row["error"]
    assert row["leftovers"] == []
    listed = stage.rows("backup", "list", "--volume", "root gone")
    assert [(one["ID"], one["Outcome"]) for one in listed] == [(good["backup_id"], "complete")]
    (row,) = stage.rows("restore", "create", "root gone", "--yes")
    assert (row["outcome"], row["backup_id"]) == ("complete", good["backup_id"])
    found = stage.site.cloud.on(volume, os.listdir, read_only=True)
    assert set(found) == {"good", "many", "lost+found"}
    stage.nothing_left()


def _looks_into(stage: Stage, good: str, partial: str) -> None:
    """What could not be read must not look as if it had been removed."""
    # A volume stands for its last complete backup.
    place = str(stage.site.home / "whole")
    for command in (("ls", "many gone", "/many"), ("extract", "many gone", "/many", "--to", place)):
        said = stage.cli("backup", *command).stderr
        assert f"Passed over, because they are partial: {partial[:8]}" in said, command
    lacks = "partial: 1 directory with everything in it could not be read"
    looks = [("ls", partial), ("verify", partial), ("diff", good, partial), ("diff", partial, good)]
    for command in looks:
        assert lacks in stage.cli("backup", *command).stderr, command
    assert lacks not in stage.cli("backup", "ls", partial, "/good").stderr
    place = str(stage.site.home / "looked")
    for lost in ("/many", "/many/1"):
        for command in (("ls", partial, lost), ("extract", partial, lost, "--to", place)):
            said = stage.cli("backup", *command, status=1).stderr
            assert f"'{lost}' could not be read when backup {partial[:8]}" in said, command


def test_a_restore_takes_the_last_complete_backup_and_names_the_partial_one(stage: Stage) -> None:
    volume = stage.site.cloud.create(name="many gone")
    stage.site.cloud.fill(volume, "ext4", _fill)
    (good,) = stage.rows("backup", "create", volume)
    with stage.site.cloud.attached(volume) as device:
        _damage(device, "/many")
    done = stage.cli("backup", "create", volume, status=3)
    assert "could not be read: /many (a directory, with everything in it)" in done.stderr
    assert "Files in this backup: 1; in the last complete one: 21." in done.stderr
    listed = stage.rows("backup", "list", "--volume", "many gone")
    (partial,) = [one["ID"] for one in listed if one["Outcome"] == "partial"]
    shown = json.loads(stage.run("backup", "show", partial, "-f", "json"))
    assert shown["unread"] == ["/many/"]
    _looks_into(stage, good["backup_id"], partial)
    command = ("restore", "create", "many gone", "--new")
    done = stage.cli(*command, "--dry-run", "-f", "json")
    assert [one["Backup"] for one in json.loads(done.stdout)] == [good["backup_id"]]
    assert f"Passed over, because they are partial: {partial[:8]}" in done.stderr
    (row,) = stage.rows(*command)
    assert (row["outcome"], row["backup_id"]) == ("complete", good["backup_id"])
    # By its id, and if it is allowed, the partial one is restored.
    for which in ((partial, "--new"), ("many gone", "--new", "--allow-partial")):
        (row,) = stage.rows("restore", "create", *which, status=3)
        assert (row["backup_id"], row["unread"]) == (partial, ["/many/"])
        found = stage.site.cloud.on(row["target_id"], os.listdir, read_only=True)
        assert set(found) == {"good", "lost+found"}
    place = stage.site.home / "many gone"
    done = stage.cli("restore", "create", "many gone", "--to-path", str(place))
    assert f"Passed over, because they are partial: {partial[:8]}" in done.stderr
    assert len(list((place / "many").iterdir())) == 20
    stage.nothing_left()
