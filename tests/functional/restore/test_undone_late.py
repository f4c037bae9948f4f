"""Restores in place that Cinder cannot revert, or that are undone late."""

from __future__ import annotations

from unittest import mock

import pytest

from tests.support.controlled_runs import killed
from tests.support.faults import AFTER_COPY, injected, raised
from tests.support.stage import Stage
from tests.support.waiting import until
from volflow.errors import CloudError, HostError
from volflow.tasks import copy_back

pytestmark = pytest.mark.lab

REVERT = "volflow.cloud.volumes.Volumes.revert_to_snapshot"


def extend(stage: Stage, volume: str) -> None:
    """Extend the volume, as its owner can also while it is attached."""
    volumes = stage.site.cloud.client.volumes
    volumes.extend(volume, 2)
    until(lambda: volumes.get(volume).size == 2)
    until(lambda: volumes.get(volume).status in ("available", "in-use"))


def test_a_volume_that_was_extended_meanwhile_is_copied_back(stage: Stage) -> None:
    was = stage.original("extended")
    changed = stage.change(was.volume)
    run = killed(stage.site, "restore", was.volume, step="copy", when="after")
    extend(stage, was.volume)
    done = stage.cli("run", "abort", run)
    assert "was copied back from its safety snapshot" in done.stderr
    assert "left over" not in done.stderr
    stage.same_data(changed, was.volume)
    assert stage.site.cloud.show(was.volume)["size"] == 2
    assert "volflow" not in stage.site.cloud.show(was.volume)["metadata"]
    stage.nothing_left()


def test_a_snapshot_of_its_owner_hinders_no_revert(stage: Stage) -> None:
    was = stage.original("own snapshot")
    changed = stage.change(was.volume)
    run = killed(stage.site, "restore", was.volume, step="copy", when="after")
    mine = stage.site.cloud.client.volume_snapshots.create(was.volume, force=True).id
    until(lambda: stage.site.cloud.client.volume_snapshots.get(mine).status == "available")
    stage.cli("run", "abort", run, "-f", "json")
    stage.same_data(changed, was.volume)
    assert [one.id for one in stage.site.cloud.client.volume_snapshots.list()] == [mine]
    stage.site.cloud.delete_snapshot(mine)
    stage.nothing_left()


def test_if_copying_back_fails_the_way_out_is_named_and_clean_tries_again(stage: Stage) -> None:
    was = stage.original("extended, no copy")
    changed = stage.change(was.volume)
    with (
        injected({was.volume: AFTER_COPY}, raised),
        mock.patch.object(copy_back, "_copy", side_effect=HostError("The disk is away.")),
        mock.patch(REVERT, side_effect=CloudError("Can't revert", status=400)),
    ):
        result = stage.site.restore(was.volume)
    (snapshot,) = stage.site.cloud.client.volume_snapshots.list()
    said = " ".join(result.volumes[0].leftovers)
    assert "The disk is away." in said
    assert f"openstack volume create --snapshot {snapshot.id}" in said
    # What copying has made is removed again.
    assert {each.split()[0] for each in result.volumes[0].leftovers} == {"safety", "claim"}
    assert stage.site.cloud.client.attachments.list() == []
    extend(stage, was.volume)
    # That was somebody else.
    asked = stage.rows("leftover", "clean", status=1)
    assert any("its size was 1 and is 2" in row["Result"] for row in asked), asked
    stage.rows("leftover", "clean", "--changed", was.volume)
    stage.same_data(changed, was.volume)
    stage.nothing_left()


def test_a_volume_that_its_owner_has_used_since_is_not_reverted(stage: Stage) -> None:
    was = stage.original("used since")
    before = stage.change(was.volume)
    with (
        injected({was.volume: AFTER_COPY}, raised),
        mock.patch(REVERT, side_effect=CloudError("not now")),
    ):
        result = stage.site.restore(was.volume)
    assert str(result.outcome) == "failed", result
    used = stage.change(was.volume)
    asked = stage.rows("leftover", "clean", status=1)
    assert any("was changed by somebody else at" in row["Result"] for row in asked), asked
    stage.same_data(used, was.volume)
    (agreed, *_) = stage.rows("leftover", "clean", "--changed", was.volume)
    assert agreed["Kind"] == "safety snapshot"
    stage.same_data(before, was.volume)
    stage.nothing_left()


def test_a_resume_does_not_overwrite_what_its_owner_has_used_since(stage: Stage) -> None:
    was = stage.original("used before the resume")
    stage.change(was.volume)
    run = killed(stage.site, "restore", was.volume, step="copy", when="after")
    # Somebody has ended the attachment of the killed process.
    (left,) = stage.site.cloud.client.attachments.list()
    stage.site.cloud.client.attachments.delete(left.id)
    until(lambda: stage.site.cloud.client.volumes.get(was.volume).status == "available")
    used = stage.change(was.volume)
    (row,) = stage.rows("run", "resume", run, status=1)
    assert "nothing is written to it" in row["error"]
    stage.same_data(used, was.volume)
    stage.rows("leftover", "clean", "--changed", was.volume)
    stage.nothing_left()


def test_a_tenant_s_own_value_of_the_key_survives_a_restore(stage: Stage) -> None:
    was = stage.original("own key", metadata={"volflow": "hello"})
    stage.change(was.volume)
    done = stage.cli("restore", "create", was.volume, "--yes")
    assert "volflow=hello, which is not a mark of volflow" in done.stderr
    stage.same_data(was.tree, was.volume)
    assert stage.site.cloud.show(was.volume)["metadata"] == {"volflow": "hello"}
    # Else it would be found at the end, as a mark that was left behind.
    stage.site.cloud.client.volumes.delete_metadata(was.volume, ["volflow"])
    stage.nothing_left()
