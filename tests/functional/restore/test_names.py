"""Restores by a name that several volumes have, or had."""

from __future__ import annotations

import pytest

from tests.support.stage import Stage

pytestmark = pytest.mark.lab


def test_a_renamed_volume_is_not_overwritten_by_the_name_that_another_one_has(
    stage: Stage,
) -> None:
    was = stage.original("moved")
    changed = stage.change(was.volume)
    stage.site.cloud.client.volumes.update(was.volume, name="moved away")
    stage.site.cloud.create(1, name="moved")
    done = stage.site.cli("restore", "create", "--yes", "moved")
    assert done.returncode == 2, done
    assert "is 'moved away' now" in done.stderr
    stage.same_data(changed, was.volume)


def test_an_existing_volume_with_the_name_of_a_deleted_one_is_named(stage: Stage) -> None:
    was = stage.original("twice")
    stage.site.cloud.delete(was.volume)
    other = stage.site.cloud.create(1, name="twice")
    done = stage.site.cli("restore", "create", "--dry-run", "twice")
    assert done.returncode == 0, done
    assert f"Volume {other} is named 'twice' too" in done.stderr + done.stdout
