"""Restores into an existing volume that is free or attached, and of a partial backup."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

import pytest

from tests.support import tree
from tests.support.branch import branch
from tests.support.cloud import run
from tests.support.controlled_runs import held, killed
from tests.support.faults import AFTER_COPY, injected, raised
from tests.support.stage import PROPERTIES, Stage
from volflow.errors import CloudError
from volflow.repositories.manifest import region_path
from volflow.tasks.restore import RestoreData

pytestmark = pytest.mark.lab


@branch("there and free: in place, what came later is removed", quick=True)
def test_a_free_volume_is_restored_in_place(stage: Stage) -> None:
    was = stage.original("in place", **PROPERTIES)
    stage.change(was.volume)
    result = stage.site.restore(was.volume, verify=True)
    assert str(result.outcome) == "complete", result
    assert result.volumes[0].target_id == was.volume
    stage.same_data(was.tree, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)
    assert stage.site.cloud.client.volume_snapshots.list() == []


@branch("there and free, the restore fails: back to the safety snapshot", quick=True)
def test_a_failed_restore_reverts_to_the_safety_snapshot(stage: Stage) -> None:
    was = stage.original("in place, fails", **PROPERTIES)
    changed = stage.change(was.volume)
    with injected({was.volume: AFTER_COPY}, raised) as happened:
        result = stage.site.restore(was.volume, meta_override={"name": "not to stay"})
    assert happened
    assert str(result.outcome) == "failed", result
    assert "injected" in result.volumes[0].error
    stage.same_data(changed, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)
    assert stage.site.cloud.client.volume_snapshots.list() == []


@branch("there and free, the way back fails too: stays marked until it is back")
def test_a_volume_stays_marked_until_its_revert_succeeds(stage: Stage) -> None:
    was = stage.original("in place, no way back", **PROPERTIES)
    changed = stage.change(was.volume)
    back = "volflow.cloud.volumes.Volumes.revert_to_snapshot"
    with (
        injected({was.volume: AFTER_COPY}, raised),
        mock.patch(back, side_effect=CloudError("not now")),
    ):
        result = stage.site.restore(was.volume)
    assert str(result.outcome) == "failed", result
    assert {each.split()[0] for each in result.volumes[0].leftovers} == {"safety", "claim"}
    # The volume has neither its old content nor the restored content.
    said = stage.run("restore", "create", was.volume, "--yes", status=1)
    assert "is being restored by another run of volflow" in said
    said = stage.run("backup", "create", was.volume, status=1)
    assert f"is being restored by run {result.run_id} of volflow" in said
    rows = stage.rows("leftover", "clean")
    assert [row["Result"] for row in rows] == ["removed"] * 2, rows
    stage.same_data(changed, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)
    assert stage.site.cloud.client.volume_snapshots.list() == []


@branch("there and free, attached by another meanwhile: nothing is written")
def test_nothing_is_written_to_a_volume_attached_meanwhile(stage: Stage) -> None:
    was = stage.original("shared", volume_type="lab-multiattach")
    changed = stage.change(was.volume)
    with held(stage.site, "restore", was.volume, step="make file system") as process:
        with stage.site.cloud.attached(was.volume) as device:
            process.go_on()
            answer = process.end()
            # The attachment of another user stays.
            (other,) = stage.site.cloud.client.attachments.list()
        assert device
        assert other.id
    assert answer.result == "failed", answer
    assert f"was attached elsewhere since the restore began (attachment {other.id})" in str(
        answer.volumes[0]["error"]
    )
    assert answer.volumes[0]["leftovers"] == []
    stage.same_data(changed, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@branch("there and free, killed half-way: resumed")
def test_a_killed_restore_in_place_can_be_resumed(stage: Stage) -> None:
    was = stage.original("in place, killed", **PROPERTIES)
    stage.change(was.volume)
    run = killed(stage.site, "restore", was.volume, step="copy", when="after")
    (row,) = stage.rows("run", "resume", run)
    assert (row["outcome"], row["target_id"]) == ("complete", was.volume)
    stage.same_data(was.tree, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@branch("--verify: what was altered after it was written is found", quick=True)
def test_verify_finds_what_was_altered_after_the_copy(stage: Stage) -> None:
    was = stage.original("verified again", **PROPERTIES)
    changed = stage.change(was.volume)
    execute = RestoreData.execute

    def altered(self: RestoreData) -> None:
        execute(self)
        assert self.work.namespace is not None
        place = self.work.namespace.root / region_path(0)
        self.work.namespace.run("sh", "-c", f"printf X | dd of={place}/random conv=notrunc bs=1")

    RestoreData.execute = altered  # type: ignore[method-assign]
    try:
        result = stage.site.restore(was.volume, verify=True)
        assert str(result.outcome) == "failed", result
        assert "differs from what is stored: /random (content)." in result.volumes[0].error
        stage.same_data(changed, was.volume)
        assert str(stage.site.restore(was.volume).outcome) == "complete"
    finally:
        RestoreData.execute = execute  # type: ignore[method-assign]


@branch("attached: refused, and nothing is touched", quick=True)
def test_an_attached_volume_is_refused_and_not_touched(stage: Stage) -> None:
    was = stage.original("attached")
    changed = stage.change(was.volume)
    with stage.site.cloud.attached(was.volume):
        shown = stage.site.cloud.show(was.volume)
        said = stage.run("restore", "create", was.volume, "--yes", status=1)
        assert "is attached" in said
        assert "--recreate-vol-on-error" in said
        stage.same_properties(shown, was.volume, own=True)
    stage.same_data(changed, was.volume)


@branch("attached, recreate_vol_on_error: into a copy of it", quick=True)
def test_an_attached_volume_can_be_restored_into_a_copy(stage: Stage) -> None:
    was = stage.original("attached, copied", **PROPERTIES)
    changed = stage.change(was.volume)
    with stage.site.cloud.attached(was.volume):
        shown = stage.site.cloud.show(was.volume)
        (row,) = stage.rows("restore", "create", was.volume, "--recreate-vol-on-error")
        assert row["outcome"] == "complete"
        assert row["volume_id"] == was.volume
        assert row["target_id"] not in (None, was.volume)
        stage.same_properties(shown, was.volume, own=True)
        stage.same_properties(
            shown, row["target_id"], but={"status"} if shown["status"] != "available" else ()
        )
    stage.same_data(was.tree, row["target_id"])
    stage.same_data(changed, was.volume)
    assert stage.site.cloud.client.volume_snapshots.list() == []


@branch("attached, recreate_vol_on_error, fails: the copy is deleted")
def test_a_failed_restore_deletes_its_copy(stage: Stage) -> None:
    was = stage.original("attached, copy fails")
    changed = stage.change(was.volume)
    with stage.site.cloud.attached(was.volume):
        shown = stage.site.cloud.show(was.volume)
        with injected({was.volume: AFTER_COPY}, raised) as happened:
            result = stage.site.restore(was.volume, recreate_vol_on_error=True)
        assert happened
        assert str(result.outcome) == "failed", result
        stage.same_properties(shown, was.volume, own=True)
    stage.same_data(changed, was.volume)
    stage.nothing_left()


def _torn(stage: Stage, name: str) -> str:
    """Back up a volume with one unreadable file."""
    volume = stage.site.cloud.create(name=name)

    def fill(root: Path) -> None:
        (root / "good").write_text("good\n")
        (root / "bad").write_bytes(os.urandom(tree.MIB))

    stage.site.cloud.fill(volume, "ext4", fill)
    with stage.site.cloud.attached(volume) as device:
        # The file's first block is far beyond the end of the device, so reading it fails.
        run("debugfs", "-w", "-R", "set_inode_field /bad block[5] 999999999", device)
        run("debugfs", "-w", "-R", "sif /bad block[3] 0x00000000", device)
    (row,) = stage.rows("backup", "create", volume, status=3)
    assert (row["outcome"], row["unread"]) == ("partial", ["/bad"])
    return volume


@branch("a partial backup: told before, partial after, and the old volume stays", quick=True)
def test_a_partial_backup_gives_a_partial_restore_and_keeps_the_old_volume(stage: Stage) -> None:
    volume = _torn(stage, "torn")
    # The repository alone shows this, and it has one backup.
    with stage.without_cloud() as alone:
        (listed,) = stage.rows("backup", "list", "--volume", "torn", **alone)
        assert listed["Outcome"] == "partial"
        shown = json.loads(stage.run("backup", "show", "torn", "-f", "json", **alone))
        assert (shown["outcome"], shown["unread"]) == ("partial", ["/bad"])
        place = stage.site.home / "torn"
        done = stage.cli("restore", "create", "torn", "--to-path", str(place), status=3, **alone)
        assert "/bad" in done.stderr
        assert (place / "good").read_text() == "good\n"
        for path, status in (("/bad", 1), ("/good", 0)):
            to = stage.site.home / f"torn{path}"
            stage.run(
                "backup", "extract", "torn", path, "--to", f"{to} only", status=status, **alone
            )
    command = ("restore", "create", "torn", "--new", "--remove-old-vol")
    done = stage.cli(*command, "--dry-run", "-f", "json")
    assert "/bad" in done.stderr
    (planned,) = json.loads(done.stdout)
    assert planned["Removed afterwards"] == f"not volume {volume}: the backup is partial"
    said = stage.run(*command, status=2)
    assert "1 file could not be read, and cannot be restored" in said
    (row,) = stage.rows(*command, "--yes", status=3)
    assert (row["outcome"], row["unread"], row["removed"]) == ("partial", ["/bad"], False)
    assert stage.site.cloud.show(volume)["status"] == "available"
    (row,) = stage.rows("restore", "create", "torn", "--yes", status=3)
    assert (row["outcome"], row["target_id"], row["unread"]) == ("partial", volume, ["/bad"])
    assert set(stage.site.cloud.on(volume, os.listdir, read_only=True)) == {"good", "lost+found"}
    # Now every file can be read.
    (row,) = stage.rows("backup", "create", volume)
    assert row["unread"] == []
    outcomes = [each["Outcome"] for each in stage.rows("backup", "list", "--volume", "torn")]
    assert outcomes == ["complete", "partial"]
