"""Where a restore goes: into the volume, beside it, into a copy, or to a new one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

from tests.support import tree
from tests.support.branch import branch
from tests.support.cloud import run
from tests.support.faults import Place, injected, raised
from tests.support.refusing import Refusing
from tests.support.runs import held, killed
from tests.support.stage import PROPERTIES, Stage, everything_set
from volflow.errors import CloudError
from volflow.movers.base import REGION
from volflow.tasks.restore import RestoreData

# After the copy, when the target is full of what was restored.
LATE = Place("flush device", "after")


@branch("there and free: in place, what came later is removed", quick=True)
def _(stage: Stage) -> None:
    was = stage.original("in place", **PROPERTIES)
    stage.change(was.volume)
    result = stage.site.restore(was.volume, verify=True)
    assert str(result.outcome) == "complete", result
    assert result.volumes[0].target_id == was.volume
    stage.same_data(was.tree, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)
    assert stage.site.cloud.client.volume_snapshots.list() == []


@branch("there and free, the restore fails: back to the safety snapshot", quick=True)
def _(stage: Stage) -> None:
    was = stage.original("in place, fails", **PROPERTIES)
    changed = stage.change(was.volume)
    with injected({was.volume: LATE}, raised) as happened:
        result = stage.site.restore(was.volume, meta_override={"name": "not to stay"})
    assert happened
    assert str(result.outcome) == "failed", result
    assert "injected" in result.volumes[0].error
    stage.same_data(changed, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)
    assert stage.site.cloud.client.volume_snapshots.list() == []


@branch("there and free, the way back fails too: stays marked until it is back")
def _(stage: Stage) -> None:
    was = stage.original("in place, no way back", **PROPERTIES)
    changed = stage.change(was.volume)
    back = "volflow.cloud.cinder.Cinder.revert_to_snapshot"
    with (
        injected({was.volume: LATE}, raised),
        mock.patch(back, side_effect=CloudError("not now")),
    ):
        result = stage.site.restore(was.volume)
    assert str(result.outcome) == "failed", result
    assert {each.split()[0] for each in result.volumes[0].leftovers} == {"safety", "claim"}
    # It is neither what it was nor what was restored.
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
def _(stage: Stage) -> None:
    was = stage.original("shared", volume_type="lab-multiattach")
    changed = stage.change(was.volume)
    with held(stage.site, "restore", was.volume, step="make file system") as process:
        with stage.site.cloud.attached(was.volume) as device:
            process.go_on()
            answer = process.end()
            # What is another's stays.
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
def _(stage: Stage) -> None:
    was = stage.original("in place, killed", **PROPERTIES)
    stage.change(was.volume)
    run = killed(stage.site, "restore", was.volume, step="copy", when="after")
    (row,) = stage.rows("run", "resume", run)
    assert (row["outcome"], row["target_id"]) == ("complete", was.volume)
    stage.same_data(was.tree, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@branch("--verify: what was altered after it was written is found", quick=True)
def _(stage: Stage) -> None:
    was = stage.original("verified again", **PROPERTIES)
    changed = stage.change(was.volume)
    execute = RestoreData.execute

    def altered(self: RestoreData) -> None:
        execute(self)
        assert self.work.namespace is not None
        place = self.work.namespace.root / REGION
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
def _(stage: Stage) -> None:
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
def _(stage: Stage) -> None:
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
def _(stage: Stage) -> None:
    was = stage.original("attached, copy fails")
    changed = stage.change(was.volume)
    with stage.site.cloud.attached(was.volume):
        shown = stage.site.cloud.show(was.volume)
        with injected({was.volume: LATE}, raised) as happened:
            result = stage.site.restore(was.volume, recreate_vol_on_error=True)
        assert happened
        assert str(result.outcome) == "failed", result
        stage.same_properties(shown, was.volume, own=True)
    stage.same_data(changed, was.volume)
    stage.nothing_left()


def _torn(stage: Stage, name: str) -> str:
    """A volume of which one file cannot be read, after a backup of it."""
    volume = stage.site.cloud.create(name=name)

    def fill(root: Path) -> None:
        (root / "good").write_text("good\n")
        (root / "bad").write_bytes(os.urandom(tree.MIB))

    stage.site.cloud.fill(volume, "ext4", fill)
    with stage.site.cloud.attached(volume) as device:
        # Its first block is far beyond the end of the device: reading it is an error.
        run("debugfs", "-w", "-R", "set_inode_field /bad block[5] 999999999", device)
        run("debugfs", "-w", "-R", "sif /bad block[3] 0x00000000", device)
    (row,) = stage.rows("backup", "create", volume, status=3)
    assert (row["outcome"], row["unread"]) == ("partial", ["/bad"])
    return volume


@branch("a partial backup: told before, partial after, and the old volume stays", quick=True)
def _(stage: Stage) -> None:
    volume = _torn(stage, "torn")
    # The repository alone says so, and there is one backup.
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
    assert "1 file could not be read, and will not come back" in said
    (row,) = stage.rows(*command, "--yes", status=3)
    assert (row["outcome"], row["unread"], row["removed"]) == ("partial", ["/bad"], False)
    assert stage.site.cloud.show(volume)["status"] == "available"
    (row,) = stage.rows("restore", "create", "torn", "--yes", status=3)
    assert (row["outcome"], row["target_id"], row["unread"]) == ("partial", volume, ["/bad"])
    assert set(stage.site.cloud.on(volume, os.listdir, read_only=True)) == {"good", "lost+found"}
    # Now there is nothing that cannot be read.
    (row,) = stage.rows("backup", "create", volume)
    assert row["unread"] == []
    outcomes = [each["Outcome"] for each in stage.rows("backup", "list", "--volume", "torn")]
    assert outcomes == ["complete", "partial"]


@branch("gone: a new volume with the same properties", quick=True)
def _(stage: Stage) -> None:
    volume = stage.volume("gone ☃", **PROPERTIES)
    everything_set(stage, volume)
    was = stage.backed_up(volume, stage.tree)
    stage.site.cloud.delete(volume)
    (row,) = stage.rows("restore", "create", "gone ☃", "--verify")
    assert row["target_id"] != volume
    assert row["differences"] == []
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(was.shown, row["target_id"])


@branch("gone, the restore fails: the half-filled volume is deleted", quick=True)
def _(stage: Stage) -> None:
    was = stage.original("gone, fails")
    stage.site.cloud.delete(was.volume)
    with injected({was.volume: LATE}, raised) as happened:
        result = stage.site.restore(was.volume)
    assert happened
    assert str(result.outcome) == "failed", result
    assert result.volumes[0].leftovers == ()
    stage.nothing_left()


@branch("gone, killed half-way: resumed")
def _(stage: Stage) -> None:
    was = stage.original("gone, killed", **PROPERTIES)
    stage.site.cloud.delete(was.volume)
    run = killed(stage.site, "restore", was.volume, step="copy", when="after")
    (row,) = stage.rows("run", "resume", run)
    assert row["outcome"] == "complete"
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(was.shown, row["target_id"])


@branch("the API does not say whether it is there: an error, and no new volume")
def _(stage: Stage) -> None:
    was = stage.original("doubtful")
    before = {volume.id for volume in stage.site.cloud.client.volumes.list()}
    for status in (401, 403, 413, 500, 503, None):
        with Refusing(stage.site, was.volume, status) as environment:
            said = stage.run(
                *("restore", "create", was.volume, "--yes"), status=1, environment=environment
            )
        assert was.volume in said, (status, said)
        after = {volume.id for volume in stage.site.cloud.client.volumes.list()}
        assert after == before, status
    stage.same_data(was.tree, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@branch("--new: beside the volume that is there")
def _(stage: Stage) -> None:
    was = stage.original("beside", **PROPERTIES)
    changed = stage.change(was.volume)
    (row,) = stage.rows("restore", "create", was.volume, "--new")
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(was.shown, row["target_id"])
    stage.same_data(changed, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@branch("--into a larger volume, and --grow: the file system takes all of it")
def _(stage: Stage) -> None:
    was = stage.original("small")
    other = stage.site.cloud.create(3, name="large", metadata={"its": "own"})
    shown = stage.site.cloud.show(other)

    def room(root: Path) -> int:
        found = os.statvfs(root)
        return found.f_blocks * found.f_frsize

    size = stage.site.cloud.on(was.volume, room, read_only=True)
    for grow, least, most in ((False, 0.9, 1.1), (True, 2.8, 3.3)):
        result = stage.site.restore(was.volume, into="large", grow=grow)
        assert str(result.outcome) == "complete", result
        assert result.volumes[0].target_id == other
        stage.same_data(was.tree, other)
        assert least < stage.site.cloud.on(other, room, read_only=True) / size < most
    stage.same_properties(shown, other, own=True)
    stage.same_data(was.tree, was.volume)


@branch("a target smaller than the data: refused")
def _(stage: Stage) -> None:
    volume = stage.volume("two GiB")
    stage.site.cloud.client.volumes.extend(volume, 2)
    stage.site.cloud.wait(volume, "available")
    stage.backed_up(volume, stage.tree)
    small = stage.volume("one GiB")
    shown = stage.site.cloud.show(small)
    said = stage.run("restore", "create", "two GiB", "--into", "one GiB", "--yes", status=1)
    assert "has 1 GiB, and the backup is of 2 GiB" in said
    stage.same_data(stage.tree, small)
    stage.same_properties(shown, small, own=True)


def _plain(root: Path) -> None:
    """Take away names that are not UTF-8."""
    for name in os.listdir(os.fsencode(root / "names")):
        try:
            name.decode()
        except UnicodeDecodeError:
            path = os.path.join(os.fsencode(root / "names"), name)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)


@branch("--keep-newer: what the backup does not have stays")
def _(stage: Stage) -> None:
    was = stage.original("merged", _plain)
    outside = stage.site.home / "outside"
    outside.mkdir()
    (outside / "000").write_text("of this host\n")
    (outside / "text").write_text("of this host\n")

    def meddle(root: Path) -> None:
        # Links on the way of what is restored must not lead out of the volume.
        for number in range(200):
            (root / "many" / f"{number:03}").unlink()
        (root / "many").rmdir()
        (root / "many").symlink_to(outside)
        (root / "text").unlink()
        (root / "text").symlink_to(outside / "text")
        # Other kinds of things, where there were others.
        (root / "random").unlink()
        (root / "random").mkdir()
        (root / "random" / "below").write_text("in the way\n")
        (root / "links" / "second").unlink()
        (root / "links" / "second").write_text("no link any more\n")
        (root / "deep" / "later").write_text("to be kept\n")
        with open(root / "deep" / "hole", "wb") as file:
            file.truncate(10 * tree.MIB)
        os.setxattr(root / "deep", "user.later", b"not in the backup")

    stage.site.cloud.on(was.volume, meddle)
    before = stage.look(was.volume)
    result = stage.site.restore(was.volume, keep_newer=True, verify=True)
    assert str(result.outcome) == "complete", result
    kept = {path: before[path] for path in (b"deep/later", b"deep/hole")}
    stage.same_data(was.tree | kept, was.volume)
    assert {file.name: file.read_text() for file in outside.iterdir()} == {
        "000": "of this host\n",
        "text": "of this host\n",
    }


@branch("--keep-newer, names that restic cannot tell: refused, all stays")
def _(stage: Stage) -> None:
    was = stage.original("not merged")
    changed = stage.change(was.volume)
    result = stage.site.restore(was.volume, keep_newer=True)
    assert str(result.outcome) == "failed"
    assert "not UTF-8" in result.volumes[0].error
    stage.same_data(changed, was.volume)


@branch("--keep-newer, and the volume is gone: a new one")
def _(stage: Stage) -> None:
    was = stage.original("nothing to keep")
    stage.site.cloud.delete(was.volume)
    result = stage.site.restore(was.volume, keep_newer=True)
    assert str(result.outcome) == "complete", result
    stage.same_data(was.tree, result.volumes[0].target_id)
