"""A tenant writes and copies volflow's marks. Nobody's data is lost by that."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.people import Person, Town
from tests.support.waiting import until

pytestmark = pytest.mark.lab


@pytest.fixture
def beta(town: Town) -> Person:
    found = town.person("beta")
    town.make_repository(found.project_id)
    for one in (found, town.person("admin")):
        town.give_key(one, found.project_id)
    return found


def marked(
    person: Person, name: str, mark: str, own_id: Mapping[str, str] | None = None, **more: Any
) -> str:
    metadata = {"volflow": mark, **(own_id or {})}
    made = person.cloud.client.volumes.create(1, name=name, metadata=metadata, **more)
    until(lambda: person.cloud.client.volumes.get(made.id).status == "available")
    return str(made.id)


def forgeries(person: Person, source: str) -> Mapping[str, str]:
    """Volumes and a snapshot with marks that volflow did not write, by why they are foreign."""
    run, client = uuid.uuid4(), person.cloud.client
    name, mark = f"volflow-{str(run)[:8]}", f"{run}/{source}"
    snapshot = client.volume_snapshots.create(
        source, name="hourly", metadata={"volflow": f"{mark}/snapshot"}
    )
    until(lambda: client.volume_snapshots.get(snapshot.id).status == "available")
    return {
        "written": marked(person, "data", "team/web/volume"),
        "own name": marked(person, "data", f"{mark}/volume"),
        "no snapshot": marked(person, name, f"{mark}/volume"),
        "cloned": marked(person, name, f"{mark}/volume", source_volid=source),
        "target": marked(person, "data", f"{mark}/target"),
        "target of another": marked(
            person, "data", f"{mark}/target", own_id={"volflow_id": str(uuid.uuid4())}
        ),
        "cloned target": marked(person, "data", f"{mark}/target", source_volid=source),
        "other snapshot": marked(person, name, f"{mark}/volume", snapshot_id=snapshot.id),
        "snapshot": str(snapshot.id),
    }


def test_forged_marks_cost_a_tenant_neither_volume_nor_backup(town: Town, beta: Person) -> None:
    source = beta.volume(lambda root: (root / "file").write_text("beta"), name="source")
    made = forgeries(beta, source)
    before = town.everything()
    listed = {row["ID"]: row for row in beta.rows("leftover", "list", "--lost")}
    assert set(listed) == set(made.values()) - {made["written"]}
    assert all("volflow did not make it" in row["Why"] for row in listed.values())
    for one in (beta, town.person("admin")):
        one.rows("leftover", "clean", "--lost", "--older-than", "0")
        assert town.everything() == before
    # Cloned volumes have a file system; the others are empty and fail, but none is left out.
    names = {made[each] for each in ("cloned", "cloned target", "other snapshot")}
    done = beta.cli("backup", "create", *names)
    assert done.returncode == 0, done
    assert done.stderr.count("is not a mark of volflow") == len(names)
    done = beta.cli("backup", "create", "--all", "--dry-run")
    # Of one nobody can know whether a restore has been interrupted there: that is an alarm.
    assert done.returncode == 0, done
    assert done.stderr.count("left out") == 1
    assert done.stderr.count("is not a mark of volflow") == len(made) - 2
    town.clear()
