"""Restores to a new volume, to another volume, and over newer files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import tree
from tests.support.branch import branch
from tests.support.controlled_runs import killed
from tests.support.faults import AFTER_COPY, injected, raised
from tests.support.refusing_proxy import Refusing
from tests.support.stage import PROPERTIES, Stage, everything_set

pytestmark = pytest.mark.lab


@branch("gone: a new volume with the same properties", quick=True)
def test_a_deleted_volume_comes_back_with_the_same_properties(stage: Stage) -> None:
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
def test_a_failed_restore_deletes_its_new_volume(stage: Stage) -> None:
    was = stage.original("gone, fails")
    stage.site.cloud.delete(was.volume)
    with injected({was.volume: AFTER_COPY}, raised) as happened:
        result = stage.site.restore(was.volume)
    assert happened
    assert str(result.outcome) == "failed", result
    assert result.volumes[0].leftovers == ()
    stage.nothing_left()


@branch("gone, killed half-way: resumed")
def test_a_killed_restore_to_a_new_volume_can_be_resumed(stage: Stage) -> None:
    was = stage.original("gone, killed", **PROPERTIES)
    stage.site.cloud.delete(was.volume)
    run = killed(stage.site, "restore", was.volume, step="copy", when="after")
    (row,) = stage.rows("run", "resume", run)
    assert row["outcome"] == "complete"
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(was.shown, row["target_id"])


@branch("the API does not say whether it is there: an error, and no new volume")
def test_no_volume_is_made_while_cinder_does_not_say_whether_one_exists(stage: Stage) -> None:
    was = stage.original("doubtful")
    before = {volume.id for volume in stage.site.cloud.client.volumes.list()}
    for status in (401, 403, 413, 500, 503, None):
        with Refusing(stage.site, was.volume, status) as environment:
            said = stage.run(
                *("restore", "create", was.volume, "--yes"),
                status=1,
                environment={**environment, "OS_CLOUD__PATIENCE": "2"},
            )
        assert was.volume in said, (status, said)
        after = {volume.id for volume in stage.site.cloud.client.volumes.list()}
        assert after == before, status
    stage.same_data(was.tree, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@branch("--new: beside the volume that is there")
def test_new_leaves_the_existing_volume_alone(stage: Stage) -> None:
    was = stage.original("beside", **PROPERTIES)
    changed = stage.change(was.volume)
    (row,) = stage.rows("restore", "create", was.volume, "--new")
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(was.shown, row["target_id"])
    stage.same_data(changed, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@branch("--into a larger volume, and --grow: the file system takes all of it")
def test_grow_extends_the_file_system_of_a_larger_target(stage: Stage) -> None:
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
def test_a_target_smaller_than_the_backup_is_refused(stage: Stage) -> None:
    volume = stage.volume("two GiB")
    stage.site.cloud.client.volumes.extend(volume, 2)
    stage.site.cloud.wait(volume, "available")
    stage.backed_up(volume, stage.tree)
    small = stage.volume("one GiB")
    shown = stage.site.cloud.show(small)
    said = stage.run("restore", "create", "two GiB", "--into", "one GiB", "--yes", status=1)
    assert "has 1 GiB, and the volume of the backup had 2 GiB: extend it to 2 GiB" in said
    stage.same_data(stage.tree, small)
    stage.same_properties(shown, small, own=True)


def _plain(root: Path) -> None:
    """Remove names that are not UTF-8."""
    for name in os.listdir(os.fsencode(root / "names")):
        try:
            name.decode()
        except UnicodeDecodeError:
            path = os.path.join(os.fsencode(root / "names"), name)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)


@branch("--keep-extra: what the backup does not have stays")
def test_keep_extra_keeps_files_that_the_backup_lacks(stage: Stage) -> None:
    was = stage.original("merged", _plain)
    outside = stage.site.home / "outside"
    outside.mkdir()
    (outside / "000").write_text("of this host\n")
    (outside / "text").write_text("of this host\n")

    def meddle(root: Path) -> None:
        # Links in the path of restored files must not lead out of the volume.
        for number in range(200):
            (root / "many" / f"{number:03}").unlink()
        (root / "many").rmdir()
        (root / "many").symlink_to(outside)
        (root / "text").unlink()
        (root / "text").symlink_to(outside / "text")
        # Files of another type than before.
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
    result = stage.site.restore(was.volume, keep_extra=True, verify=True)
    assert str(result.outcome) == "complete", result
    kept = {path: before[path] for path in (b"deep/later", b"deep/hole")}
    stage.same_data(was.tree | kept, was.volume)
    assert {file.name: file.read_text() for file in outside.iterdir()} == {
        "000": "of this host\n",
        "text": "of this host\n",
    }


@branch("--keep-extra, too little room beside what stays: told before the copy")
def test_keep_extra_refuses_files_that_do_not_fit_beside_others(stage: Stage) -> None:
    def add(root: Path) -> None:
        _plain(root)
        (root / "large").write_bytes(os.urandom(40 * tree.MIB))

    def use_up(root: Path) -> None:
        (root / "large").unlink()
        found = os.statvfs(root)
        with open(root / "own", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bfree * found.f_frsize - 20 * tree.MIB)

    was = stage.original("merged, full", add)
    stage.site.cloud.on(was.volume, use_up)
    before = stage.look(was.volume)
    result = stage.site.restore(was.volume, keep_extra=True)
    assert str(result.outcome) == "failed", result
    assert "free beside the files that it keeps" in result.volumes[0].error
    stage.same_data(before, was.volume)


@branch("--keep-extra, names that restic cannot tell: refused, all stays")
def test_keep_extra_refuses_names_that_are_not_utf_8(stage: Stage) -> None:
    was = stage.original("not merged")
    changed = stage.change(was.volume)
    result = stage.site.restore(was.volume, keep_extra=True)
    assert str(result.outcome) == "failed"
    assert "not UTF-8" in result.volumes[0].error
    stage.same_data(changed, was.volume)


@branch("--keep-extra, and the volume is gone: a new one")
def test_keep_extra_makes_a_new_volume_if_the_old_one_is_gone(stage: Stage) -> None:
    was = stage.original("nothing to keep")
    stage.site.cloud.delete(was.volume)
    result = stage.site.restore(was.volume, keep_extra=True)
    assert str(result.outcome) == "complete", result
    stage.same_data(was.tree, result.volumes[0].target_id)
