"""The users of one cloud: each has a login, volumes, and a configuration of volflow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import repository
from tests.support.auditor import Api
from tests.support.cloud import Cloud
from tests.support.waiting import until, until_gone, until_settled


@dataclass
class Person:
    """A user of the cloud, and volflow with that user's login, repositories and state.

    :ivar login: the name of the cloud in clouds.yaml
    :ivar project_id: the project that the login is for
    :ivar home: the user's own directory
    :ivar cloud: the cloud, with this user's permissions
    :ivar settings: options of volflow, as ``group__option``
    """

    login: str
    project_id: str
    home: Path
    cloud: Cloud
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.home / "state"

    def config(self, **overrides: Any) -> Path:
        """A configuration file; ``group__option="value"`` changes an option, None omits it."""
        values = {
            "DEFAULT__state_dir": self.state,
            "cloud__name": self.login,
            "wait__interval": 0.05,
            "wait__interval_max": 0.5,
            **self.settings,
            **overrides,
        }
        sections: dict[str, list[str]] = {}
        for key, value in values.items():
            group, _, option = key.partition("__")
            if value is not None:
                sections.setdefault(group, []).append(f"{option} = {value}")
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.home / f"volflow-{abs(hash(str(values))):x}.conf"
        file.write_text(
            "".join(f"[{group}]\n" + "\n".join(lines) + "\n" for group, lines in sections.items())
        )
        return file

    @contextmanager
    def volflow(self, **overrides: Any) -> Iterator[Any]:
        """volflow as a library."""
        from volflow import config
        from volflow.api.volflow import Volflow
        from volflow.context import Context

        with Volflow(Context(config.load([str(self.config(**overrides))]))) as found:
            yield found

    def command(self, *arguments: str, **overrides: Any) -> list[str]:
        """The command line."""
        config = str(self.config(**overrides))
        return [sys.executable, "-m", "volflow.cli.main", "--config-file", config, *arguments]

    def cli(
        self, *arguments: str, timeout: float = 400, **overrides: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line in a separate process."""
        return subprocess.run(
            self.command(*arguments, **overrides),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=timeout,
            cwd="/",
        )

    def rows(self, *arguments: str, status: int = 0, **overrides: Any) -> list[dict[str, Any]]:
        """Run the command line and return its JSON output."""
        done = self.cli(*arguments, "-f", "json", **overrides)
        assert done.returncode == status, done
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def refused(self, *arguments: str, status: int = 1, **overrides: Any) -> str:
        """Run a command that must fail, and return its message, which must be a single line."""
        done = self.cli(*arguments, **overrides)
        assert done.returncode == status, done
        assert done.stdout == "", done
        assert "Traceback" not in done.stderr, done
        return done.stderr.strip()

    def volume(self, do: Callable[[Path], Any] | None = None, **properties: Any) -> str:
        """Make a volume with ext4, and files if given; return its id."""
        volume = self.cloud.create(**{"size": 1, **properties})
        self.cloud.fill(volume, "ext4", do or (lambda root: None))
        return volume

    def group(self, name: str, volume_type: str = "lab", **properties: Any) -> str:
        """Make a generic volume group; return its id."""
        client = self.cloud.client
        group_type = next(t.id for t in client.group_types.list() if t.name == GROUP_TYPE)
        types = [t.id for t in client.volume_types.list() if t.name == volume_type]
        made = client.groups.create(group_type, ",".join(types), name, **properties)
        until_settled(client.groups.get, made.id)
        return str(made.id)

    def change_group(self, group: str, **fields: str) -> None:
        """Let volumes join or leave a group; ids are separated by commas."""
        groups = self.cloud.client.groups
        groups.update(group, **fields)
        until_settled(groups.get, group)


GROUP_TYPE = "tests"


class Keystone:
    """Keystone, used as administrator.

    :param clouds: the clouds.yaml
    """

    def __init__(self, clouds: Path) -> None:
        import openstack

        config = openstack.config.OpenStackConfig(config_files=[str(clouds)], load_envvars=False)
        region = config.get_one("lab-admin")
        region.get_session().session.trust_env = False
        self._identity = openstack.connection.Connection(config=region).identity

    def project(self, name: str) -> str:
        """The id of the project with this name."""
        return str(self._identity.find_project(name, ignore_missing=False).id)

    @contextmanager
    def role(self, user: str, project: str, role: str = "member") -> Iterator[None]:
        """A user has a role in a project while the block runs."""
        identity = self._identity
        who = identity.find_user(user, ignore_missing=False)
        where = identity.find_project(project, ignore_missing=False)
        what = identity.find_role(role, ignore_missing=False)
        identity.assign_project_role_to_user(where, who, what)
        try:
            yield
        finally:
            identity.unassign_project_role_from_user(where, who, what)


def group_types(lab: Any) -> None:
    """Make a group type; Cinder has none at first."""
    client = lab.cinder("lab-admin")
    if GROUP_TYPE not in {each.name for each in client.group_types.list()}:
        made = client.group_types.create(GROUP_TYPE, "Of the tests")
        made.set_keys({"consistent_group_snapshot_enabled": "<is> False"})


def admin_api(lab: Any) -> Api:
    """The lab's API as an administrator."""
    from openstack import config

    clouds = config.OpenStackConfig(config_files=[str(lab.clouds_file)], load_envvars=False)
    return Api.keystone(lab.endpoint, clouds.get_one("lab-admin").config["auth"])


@dataclass
class Town:
    """The users of one cloud.

    :ivar home: the directory for the files of all users
    :ivar api: the cloud, seen as an administrator
    """

    home: Path
    lab: Any
    keystone: Keystone
    api: Api

    def person(self, name: str, home: str | None = None, **settings: Any) -> Person:
        """A user with a repository for each project and the keys from :meth:`give_key`.

        :param name: alpha, beta or admin
        :param home: the name of the directory, if one user has several
        """
        own = self.home / (home or name)
        (own / "keys").mkdir(parents=True, exist_ok=True)
        mounts = self.home / "mounts" / (home or name)
        mounts.mkdir(parents=True, exist_ok=True)
        cloud = Cloud(self.lab.cinder(f"lab-{name}"), mounts)
        default = {
            "repository__location": f"{self.home}/repositories/{{project_id}}",
            "repository__password_file": f"{own}/keys/{{project_id}}",
        }
        project = self.keystone.project(name)
        return Person(f"lab-{name}", project, own, cloud, default | settings)

    def give_key(self, person: Person, project_id: str) -> None:
        """Give a user the password of a project's repository."""
        file = person.home / "keys" / project_id
        file.write_text(self.password(project_id) + "\n")
        file.chmod(0o600)

    def password(self, project_id: str) -> str:
        return f"the password of {project_id}"

    def make_repository(self, project_id: str) -> Path:
        """Make the repository of a project."""
        path = self.home / "repositories" / project_id
        if not path.exists():
            repository.make(path, self.password(project_id))
        return path

    # Seen as an administrator

    def volumes(self) -> dict[str, dict[str, Any]]:
        """All volumes of all projects, by id."""
        return {volume["id"]: volume for volume in self.api.all("volumes")}

    def everything(self) -> set[str]:
        """The ids of all resources, to compare before and after."""
        found = {each["id"] for what in ("volumes", "snapshots") for each in self.api.all(what)}
        found |= {each["id"] for each in self.api.all("attachments")}
        for what in ("groups", "group_snapshots"):
            found |= {each["id"] for each in self.api.get(what, all_tenants="1")[what]}
        return found

    def clear(self) -> None:
        """Remove everything from the cloud, as an administrator."""
        client = self.lab.cinder("lab-admin")
        anybody = {"all_tenants": 1}
        for attachment in client.attachments.list(search_opts=anybody):
            client.attachments.delete(attachment.id)
        for snapshot in client.group_snapshots.list(search_opts=anybody):
            client.group_snapshots.delete(snapshot.id)
        for snapshot in client.volume_snapshots.list(search_opts=anybody):
            if not getattr(snapshot, "group_snapshot_id", None):
                client.volume_snapshots.delete(snapshot.id)
        for group in client.groups.list(search_opts=anybody):
            # Only the group can delete its volumes: Cinder does not delete them otherwise.
            client.groups.delete(group.id, delete_volumes=True)
            until_gone(client.groups.get, group.id)
        for volume in client.volumes.list(search_opts=anybody):
            client.volumes.reset_state(volume.id, "available")
            client.volumes.delete(volume.id, cascade=True)
        until(lambda: self.everything() == set())
