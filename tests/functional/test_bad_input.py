"""A backup that cannot work is refused with one clear message, before it changes the cloud.

Every case runs the real command line in a separate process.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ground import Ground

pytestmark = pytest.mark.lab


# The volume


def test_an_unknown_volume_is_refused(ground: Ground) -> None:
    says = "No volume has the id or name 'nothing'.*openstack volume list"
    ground.refused("backup", "create", "nothing", says=says)


def test_one_unknown_volume_refuses_the_whole_command(ground: Ground) -> None:
    ground.refused("backup", "create", "good", "nothing", says="No volume has the id or name")


def test_a_name_of_several_volumes_is_refused(ground: Ground) -> None:
    twins = sorted(ground.site.cloud.create(name="twin") for _ in range(2))
    says = f"2 volumes are named 'twin'; give an id: {twins[0]}, {twins[1]}"
    ground.refused("backup", "create", "twin", says=says, status=2)


def test_a_volume_that_is_named_twice_is_refused(ground: Ground) -> None:
    says = f"{ground.volume} is named more than once"
    ground.refused("backup", "create", "good", ground.volume, says=says, status=2)


@pytest.mark.parametrize("state", ["error", "creating", "uploading", "restoring-backup"])
def test_a_volume_in_a_wrong_state_is_refused(ground: Ground, state: str) -> None:
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


def test_missing_authentication_is_refused(ground: Ground, tmp_path: Path) -> None:
    nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("OS_")}
    homes = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    ground.refused(
        *("backup", "create", "good"),
        says="No usable authentication.*--os-cloud.*OS_AUTH_URL",
        environment=nothing | homes,
    )


def test_a_cloud_that_clouds_yaml_lacks_is_refused(ground: Ground) -> None:
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
        # The only cloud of the file is chosen, even if an option of volflow is set.
        (None, {"OS_CLOUD": None, "OS_HOST__MY_IP": "127.0.0.1"}, []),
    ],
    ids=["option", "environment", "configuration", "only one"],
)
def test_an_option_wins_over_configuration_and_environment(
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
    """A port on which nothing answers, and that no other program can get."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_unreachable_api_is_reported(ground: Ground, tmp_path: Path) -> None:
    with _closed_port() as port:
        told = ground.site.environment["OS_CLIENT_CONFIG_FILE"]
        text = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", Path(told).read_text())
        (tmp_path / "clouds.yaml").write_text(text)
        ground.refused(
            *("backup", "create", "good"),
            says="the API cannot be reached. Check the auth URL, the endpoint and the network",
            environment={
                "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml"),
                "OS_CLOUD__PATIENCE": "0",
            },
        )


def test_an_unreachable_keystone_is_reported(ground: Ground, tmp_path: Path) -> None:
    nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("OS_")}
    with _closed_port() as port:
        ground.refused(
            *("backup", "create", "good"),
            says="the API cannot be reached",
            environment={
                **nothing,
                "HOME": str(tmp_path),
                "OS_AUTH_URL": f"http://127.0.0.1:{port}/v3",
                "OS_CLOUD__PATIENCE": "0",
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
def test_a_quota_too_small_for_temporary_resources_is_reported(
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


def test_the_hook_hears_of_a_refused_run(ground: Ground, tmp_path: Path) -> None:
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
