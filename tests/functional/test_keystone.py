"""A cloud with real authentication: who may do what, and the message to those who may not."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from tests.support.auditor import Api
from tests.support.cloud import in_a_namespace, run, this_host
from tests.support.site import PASSWORD, Site, missing, new_site

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def the_cloud(scratch: Path) -> Iterator[Any]:
    """A lab with Keystone."""
    why = missing() or (not importlib.util.find_spec("keystone") and "keystone is not installed")
    if why:
        pytest.skip(str(why))
    from lab import Lab

    lab = Lab(scratch / "lab-with-keystone")
    lab.up(keystone=True)
    try:
        yield lab
    finally:
        lab.down()


def _auth(lab: Any, cloud: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(lab.clouds_file.read_text())["clouds"][cloud]["auth"]
    return found


@pytest.fixture(scope="module")
def member(scratch: Path, the_cloud: Any) -> Iterator[Site]:
    """A site of the member of project alpha; the auditor is the administrator."""
    api = Api.keystone(the_cloud.endpoint, _auth(the_cloud, "lab-admin"))
    with new_site(scratch, the_cloud, api, administrator=the_cloud.cinder("lab-admin")) as site:
        site.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OS_")},
            "OS_CLIENT_CONFIG_FILE": str(the_cloud.clouds_file),
            "OS_CLOUD": "lab-alpha",
        }
        yield site


@pytest.fixture(scope="module")
def volume(member: Site) -> str:
    volume = member.cloud.create(name="mine")
    member.cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("content\n"))
    return volume


def _refused(site: Site, *arguments: str, says: tuple[str, ...], **environment: Any) -> None:
    _told(site, site.cli(*arguments, environment=environment), says)


def _told(site: Site, done: CompletedProcess[str], says: tuple[str, ...]) -> None:
    """Fail unless a command failed with this one line, and left nothing."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for text in says:
        assert text in done.stderr
    assert [str(finding) for finding in site.findings()] == []


def test_a_member_backs_up_and_restores(member: Site, volume: str) -> None:
    done = member.cli("backup", "create", "mine", "-f", "json")
    assert done.returncode == 0, done
    backup = json.loads(done.stdout)[0]["backup_id"]
    done = member.cli("restore", "create", "--new", backup, "-f", "json")
    assert done.returncode == 0, done
    new = member.cloud.adopt(json.loads(done.stdout)[0]["target_id"])
    owner = "os-vol-tenant-attr:tenant_id"
    assert member.cloud.show(new)[owner] == member.cloud.show(volume)[owner]
    content = member.cloud.on(new, lambda root: (root / "file").read_text(), read_only=True)
    assert content == "content\n"


def test_no_secret_is_kept(member: Site, the_cloud: Any, volume: str) -> None:
    """Neither the state nor the command's output contains the password or a token."""
    done = member.cli("-v", "backup", "create", volume)
    assert done.returncode == 0, done
    password = _auth(the_cloud, "lab-alpha")["password"]
    assert password not in done.stdout + done.stderr
    # Fernet tokens all begin like this.
    assert "gAAAAA" not in done.stdout + done.stderr
    for path in member.state.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes(), path
            assert b"gAAAAA" not in path.read_bytes(), path


def test_a_wrong_password_is_reported(
    member: Site, the_cloud: Any, volume: str, tmp_path: Path
) -> None:
    auth = _auth(the_cloud, "lab-alpha")
    _refused(
        member,
        *("backup", "create", "mine"),
        says=("the cloud refused the login. Check the user, password and project",),
        OS_CLOUD=None,
        OS_CLIENT_CONFIG_FILE=None,
        HOME=str(tmp_path),
        OS_AUTH_URL=auth["auth_url"],
        OS_USERNAME=auth["username"],
        OS_PASSWORD="a wrong one",
        OS_PROJECT_NAME=auth["project_name"],
        OS_USER_DOMAIN_ID="default",
        OS_PROJECT_DOMAIN_ID="default",
    )


def test_a_project_without_a_role_is_refused(
    member: Site, the_cloud: Any, volume: str, tmp_path: Path
) -> None:
    auth = _auth(the_cloud, "lab-alpha")
    _refused(
        member,
        *("backup", "create", "mine"),
        says=("the cloud refused the login",),
        OS_CLOUD=None,
        OS_CLIENT_CONFIG_FILE=None,
        HOME=str(tmp_path),
        OS_AUTH_URL=auth["auth_url"],
        OS_USERNAME=auth["username"],
        OS_PASSWORD=auth["password"],
        OS_PROJECT_NAME="beta",
        OS_USER_DOMAIN_ID="default",
        OS_PROJECT_DOMAIN_ID="default",
    )


def test_a_volume_of_another_project_is_unknown(member: Site, volume: str) -> None:
    """The answer does not even show that it exists."""
    for what in ("mine", volume):
        _refused(
            member,
            *("backup", "create", what),
            says=(f"No volume has the id or name '{what}'",),
            OS_CLOUD="lab-beta",
        )


def test_a_repository_on_the_volume_itself_is_refused(member: Site) -> None:
    """Cinder does not show a member the host that a volume is attached to."""
    volume = member.cloud.create(name="self")
    member.cloud.format(volume, "ext4")
    with member.cloud.attached(volume, host=this_host()) as device:
        (attachment,) = member.cloud.show(volume)["attachments"]
        assert attachment["host_name"] is None
        point = member.home / "mounts" / "itself"
        point.mkdir()

        def inside() -> CompletedProcess[str]:
            run("mount", "-t", "ext4", device, str(point))
            try:
                place = point / "repository"
                environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD.strip()}
                run("restic", "--repo", str(place), "init", env=environment)
                config = member.config(repository__location=place)
                return member.cli("backup", "create", "self", config=config)
            finally:
                run("umount", str(point))

        done = in_a_namespace(inside)
        point.rmdir()
        assert done.returncode == 1, done
        assert f"is stored on volume self ({volume}) itself" in done.stderr
    # The volume is in use by this host, but the repository is elsewhere: that is allowed.
    with member.cloud.attached(volume, host=this_host()):
        done = member.cli("backup", "create", "self", "--dry-run")
        assert done.returncode == 0, done


def test_a_member_is_held_to_the_quota_of_a_type(member: Site, the_cloud: Any, volume: str) -> None:
    """A member may see the project's own quota, and that of each type."""
    administrator = the_cloud.cinder("lab-admin")
    project = member.cloud.show(volume)["os-vol-tenant-attr:tenant_id"]
    administrator.quotas.update(project, snapshots_lab=0)
    try:
        _refused(
            member,
            *("backup", "create", volume),
            says=("for volume type 'lab' cannot hold", "left: 0 snapshots"),
        )
        with _forbidden(the_cloud, "volume_extension:quotas:show"):
            done = member.cli("backup", "create", volume, "--dry-run")
        assert done.returncode == 0, done
    finally:
        administrator.quotas.update(project, snapshots_lab=-1)


@contextmanager
def _forbidden(the_cloud: Any, *rules: str) -> Iterator[None]:
    """A policy that forbids this to everyone; Cinder reads it again for every request."""
    file = the_cloud.directory.path / "policy.yaml"
    file.write_text("".join(f'"{rule}": "!"\n' for rule in rules))
    try:
        yield
    finally:
        file.write_text("{}\n")
        # Cinder compares the file's time in seconds, so the next change must be in a later second.
        os.utime(file)


def test_a_list_that_is_not_permitted_is_reported(
    member: Site, the_cloud: Any, volume: str
) -> None:
    with _forbidden(the_cloud, "volume:get_all"):
        done = member.cli("backup", "create", "mine")
    _told(member, done, ("not permitted. The user needs a role", "volume:get_all"))


@pytest.mark.parametrize(
    "rule",
    [
        "volume:create_snapshot",
        "volume:create",
        "volume:attachment_create",
        "volume:attachment_complete",
    ],
)
def test_a_step_that_is_not_permitted_is_undone(
    member: Site, the_cloud: Any, volume: str, rule: str
) -> None:
    """Only trying the step shows that it is forbidden; then the steps before it are undone."""
    before = member.cloud.show(volume)
    with _forbidden(the_cloud, rule):
        done = member.cli("backup", "create", volume, "-f", "json")
    assert done.returncode == 1, done
    result = json.loads(done.stdout)[0]
    assert "not permitted" in result["error"]
    assert rule in result["error"]
    assert "Traceback" not in done.stderr
    assert result["leftovers"] == []
    assert [str(finding) for finding in member.findings()] == []
    assert member.cloud.show(volume) == before
