"""A volume that a restore is writing to is not backed up, whichever of the two began first."""

from __future__ import annotations

import pytest

from tests.support.controlled_runs import held, run
from tests.support.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]


@pytest.mark.parametrize("step", ["read properties", "snapshot"])
def test_a_restore_that_begins_before_the_snapshot_fails_the_backup(
    site: Site, volume: str, step: str
) -> None:
    stored = site.stored()
    with (
        held(site, "backup", volume, step=step) as backup,
        # The backup was planned when the volume was whole.
        held(site, "restore", volume, step="mount") as restore,
    ):
        backup.go_on()
        answer = backup.end()
        assert answer.result == "failed", answer
        assert "is being restored by run" in str(answer.volumes[0]["error"])
        assert "it is not backed up" in str(answer.volumes[0]["error"])
        assert answer.volumes[0]["leftovers"] == []
        # There is only the safety snapshot of the restore.
        (snapshot,) = site.cloud.client.volume_snapshots.list()
        assert snapshot.name.startswith("volflow-safety-")
        restore.go_on()
        assert restore.end().result == "complete"
    assert site.stored() == stored
    assert run(site, "backup", volume).result == "complete"


def test_a_restore_that_begins_after_the_snapshot_changes_nothing(site: Site, volume: str) -> None:
    with (
        held(site, "backup", volume, step="temporary volume") as backup,
        held(site, "restore", volume, step="mount") as restore,
    ):
        backup.go_on()
        assert backup.end().result == "complete"
        restore.go_on()
        assert restore.end().result == "complete"
    assert site.content(volume) == site.content(site.restore(volume, new=True).volumes[0].target_id)
