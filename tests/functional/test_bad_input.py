"""What cannot work is refused: by one clear message, before anything is made in Cinder.

Every case is the real command line in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloud import in_a_namespace, run, this_host
from tests.support.site import PASSWORD, Site

pytestmark = pytest.mark.lab

# A shell that changes the mounts that its command sees, and those of nobody else.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


@dataclass
class Ground:
    """A site with a volume that could be backed up, and a backup of it.

    :ivar database: Cinder's own, which never forgets what was there
    """

    site: Site
    volume: str
    backup: str
    database: Path

    def made(self) -> dict[str, list[Any]]:
        """Everything that has ever been in Cinder, what is deleted too, and what state it is in."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return {
                table: database.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()
                for table, columns in (
                    ("volumes", "id, status, display_name, deleted"),
                    ("snapshots", "id, status, deleted"),
                    ("volume_attachment", "id, deleted"),
                    ("volume_metadata", "id, key, value, deleted"),
                )
            }

    def refused(
        self, *arguments: str, says: str, status: int = 1, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that must do nothing but say why.

        :param says: a regular expression that its one message must match
        """
        before, runs = self.made(), self._runs()
        done = self.site.cli(*arguments, **more)
        told = done.stderr.strip()
        assert done.returncode == status, done
        assert done.stdout == ""
        assert len(told.splitlines()) == 1, told
        assert re.search(says, told), told
        assert self.made() == before
        assert self._runs() == runs
        assert list((self.site.repository / "locks").iterdir()) == []
        return done

    def _runs(self) -> int:
        file = self.site.state / "state.sqlite"
        if not file.exists():
            return 0
        with closing(sqlite3.connect(file)) as database:
            return int(database.execute("SELECT count(*) FROM run").fetchone()[0])


@pytest.fixture(scope="module")
def ground(shared_site: Site, the_lab: Any) -> Ground:
    volume = shared_site.cloud.create(name="good")
    shared_site.cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("content\n"))
    result = shared_site.backup(volume)
    return Ground(
        shared_site, volume, result.volumes[0].backup_id, the_lab.directory.database("cinder")
    )


# The volume


def test_no_such_volume(ground: Ground) -> None:
    says = "No volume has the id or name 'nothing'.*openstack volume list"
    ground.refused("backup", "create", "nothing", says=says)


def test_no_such_volume_among_others(ground: Ground) -> None:
    ground.refused("backup", "create", "good", "nothing", says="No volume has the id or name")


def test_several_volumes_of_one_name(ground: Ground) -> None:
    twins = sorted(ground.site.cloud.create(name="twin") for _ in range(2))
    says = f"2 volumes are named 'twin'; give an id: {twins[0]}, {twins[1]}"
    ground.refused("backup", "create", "twin", says=says, status=2)


def test_the_same_volume_twice(ground: Ground) -> None:
    says = f"{ground.volume} is named more than once"
    ground.refused("backup", "create", "good", ground.volume, says=says, status=2)


@pytest.mark.parametrize("state", ["error", "creating", "uploading", "restoring-backup"])
def test_a_volume_in_a_wrong_state(ground: Ground, state: str) -> None:
    volume = ground.site.cloud.create(name=f"in {state}")
    ground.site.cloud.client.volumes.reset_state(volume, state)
    try:
        ground.refused(
            *("backup", "create", f"in {state}"),
            says=f"{volume}.* is '{state}'.* must be 'available' or 'in-use'",
        )
    finally:
        ground.site.cloud.client.volumes.reset_state(volume, "available")


# The cloud


def test_no_authentication(ground: Ground, tmp_path: Path) -> None:
    nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("OS_")}
    homes = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    ground.refused(
        *("backup", "create", "good"),
        says="No usable authentication.*--os-cloud.*OS_AUTH_URL",
        environment=nothing | homes,
    )


def test_a_cloud_that_is_not_in_the_file(ground: Ground) -> None:
    ground.refused(
        *("backup", "create", "good"),
        says="No usable authentication.*elsewhere.*clouds.yaml",
        environment={"OS_CLOUD": "elsewhere"},
    )


@pytest.mark.parametrize(
    ("name", "environment", "options"),
    [
        ("elsewhere", {"OS_CLOUD": "nowhere"}, ["--os-cloud", "lab"]),
        ("elsewhere", {"OS_CLOUD": "lab"}, []),
        ("lab", {"OS_CLOUD": None}, []),
        # The only one of the file, which an option of volflow does not hide.
        (None, {"OS_CLOUD": None, "OS_HOST__MY_IP": "127.0.0.1"}, []),
    ],
    ids=["option", "environment", "configuration", "only one"],
)
def test_which_cloud_comes_first(
    ground: Ground, name: str | None, environment: dict[str, str | None], options: list[str]
) -> None:
    done = ground.site.cli(
        *(*options, "backup", "create", "good", "--dry-run", "-f", "json"),
        config=ground.site.config(cloud__name=name),
        environment=environment,
    )
    assert done.returncode == 0, done
    assert [row["Volume"] for row in json.loads(done.stdout)] == [ground.volume]


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port on which nobody answers, and that nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_api_that_cannot_be_reached(ground: Ground, tmp_path: Path) -> None:
    with _closed_port() as port:
        told = ground.site.environment["OS_CLIENT_CONFIG_FILE"]
        text = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", Path(told).read_text())
        (tmp_path / "clouds.yaml").write_text(text)
        ground.refused(
            *("backup", "create", "good"),
            says="the API cannot be reached. Check the auth URL, the endpoint and the network",
            environment={"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")},
        )


def test_a_keystone_that_cannot_be_reached(ground: Ground, tmp_path: Path) -> None:
    nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("OS_")}
    with _closed_port() as port:
        ground.refused(
            *("backup", "create", "good"),
            says="the API cannot be reached",
            environment={
                **nothing,
                "HOME": str(tmp_path),
                "OS_AUTH_URL": f"http://127.0.0.1:{port}/v3",
                "OS_USERNAME": "somebody",
                "OS_PASSWORD": "something",
                "OS_PROJECT_NAME": "some",
                "OS_USER_DOMAIN_ID": "default",
                "OS_PROJECT_DOMAIN_ID": "default",
            },
        )


@pytest.mark.parametrize(
    ("quota", "left"),
    [
        ({"volumes": 0}, "0 volumes"),
        ({"snapshots": 0}, "0 snapshots"),
        ({"gigabytes": 0}, "GiB. Request more quota, or free some"),
        ({"volumes_lab": 0}, "0 volumes"),
        ({"snapshots_lab": 0}, "0 snapshots"),
        ({"gigabytes_lab": 1}, "0 GiB. Request more quota, or free some"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_quota_that_does_not_hold_the_temporary_things(
    ground: Ground, quota: dict[str, int], left: str
) -> None:
    from lab import settings

    client = ground.site.cloud.client
    client.quotas.update(settings.PROJECT, **quota)
    try:
        whose = " for volume type 'lab'" if "_" in next(iter(quota)) else ""
        takes = "1 snapshot, 1 volume and 2 GiB"
        says = f"quota of project [0-9a-f]+{whose} cannot hold .*{takes}.*{left}"
        ground.refused("backup", "create", "good", says=says)
    finally:
        client.quotas.delete(settings.PROJECT)


def test_the_hook_is_told_of_a_run_that_is_refused(ground: Ground, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment\ncat > {tmp_path}/input\n")
    hook.chmod(0o755)
    config = ground.site.config(hooks__command=hook, repository__restic=tmp_path / "restic")
    for verb in ("backup", "restore"):
        done = ground.refused(verb, "create", "good", says="restic is not", config=config)
        told = json.loads((tmp_path / "input").read_text())
        assert (told["event"], told["kind"]) == ("run.failure", verb)
        assert told["error"] in done.stderr
        assert f"VOLFLOW_KIND={verb}" in (tmp_path / "environment").read_text()
    (tmp_path / "input").unlink()
    ground.refused("backup", "create", "good", "--dry-run", says="restic is not", config=config)
    assert not (tmp_path / "input").exists()


# The repository


def _fake_restic(directory: Path, says: str) -> Path:
    program = directory / "restic"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return program


def test_restic_is_missing(ground: Ground, tmp_path: Path) -> None:
    config = ground.site.config(repository__restic=tmp_path / "restic")
    says = "restic is not installed.*install the package 'restic'"
    ground.refused("backup", "create", "good", says=says, config=config)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("restic 0.9.6 compiled with go1.13 on linux/amd64", r"restic 0\.9\.6 is too old.*0\.14"),
        ("restic 0.13.1 compiled with go1.18 on linux/amd64", r"restic 0\.13\.1 is too old"),
        ("I am another program", "does not name a version of restic: I am another program"),
    ],
    ids=["0.9", "0.13", "another"],
)
def test_restic_is_too_old(ground: Ground, tmp_path: Path, version: str, says: str) -> None:
    config = ground.site.config(repository__restic=_fake_restic(tmp_path, version))
    ground.refused("backup", "create", "good", says=says, config=config)


def test_no_repository_is_configured(ground: Ground) -> None:
    config = ground.site.config(repository__location=None)
    ground.refused("backup", "create", "good", says="No repository is configured", config=config)


def test_there_is_no_repository(ground: Ground, tmp_path: Path) -> None:
    config = ground.site.config(repository__location=tmp_path / "nowhere")
    says = f"There is no repository at {tmp_path / 'nowhere'}.*'volflow repository init'"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_the_repository_is_a_relative_path(ground: Ground) -> None:
    config = ground.site.config(repository__location="some/where")
    ground.refused("backup", "create", "good", says="relative path", config=config)


def test_the_password_is_wrong(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("another one\n")
    config = ground.site.config(repository__password_file=tmp_path / "password")
    says = f"The password is not that of the repository {ground.site.repository}"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_the_password_file_is_missing(ground: Ground, tmp_path: Path) -> None:
    config = ground.site.config(repository__password_file=tmp_path / "password")
    says = f"password file {tmp_path / 'password'} .*does not exist"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_there_is_no_password(ground: Ground) -> None:
    config = ground.site.config(repository__password_file=None)
    says = "set either password_file or password_command"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_the_repository_is_read_only(ground: Ground) -> None:
    """Mounted read-only, as root's writing is stopped by nothing less."""
    place = str(ground.site.repository)
    ground.refused(
        *("backup", "create", "good"),
        says=f"The repository {place} cannot be written to",
        prefix=("unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", place),
    )


def test_the_repository_is_on_the_volume_itself(ground: Ground) -> None:
    volume = ground.site.cloud.create(name="self")
    ground.site.cloud.format(volume, "ext4")
    with ground.site.cloud.attached(volume, host=this_host()) as device:
        point = ground.site.home / "mounts" / "itself"
        point.mkdir()

        def inside() -> None:
            run("mount", "-t", "ext4", device, str(point))
            try:
                place = point / "some" / "repository"
                place.mkdir(parents=True)
                environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD.strip()}
                run("restic", "--repo", str(place), "init", env=environment)
                ground.refused(
                    *("backup", "create", "self"),
                    says=f"The repository {place} is stored on volume self .{volume}. itself",
                    config=ground.site.config(repository__location=place),
                )
            finally:
                run("umount", str(point))

        in_a_namespace(inside)
        point.rmdir()


# This host


def test_root_without_capabilities(ground: Ground) -> None:
    """As in a container that may neither mount nor attach."""
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    ground.refused(
        *("backup", "create", "good"),
        says="Not enough privilege to attach and mount volumes: run volflow as root",
        prefix=bare,
    )


def test_the_state_directory_cannot_be_written_to(ground: Ground, tmp_path: Path) -> None:
    ground.refused(
        *("backup", "create", "good"),
        says=f"The state directory {tmp_path}.* is not writable.*state_dir in volflow.conf",
        config=ground.site.config(DEFAULT__state_dir=tmp_path / "state"),
        prefix=("unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", str(tmp_path)),
    )


def test_the_state_directory_is_a_file(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory\n")
    ground.refused(
        *("backup", "create", "good"),
        says=f"The state directory {tmp_path}.* is not writable",
        config=ground.site.config(DEFAULT__state_dir=tmp_path / "state"),
    )


def test_the_state_database_cannot_be_reached(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory\n")
    database = tmp_path / "file" / "state.sqlite"
    ground.refused(
        *("backup", "create", "good"),
        says=str(database),
        config=ground.site.config(state__connection=f"sqlite:///{database}"),
    )


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"wait__interval": "soon"}, "Configuration: .*interval"),
        ({"backup__parallel": "0"}, "Configuration: .*parallel"),
    ],
    ids=str,
)
def test_an_option_is_wrong(ground: Ground, overrides: dict[str, str], says: str) -> None:
    config = ground.site.config(**overrides)
    ground.refused("backup", "create", "good", says=says, config=config)


def test_the_configuration_file_is_missing(ground: Ground, tmp_path: Path) -> None:
    ground.refused(
        *("backup", "create", "good"),
        says=f"Configuration: .*{tmp_path / 'volflow.conf'}",
        config=tmp_path / "volflow.conf",
    )


# Restores


def test_no_such_backup(ground: Ground) -> None:
    says = "No backup, and no volume with a backup, has the id or name 'nothing'.*backup list"
    ground.refused("restore", "create", "--yes", "nothing", says=says)


def test_an_attached_target(ground: Ground) -> None:
    with ground.site.cloud.attached(ground.volume):
        says = f"{ground.volume}.* is attached: .*Detach it first, restore .*--new"
        ground.refused("restore", "create", "--yes", ground.backup, says=says)


def test_a_target_that_is_too_small(ground: Ground) -> None:
    large = ground.site.cloud.create(2, name="large")
    ground.site.cloud.format(large, "xfs")
    backup = ground.site.backup(large).volumes[0].backup_id
    small = ground.site.cloud.create(1, name="small")
    says = f"{small}.* has 1 GiB, but the backup needs 2 GiB: extend it first"
    ground.refused("restore", "create", "--yes", "--into", "small", backup, says=says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--new", "--type-map", "lba=lab"], "--type-map lba=.*none .* has 'lba'; .*: lab"),
        (["--new", "--az-map", "nvoa=nova"], "--az-map nvoa=.*none .* has 'nvoa'; .*: nova"),
        (["--into", "good", "--remove-old-vol"], "--into creates no new volume"),
        (
            ["--remove-old-vol"],
            "all of these are restored in place. Use --new to create new volumes",
        ),
    ],
    ids=["type-map", "az-map", "into", "in place"],
)
def test_an_option_without_effect(ground: Ground, options: list[str], says: str) -> None:
    ground.refused(*("restore", "create", "--yes", *options, ground.backup), says=says, status=2)


def test_an_empty_name_by_the_library(ground: Ground) -> None:
    """It is as good as none on the command line of a shell, and must not be here."""
    from volflow.errors import UsageError
    from volflow.results.options import RestoreOptions

    with ground.site.volflow() as volflow:
        with pytest.raises(UsageError, match="empty name"):
            volflow.restores.plan([ground.backup], RestoreOptions(into=""))
        for plan in (volflow.restores.plan, lambda what: volflow.backups.create(what)):
            with pytest.raises(UsageError, match="empty name"):
                plan([""])


def test_a_busy_target(ground: Ground) -> None:
    ground.site.cloud.client.volumes.reset_state(ground.volume, "maintenance")
    try:
        says = "is 'maintenance'; it must be 'available'"
        ground.refused("restore", "create", "--yes", ground.backup, says=says)
    finally:
        ground.site.cloud.client.volumes.reset_state(ground.volume, "available")


def test_a_target_that_another_run_restores_into(ground: Ground) -> None:
    client = ground.site.cloud.client
    client.volumes.set_metadata(ground.volume, {"volflow": "another-run/volume/claim"})
    try:
        done = ground.site.cli("restore", "create", "--yes", ground.backup)
        assert done.returncode == 1, done
        assert "is being restored by another run of volflow" in done.stderr
        assert ground.site.cloud.show(ground.volume)["metadata"] == {
            "volflow": "another-run/volume/claim"
        }
    finally:
        client.volumes.delete_metadata(ground.volume, ["volflow"])


def test_nobody_agrees_to_an_overwrite(ground: Ground) -> None:
    before = ground.made()
    done = ground.site.cli("restore", "create", ground.backup)
    assert done.returncode == 2, done
    told = done.stderr.strip().splitlines()
    assert f"Volume {ground.volume} will be overwritten" in told[0]
    assert "--yes" in told[1]
    assert ground.made() == before


# The command line


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "create"],
        ["backup", "create", "--parallel", "0", "good"],
        ["restore", "create", "--new", "--into", "good", "good"],
        # As where a variable of a script is not set: nothing else may take its place.
        ["restore", "create", "--yes", "--into", "", "good"],
        ["restore", "create", "--yes", ""],
        ["restore", "create", "--new", "--type-map", "lab=", "good"],
        ["restore", "create", "--yes", "--group", "", "good"],
        ["backup", "create", ""],
        ["backup", "create", "good", ""],
        ["backup", "create", "--all", "--name", ""],
        ["backup", "create", "--all", "--exclude", ""],
        ["backup", "list", "--volume", ""],
        ["--repository", "", "backup", "list"],
        ["--state-dir", "", "run", "list"],
        ["backup", "verify", "--percent", "5", "good"],
        ["run", "resume"],
        ["backup", "make"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line(ground: Ground, arguments: list[str]) -> None:
    before = ground.made()
    done = ground.site.cli(*arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert ground.made() == before


def test_no_such_run(ground: Ground) -> None:
    ground.refused("run", "resume", "nothing", says="nothing")


# What only shows when the volume is attached: refused, and undone


def _mbr(device: str) -> None:
    """A partition table with one Linux partition."""
    entry = struct.pack("<BBBBBBBBII", 0x80, 0, 2, 0, 0x83, 0, 0, 0, 2048, 1_000_000)
    _write(device, 446, entry)
    _write(device, 510, b"\x55\xaa")


def _luks(device: str) -> None:
    """The header of LUKS1, as far as it tells what it is."""
    text = b"LUKS\xba\xbe" + struct.pack(">H", 1)
    text += b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")
    _write(device, 0, text)
    _write(device, 168, b"cafe0000-0000-4000-8000-000000000001".ljust(40, b"\0"))


def _write(device: str, offset: int, data: bytes) -> None:
    with open(device, "r+b") as file:
        file.seek(offset)
        file.write(data)


DISKS = {
    "empty": (lambda device: None, "holds no file system that is known: is it formatted"),
    "swap": (lambda device: run("mkswap", device), "holds 'swap', which volflow cannot take"),
    "partitions": (_mbr, "holds a partition table .dos."),
    "luks": (_luks, "holds 'crypto_LUKS', which volflow cannot take"),
    "noise": (lambda device: _write(device, 0, os.urandom(65536)), "no file system that is known"),
    "ext3": (
        lambda device: run("mkfs.ext3", "-q", "-F", device),
        "holds 'ext3', which volflow cannot take; it takes ext4 and xfs",
    ),
}


@pytest.fixture(scope="module")
def odd_disks(ground: Ground) -> dict[str, Any]:
    """The result of one run over volumes with everything but a file system that is known."""
    volumes = {}
    for name, (make, _) in DISKS.items():
        volumes[name] = ground.site.cloud.create(name=f"disk {name}")
        with ground.site.cloud.attached(volumes[name]) as device:
            make(device)
    before = {name: ground.site.cloud.show(volume) for name, volume in volumes.items()}
    done = ground.site.cli("backup", "create", *volumes.values(), "good", "-f", "json")
    return {
        "done": done,
        "findings": [str(finding) for finding in ground.site.findings()],
        "results": {each["volume_id"]: each for each in json.loads(done.stdout)},
        "volumes": volumes,
        "before": before,
        "after": {name: ground.site.cloud.show(volume) for name, volume in volumes.items()},
    }


@pytest.mark.parametrize("disk", DISKS)
def test_a_disk_that_is_no_known_file_system(odd_disks: dict[str, Any], disk: str) -> None:
    result = odd_disks["results"][odd_disks["volumes"][disk]]
    assert result["outcome"] == "failed"
    assert re.search(DISKS[disk][1], result["error"]), result["error"]
    assert result["backup_id"] is None
    assert result["leftovers"] == []
    assert odd_disks["after"][disk] == odd_disks["before"][disk]


def test_odd_disks_harm_nobody(ground: Ground, odd_disks: dict[str, Any]) -> None:
    assert odd_disks["done"].returncode == 1
    assert "Traceback" not in odd_disks["done"].stderr
    assert odd_disks["findings"] == []
    assert odd_disks["results"][ground.volume]["outcome"] == "complete"
