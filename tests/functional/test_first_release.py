"""Runs that release 0.1.0 began are resumed and aborted on a real cloud.

Release 0.1.0 stored the state, see tests/support/first_release.py. The tests make the resources
in the cloud again, and put their ids into the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import first_release, tree
from tests.support.controlled_runs import query, until
from tests.support.site import Site
from volflow.host.identity import host_name

pytestmark = pytest.mark.lab


def fill(root: Any) -> None:
    for number in range(20):
        (root / f"{number:02}").write_text(f"{number}\n" * 100)


@pytest.fixture
def volume(site: Site) -> str:
    found = site.cloud.create(name="volume")
    site.cloud.fill(found, "ext4", fill)
    return found


def attach(site: Site, volume_id: str) -> str:
    """Attach a volume to the host on which 0.1.0 ran."""
    connector = {"host": first_release.HOST, "initiator": "iqn.1994-05.org:a", "ip": "192.0.2.2"}
    made = site.cloud.client.attachments.create(volume_id, connector)
    attachment = made["id"] if isinstance(made, dict) else made.id
    site.cloud.client.attachments.complete(attachment)
    return str(attachment)


@pytest.fixture
def killed_backup(site: Site, volume: str) -> str:
    """A backup that was killed before its copy."""
    run_id = first_release.KILLED_BACKUP
    client, name = site.cloud.client, f"volflow-{run_id[:8]}"
    text = f"Temporary, made by volflow run {run_id}"
    snapshot = client.volume_snapshots.create(
        volume, name=name, description=text, metadata={"volflow": f"{run_id}/{volume}/snapshot"}
    ).id
    until(lambda: client.volume_snapshots.get(snapshot).status == "available")
    temporary = client.volumes.create(
        1,
        snapshot_id=snapshot,
        name=name,
        description=text,
        metadata={"volflow": f"{run_id}/{volume}/volume"},
    ).id
    site.cloud.wait(temporary, "available")
    first_release.load(
        site.state / "state.sqlite",
        {
            # It has been rebooted since, so its devices are gone.
            f'"host": "{first_release.HOST}"': f'"host": "{host_name()}"',
            first_release.REPOSITORY: str(site.repository),
            first_release.SECOND: volume,
            first_release.SNAPSHOT: snapshot,
            first_release.TEMPORARY_VOLUME: temporary,
            first_release.BACKUP_ATTACHMENT: attach(site, temporary),
        },
        only=run_id,
    )
    return run_id


@dataclass
class Restore:
    """A restore in place that was suspended before its copy.

    :ivar backed_up: the files in the backup
    :ivar newer: the files that the volume had later
    """

    run_id: str
    volume: str
    backed_up: tree.Tree
    newer: tree.Tree


@pytest.fixture
def suspended_restore(site: Site, volume: str) -> Restore:
    run_id = first_release.SUSPENDED_RESTORE
    backed_up = content(site, volume)
    backup = site.backup(volume).volumes[0].backup_id
    site.cloud.on(volume, lambda root: (root / "newer").write_text("than the backup"))
    newer = content(site, volume)
    client = site.cloud.client
    client.volumes.set_metadata(volume, {"volflow": f"{run_id}/{volume}/claim"})
    safety = client.volume_snapshots.create(
        volume,
        name=f"volflow-safety-{run_id[:8]}",
        description=f"Before the restore by volflow run {run_id}",
        metadata={"volflow": f"{run_id}/{volume}/safety snapshot"},
    ).id
    until(lambda: client.volume_snapshots.get(safety).status == "available")
    for file in site.state.glob("state.sqlite*"):
        file.unlink()
    first_release.load(
        site.state / "state.sqlite",
        {
            # It has been rebooted since, so its devices are gone.
            f'"host": "{first_release.HOST}"': f'"host": "{host_name()}"',
            first_release.REPOSITORY: str(site.repository),
            first_release.THIRD: volume,
            first_release.BACKUP_OF_THIRD: backup,
            first_release.SAFETY_SNAPSHOT: safety,
            first_release.RESTORE_ATTACHMENT: attach(site, volume),
        },
        only=run_id,
    )
    return Restore(run_id, volume, backed_up, newer)


def content(site: Site, volume: str) -> tree.Tree:
    return site.cloud.on(volume, tree.describe, read_only=True)


def backups(site: Site) -> list[Any]:
    with site.volflow() as volflow:
        return list(volflow.context.backups.backups())


def state_of(site: Site, run_id: str) -> Any:
    assert query(site, "SELECT tag FROM ledger WHERE state != 'GONE'") == []
    assert list(site.cloud.client.attachments.list()) == []
    return query(site, "SELECT state FROM run WHERE id = ?", run_id)[0][0]


def test_a_killed_backup_is_resumed(site: Site, volume: str, killed_backup: str) -> None:
    before = content(site, volume)
    shown = site.cli("run", "show", killed_backup)
    assert "interrupted, at 'copy'" in shown.stdout, shown
    done = site.cli("run", "resume", killed_backup)
    assert done.returncode == 0, done.stderr
    assert state_of(site, killed_backup) == "COMPLETE"
    (backup,) = backups(site)
    assert backup.tags["run"] == killed_backup
    site.cloud.on(volume, lambda root: (root / "05").unlink())
    assert str(site.restore(volume).outcome) == "complete"
    assert content(site, volume) == before


def test_a_killed_backup_is_aborted(site: Site, volume: str, killed_backup: str) -> None:
    before = content(site, volume)
    done = site.cli("run", "abort", killed_backup)
    assert done.returncode == 0, done.stderr
    assert state_of(site, killed_backup) == "ABORTED"
    assert backups(site) == []
    assert content(site, volume) == before


def test_a_suspended_restore_is_resumed(site: Site, suspended_restore: Restore) -> None:
    done = site.cli("run", "resume", suspended_restore.run_id)
    assert done.returncode == 0, done.stderr
    assert state_of(site, suspended_restore.run_id) == "COMPLETE"
    assert content(site, suspended_restore.volume) == suspended_restore.backed_up


def test_a_suspended_restore_is_aborted(site: Site, suspended_restore: Restore) -> None:
    done = site.cli("run", "abort", suspended_restore.run_id)
    assert done.returncode == 0, done.stderr
    assert state_of(site, suspended_restore.run_id) == "ABORTED"
    assert content(site, suspended_restore.volume) == suspended_restore.newer
