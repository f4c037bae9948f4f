"""One tenant tries every way to reach another tenant's backups and volumes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.cloud import run
from tests.support.people import Person, Town

pytestmark = pytest.mark.lab

OWNER = "os-vol-tenant-attr:tenant_id"
SECRET = "the secret of alpha"
# What makes a copy unfinished, or gives it the time of its data.
_OF_VERDICTS = ("state", "taken", "number", "stored")


@dataclass
class Scene:
    """A victim, an attacker with a volume and a backup, and an operator with both keys.

    :ivar volume: the victim's volume
    :ivar group: the victim's group, which contains that volume
    :ivar backup: the backup of the victim's volume
    :ivar own: the attacker's volume
    """

    town: Town
    alpha: Person
    beta: Person
    admin: Person
    volume: str
    group: str
    backup: str
    own: str

    def restic(self, *command: str, cwd: Path | None = None) -> str:
        """Run restic as the attacker, with the key of the attacker's own repository."""
        project = self.beta.project_id
        environment = {
            **os.environ,
            "RESTIC_REPOSITORY": str(self.town.make_repository(project)),
            "RESTIC_PASSWORD": self.town.password(project),
        }
        return run("restic", *command, env=environment, cwd=cwd or "/")

    def forge(self, directory: Path, tags: Mapping[str, str], **changes: Any) -> str:
        """Put a forged backup into the attacker's repository; return the beginning
        of its id, as an old restic prints no more than that.
        """
        (real,) = (
            snapshot
            for snapshot in json.loads(self.restic("snapshots", "--json"))
            if f"volume={self.own}" in snapshot["tags"]
        )
        manifest = json.loads(self.restic("dump", real["id"], "/manifest.json"))
        for name, value in changes.items():
            manifest[name] = {**manifest[name], **value} if manifest[name] else value
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "regions/0").mkdir(parents=True)
        (directory / "regions/0/file").write_text("forged by beta")
        (directory / "manifest.json").write_text(json.dumps(manifest))
        found = dict(tag.split("=", 1) for tag in real["tags"] if "=" in tag)
        # As the first release stored it: without these it is the newest, and needs no verdict.
        found = {key: value for key, value in found.items() if key not in _OF_VERDICTS}
        found |= {name: quote(value, safe="") for name, value in tags.items()}
        told = [f"--tag={name}={value}" for name, value in found.items()]
        done = self.restic(
            *("backup", "--json", "--host", tags["volume"], "--tag=volflow", *told),
            *("regions", "manifest.json"),
            cwd=directory,
        )
        return str(json.loads(done.splitlines()[-1])["snapshot_id"])[:8]

    def secret(self) -> str:
        return self.alpha.cloud.on(self.volume, lambda root: (root / "secret").read_text())


@pytest.fixture(scope="module")
def scene(town: Town) -> Scene:
    alpha, beta, admin = (town.person(name) for name in ("alpha", "beta", "admin"))
    for person in (alpha, beta):
        town.make_repository(person.project_id)
        for one in (person, admin):
            town.give_key(one, person.project_id)
    group = alpha.group("of alpha")
    volume = alpha.volume(
        lambda root: (root / "secret").write_text(SECRET),
        name="vault",
        volume_type="lab",
        group_id=group,
    )
    own = beta.volume(lambda root: (root / "file").write_text("beta"), name="own")
    (row,) = alpha.rows("backup", "create", "--all")
    beta.rows("backup", "create", "--all")
    return Scene(town, alpha, beta, admin, volume, group, row["backup_id"], own)


# With the attacker's own key and login


@pytest.mark.parametrize("length", [64, 8])
@pytest.mark.parametrize(
    "command",
    [
        ("backup", "show", "{}"),
        ("backup", "ls", "{}"),
        ("backup", "verify", "{}"),
        ("backup", "extract", "{}", "secret", "--to", "{home}/out"),
        ("backup", "delete", "{}", "--yes"),
        ("restore", "create", "{}", "--new", "--yes"),
        ("restore", "create", "{}", "--to-path", "{home}/out"),
    ],
    ids=lambda command: "-".join(command[:2]) if isinstance(command, tuple) else None,
)
def test_the_id_of_a_backup_gives_another_tenant_nothing(
    scene: Scene, command: tuple[str, ...], length: int
) -> None:
    """Beta gets the same answer as for an id that does not exist."""
    before = scene.town.everything()
    guessed = scene.backup[:length]
    arguments = [part.format(guessed, home=scene.beta.home) for part in command]
    done = scene.beta.cli(*arguments)
    assert done.returncode == 1, done
    assert guessed in done.stderr
    assert "No backup" in done.stderr
    assert "vault" not in done.stdout + done.stderr
    assert not (scene.beta.home / "out").exists()
    assert scene.town.everything() == before


def test_names_and_ids_of_others_are_unknown(scene: Scene) -> None:
    for what in ("vault", scene.volume):
        assert "No volume" in scene.beta.refused("backup", "create", what)
        assert "No backup" in scene.beta.refused("restore", "create", what)
    scene.beta.refused("backup", "create", "--group", scene.group)
    scene.beta.refused("restore", "create", "--group", scene.group)


def test_the_lists_hold_nothing_of_others(scene: Scene) -> None:
    for command in (("backup", "list"), ("leftover", "list", "--lost"), ("run", "list")):
        done = scene.beta.cli(*command)
        assert done.returncode == 0, done
        assert scene.volume not in done.stdout
        assert scene.alpha.project_id not in done.stdout + done.stderr
    for more in ((), ("--dry-run",)):
        said = scene.beta.refused("restore", "create", "--all-tenants", "--new", *more)
        assert "administrators" in said
        assert scene.alpha.project_id not in said


# With the repository or state of others


def test_a_repository_of_others_needs_their_password(scene: Scene) -> None:
    """The location of a repository is not secret, but its password is."""
    place = scene.town.make_repository(scene.alpha.project_id)
    for command in (("backup", "list"), ("restore", "create", "vault")):
        said = scene.beta.refused(
            *command,
            repository__location=place,
            repository__password_file=scene.beta.home / "keys" / scene.beta.project_id,
        )
        assert "password is not that of the repository" in said


def test_a_login_to_a_project_of_others_is_refused(scene: Scene) -> None:
    for command in (("backup", "list"), ("restore", "create", "--all")):
        done = scene.beta.cli("--os-project-id", scene.alpha.project_id, *command)
        assert done.returncode == 1, done
        assert "the cloud refused the login" in done.stderr


@pytest.mark.parametrize(
    "project_id",
    ["../{}", "{}/../{}", "/etc", "..", "{}\n", "{} ", "*", "{{project_id}}", "{}x"],
)
def test_a_forged_project_id_is_refused(scene: Scene, project_id: str) -> None:
    """The project id comes from the cloud. It must not become another path or command."""
    from volflow import config
    from volflow.errors import ConfigError
    from volflow.host.privilege import Privilege
    from volflow.repositories.opened import Repositories

    conf = config.load([str(scene.beta.config())])
    forged = project_id.format(scene.alpha.project_id, scene.alpha.project_id)
    repositories = Repositories(conf, Privilege(""), lambda: scene.beta.home, lambda: forged)
    with pytest.raises(ConfigError, match="is not the id of a project"):
        repositories.of().backups()
    done = scene.beta.cli("repository", "init", "--project", forged)
    assert done.returncode == 1, done
    assert "is not the id of a project" in done.stderr


# Through a restore that an operator makes for all tenants


def _restore_all(scene: Scene, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
    """Restore every lost volume as the operator; return the rows of the result."""
    keystone = scene.town.keystone
    with keystone.role("admin", "alpha", "admin"), keystone.role("admin", "beta", "admin"):
        return scene.admin.rows(
            *("restore", "create", "--all-tenants", "--yes", *arguments), status=status
        )


def _restore(scene: Scene) -> dict[str, dict[str, Any]]:
    """The results by volume."""
    return {row["volume_id"]: row for row in _restore_all(scene)}


def test_a_backup_with_a_forged_project_is_nobodys(scene: Scene, tmp_path: Path) -> None:
    """A backup in beta's repository that claims to be alpha's belongs to neither."""
    victim = {"volume": scene.volume, "project": scene.alpha.project_id}
    forged = scene.forge(tmp_path / "tree", victim, volume={"id": scene.volume})
    rows = _restore(scene)
    assert scene.secret() == SECRET
    assert rows[scene.volume]["backup_id"] == scene.backup
    assert forged not in {row["backup_id"][:8] for row in rows.values()}
    scene.restic("forget", forged)


def test_a_backup_with_a_forged_volume_spares_the_real_one(scene: Scene, tmp_path: Path) -> None:
    """An administrator sees all volumes, but beta's backup is never restored into alpha's."""
    victim = {"volume": scene.volume, "project": scene.beta.project_id}
    changes = {"id": scene.volume, OWNER: scene.alpha.project_id}
    forged = scene.forge(tmp_path / "tree", victim, volume=changes)
    keystone = scene.town.keystone
    with keystone.role("admin", "beta", "admin"):
        (row,) = scene.admin.rows(
            "--os-project-id", scene.beta.project_id, "restore", "create", forged, "--yes"
        )
    assert scene.secret() == SECRET
    assert row["target_id"] != scene.volume
    made = scene.town.volumes()[row["target_id"]]
    assert made[OWNER] == scene.beta.project_id
    scene.beta.cloud.delete(row["target_id"])
    scene.restic("forget", forged)


def test_forgeries_stop_no_other_restore(scene: Scene, tmp_path: Path) -> None:
    """A forged backup is left out, and does not stop any other restore."""
    project = {"project": scene.beta.project_id}
    lost = "00000000-0000-4000-8000-00000000dead"
    forged = [
        # It claims to be of alpha's volume, and newer than alpha's backup.
        scene.forge(
            tmp_path / "1", {"volume": scene.volume, **project}, volume={"id": scene.volume}
        ),
        # Its ids would become part of URLs.
        scene.forge(tmp_path / "2", {"volume": "../x", **project}, volume={"id": "../x"}),
        # It lacks fields that a plan reads.
        scene.forge(
            tmp_path / "3",
            {"volume": lost, **project, "whole": "9" * 5000},
            volume={"id": lost, "name": [], "metadata": None},
        ),
    ]
    rows = _restore_all(scene, status=3)
    complete = {row["volume_id"]: row for row in rows if row["outcome"] == "complete"}
    assert set(complete) == {scene.volume, scene.own}
    assert complete[scene.volume]["backup_id"] == scene.backup
    assert complete[scene.volume]["target_id"] == scene.volume
    assert scene.secret() == SECRET
    left_out = {row["volume_id"]: row["error"] for row in rows if row["outcome"] == "left out"}
    assert set(left_out) == {scene.volume, "../x", lost}
    assert f"project {scene.alpha.project_id} has it now" in left_out[scene.volume]
    assert "damaged" in left_out["../x"]
    assert "damaged" in left_out[lost]
    for backup in forged:
        scene.restic("forget", backup)


def test_each_tenant_gets_a_lost_volume_in_its_own_project(scene: Scene, tmp_path: Path) -> None:
    """If the volume no longer exists, each tenant gets its own volume in its own project."""
    alpha = scene.alpha
    lost = alpha.volume(lambda root: (root / "secret").write_text(SECRET), name="lost")
    (row,) = alpha.rows("backup", "create", lost)
    alpha.cloud.delete(lost)
    tags = {"volume": lost, "project": scene.beta.project_id, "name": "lost"}
    forged = scene.forge(tmp_path / "tree", tags, volume={"id": lost})
    rows = _restore_all(scene, "--name", "lost")
    targets = {each["backup_id"][:8]: each["target_id"] for each in rows if each["target_id"]}
    made = scene.town.volumes()
    mine, theirs = (made[targets[backup]] for backup in (row["backup_id"][:8], forged))
    assert mine[OWNER] == alpha.project_id
    assert theirs[OWNER] == scene.beta.project_id
    assert alpha.cloud.on(mine["id"], lambda root: (root / "secret").read_text()) == SECRET
    alpha.cloud.delete(mine["id"])
    scene.beta.cloud.delete(theirs["id"])
    scene.restic("forget", forged)
    assert scene.admin.rows("leftover", "list") == []


def test_a_forged_group_spares_the_real_one(scene: Scene, tmp_path: Path) -> None:
    """No volume of beta joins alpha's group."""
    lost = "00000000-0000-4000-8000-00000000beba"
    tags = {"volume": lost, "project": scene.beta.project_id, "group": scene.group}
    group = {
        "id": scene.group,
        "name": "forged",
        "description": "",
        "availability_zone": "nova",
        "consistency_group": False,
    }
    forged = scene.forge(tmp_path / "tree", tags, volume={"id": lost}, group=group)
    rows = _restore(scene)
    made = scene.town.volumes()[rows[lost]["target_id"]]
    assert made[OWNER] == scene.beta.project_id
    assert made["group_id"] != scene.group
    scene.beta.cloud.delete(made["id"])
    scene.restic("forget", forged)


@pytest.mark.parametrize("id", ["../../snapshots", "x", "{}/action", ""])
def test_forged_ids_reach_no_url(scene: Scene, tmp_path: Path, id: str) -> None:
    """The ids would become part of URLs that an administrator requests."""
    bad = id.format(scene.volume)
    tags = {"volume": bad, "project": scene.beta.project_id}
    forged = scene.forge(tmp_path / "tree", tags, volume={"id": bad})
    before = scene.town.everything()
    said = scene.beta.refused("restore", "create", forged, "--yes")
    assert "damaged" in said or "No backup" in said
    assert scene.town.everything() == before
    scene.restic("forget", forged)


def test_a_backup_never_goes_into_a_volume_of_another_tenant(scene: Scene) -> None:
    """Even an operator cannot do that by mistake."""
    with scene.town.keystone.role("admin", "beta", "admin"):
        said = scene.admin.refused(
            *("--os-project-id", scene.beta.project_id),
            *("restore", "create", "own", "--into", scene.volume, "--yes"),
            status=2,
        )
    assert "data of one project must not go to another" in said
    assert scene.secret() == SECRET
