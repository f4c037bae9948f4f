"""One clear message reports a repository, state directory or host that cannot work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cloud import in_a_namespace, run, this_host
from tests.support.ground import Ground
from tests.support.site import PASSWORD

pytestmark = pytest.mark.lab

# A shell that changes the mounts for its command only.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


# The repository


def _fake_restic(directory: Path, says: str) -> Path:
    program = directory / "restic"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return program


def test_a_missing_restic_is_reported(ground: Ground, tmp_path: Path) -> None:
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
def test_a_restic_that_is_too_old_is_refused(
    ground: Ground, tmp_path: Path, version: str, says: str
) -> None:
    config = ground.site.config(repository__restic=_fake_restic(tmp_path, version))
    ground.refused("backup", "create", "good", says=says, config=config)


def test_an_unset_repository_location_is_reported(ground: Ground) -> None:
    config = ground.site.config(repository__location=None)
    ground.refused("backup", "create", "good", says="No repository is configured", config=config)


def test_a_repository_that_does_not_exist_is_reported(ground: Ground, tmp_path: Path) -> None:
    config = ground.site.config(repository__location=tmp_path / "nowhere")
    says = f"There is no repository at {tmp_path / 'nowhere'}.*'volflow repository init'"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_a_relative_repository_path_is_refused(ground: Ground) -> None:
    config = ground.site.config(repository__location="some/where")
    ground.refused("backup", "create", "good", says="relative path", config=config)


def test_a_wrong_password_is_reported(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("another one\n")
    config = ground.site.config(repository__password_file=tmp_path / "password")
    says = f"The password is not that of the repository {ground.site.repository}"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_a_missing_password_file_is_reported(ground: Ground, tmp_path: Path) -> None:
    config = ground.site.config(repository__password_file=tmp_path / "password")
    says = f"password file {tmp_path / 'password'} .*does not exist"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_an_unset_password_is_reported(ground: Ground) -> None:
    config = ground.site.config(repository__password_file=None)
    says = "set either password_file or password_command"
    ground.refused("backup", "create", "good", says=says, config=config)


def test_a_read_only_repository_is_reported(ground: Ground) -> None:
    """The directory is mounted read-only, as only that stops root from writing."""
    place = str(ground.site.repository)
    ground.refused(
        *("backup", "create", "good"),
        says=f"The repository {place} cannot be written to",
        prefix=("unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", place),
    )


def test_a_repository_on_the_volume_itself_is_refused(ground: Ground) -> None:
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


def test_root_without_capabilities_is_refused(ground: Ground) -> None:
    """A host like a container that may neither mount nor attach."""
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    ground.refused(
        *("backup", "create", "good"),
        says="Not enough privilege to attach and mount volumes: run volflow as root",
        prefix=bare,
    )


def test_a_read_only_state_directory_is_reported(ground: Ground, tmp_path: Path) -> None:
    ground.refused(
        *("backup", "create", "good"),
        says=f"The state directory {tmp_path}.* is not writable.*state_dir in volflow.conf",
        config=ground.site.config(DEFAULT__state_dir=tmp_path / "state"),
        prefix=("unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", str(tmp_path)),
    )


def test_a_state_directory_that_is_a_file_is_reported(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory\n")
    ground.refused(
        *("backup", "create", "good"),
        says=f"The state directory {tmp_path}.* is not writable",
        config=ground.site.config(DEFAULT__state_dir=tmp_path / "state"),
    )


def test_an_unreachable_state_database_is_reported(ground: Ground, tmp_path: Path) -> None:
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
        ({"wait__interval": "soon"}, r"interval in \[wait\] of .*: 'soon' is not a number"),
        ({"backup__parallel": "0"}, r"parallel in \[backup\] of .*: it must be at least 1"),
    ],
    ids=str,
)
def test_a_wrong_value_of_an_option_is_refused(
    ground: Ground, overrides: dict[str, str], says: str
) -> None:
    config = ground.site.config(**overrides)
    ground.refused("backup", "create", "good", says=says, config=config)


def test_a_missing_configuration_file_is_reported(ground: Ground, tmp_path: Path) -> None:
    ground.refused(
        *("backup", "create", "good"),
        says=f"Configuration: .*{tmp_path / 'volflow.conf'}",
        config=tmp_path / "volflow.conf",
    )
