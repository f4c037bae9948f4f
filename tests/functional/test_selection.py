"""The volumes that a run covers or leaves out and why, and what is refused before it begins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.site import Site, new_site

pytestmark = pytest.mark.lab

NAMES = ("web-1", "web-2", "db", "scratch")


@pytest.fixture(scope="module")
def shop(scratch: Any, the_lab: Any, api: Any) -> Iterator[tuple[Site, dict[str, str]]]:
    """Four volumes: two of a kind, one with metadata, one of another type."""
    with new_site(scratch, the_lab, api) as site:
        volumes = {
            "web-1": site.cloud.create(name="web-1", metadata={"tier": "front", "zone": "a"}),
            "web-2": site.cloud.create(name="web-2", metadata={"tier": "front"}),
            "db": site.cloud.create(name="db", metadata={"tier": "back"}),
            "scratch": site.cloud.create(name="scratch", volume_type="lab-multiattach"),
        }
        for volume in volumes.values():
            site.cloud.format(volume, "ext4")
        yield site, volumes


def _dry(site: Site, verb: str, *arguments: str) -> tuple[set[str], str]:
    """The volumes that a dry run would cover, by name, and what it says about the others."""
    done = site.cli(verb, "create", *arguments, "--dry-run", "-f", "json")
    assert done.returncode == 0, done
    return {row["Name"] for row in json.loads(done.stdout)}, done.stderr


FILTERS: list[tuple[tuple[str, ...], set[str], dict[str, str]]] = [
    (
        ("--name", "web-*"),
        {"web-1", "web-2"},
        {"db": "its name does not match 'web-*'", "scratch": "its name does not match 'web-*'"},
    ),
    (
        ("--metadata", "tier=front", "--metadata", "zone=a"),
        {"web-1"},
        {
            "web-2": "its metadata does not have zone=a",
            "db": "its metadata does not have tier=front",
            "scratch": "its metadata does not have tier=front",
        },
    ),
    (
        ("--type", "lab-multiattach"),
        {"scratch"},
        dict.fromkeys(("web-1", "web-2", "db"), "its type is 'lab'"),
    ),
    (
        ("--exclude", "db", "--exclude", "scratch"),
        {"web-1", "web-2"},
        {"db": "is excluded", "scratch": "is excluded"},
    ),
]


@pytest.mark.parametrize(
    ("filters", "wanted", "left_out"), FILTERS, ids=["name", "metadata", "type", "exclude"]
)
def test_filters_choose_volumes_and_give_reasons(
    shop: tuple[Site, dict[str, str]],
    filters: tuple[str, ...],
    wanted: set[str],
    left_out: dict[str, str],
) -> None:
    """Backup and restore use the same filters, and give a reason for each volume left out."""
    site, _ = shop
    if not site.repository.joinpath("snapshots").exists() or not list(
        site.repository.joinpath("snapshots").iterdir()
    ):
        assert site.cli("backup", "create", "--all").returncode == 0
    for verb in ("backup", "restore"):
        found, said = _dry(site, verb, "--all", *filters)
        assert found == wanted
        for name, why in left_out.items():
            assert f"{name}: left out, {why}" in said
        assert said.count("left out") == len(left_out)


def test_what_filters_leave_out_stands_in_the_result(
    shop: tuple[Site, dict[str, str]],
) -> None:
    """Volumes that the filters leave out do not change the outcome."""
    site, volumes = shop
    for verb in (("backup",), ("restore", "--yes")):
        done = site.cli(verb[0], "create", "--all", "--name", "db", *verb[1:], "-f", "json")
        assert done.returncode == 0, done
        rows = {row["name"]: row for row in json.loads(done.stdout)}
        assert rows["db"]["outcome"] == "complete"
        others = {name: rows[name]["outcome"] for name in NAMES if name != "db"}
        assert set(others.values()) == {"left out"}
        assert rows["web-1"]["volume_id"] == volumes["web-1"]


def test_filters_that_leave_nothing_are_reported(shop: tuple[Site, dict[str, str]]) -> None:
    site, _ = shop
    for verb in ("backup", "restore"):
        done = site.cli(verb, "create", "--all", "--name", "nobody-*")
        assert done.returncode == 2, done
        assert "No volume matches --name 'nobody-*'" in done.stderr


def test_a_volume_in_error_makes_the_run_partial(shop: tuple[Site, dict[str, str]]) -> None:
    """The volume should have been covered: the run is partial, the others are complete."""
    site, volumes = shop
    site.cloud.client.volumes.reset_state(volumes["web-2"], "error")
    try:
        done = site.cli("backup", "create", "--all", "-f", "json")
        assert done.returncode == 3, done
        rows = {row["name"]: row for row in json.loads(done.stdout)}
        assert rows["web-2"]["outcome"] == "left out"
        assert rows["web-2"]["error"] == "is in state 'error'"
        assert {rows[n]["outcome"] for n in NAMES if n != "web-2"} == {"complete"}
        # A volume that is named is refused.
        done = site.cli("backup", "create", "web-1", "web-2")
        assert done.returncode == 1
        assert "is 'error'" in done.stderr
    finally:
        site.cloud.client.volumes.reset_state(volumes["web-2"], "available")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--all", "db"),
        ("--group", "x", "db"),
        ("db", "--name", "d*"),
        ("db", "db"),
    ],
)
def test_contradicting_filters_are_refused(
    shop: tuple[Site, dict[str, str]], arguments: tuple[str, ...]
) -> None:
    site, _ = shop
    done = site.cli("backup", "create", *arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr


def test_a_quota_of_a_type_lets_fewer_go_side_by_side(shop: tuple[Site, dict[str, str]]) -> None:
    site, volumes = shop
    with site.quota_left(volumes_lab=2):
        found, said = _dry(site, "backup", "--all")
    assert found == volumes.keys()
    assert "4 volumes, 2 in parallel" in said
    assert "2 volumes in parallel instead of 10: the quota" in said


def test_a_used_up_quota_of_a_type_spares_other_types(shop: tuple[Site, dict[str, str]]) -> None:
    """Volumes of other types are backed up."""
    site, volumes = shop
    with site.quota_left(**{"volumes_lab-multiattach": 0}):
        found, said = _dry(site, "backup", "--all")
        done = site.cli("backup", "create", "scratch", "web-1")
    assert found == volumes.keys() - {"scratch"}
    assert "scratch: left out, The quota of project" in said
    assert "for volume type 'lab-multiattach' cannot hold" in said
    assert done.returncode == 1
    assert "for volume type 'lab-multiattach' cannot hold" in done.stderr


def test_a_dry_run_shows_the_quota_it_needs(shop: tuple[Site, dict[str, str]]) -> None:
    site, _ = shop
    with site.quota_left(volumes=2, snapshots=50):
        found, said = _dry(site, "backup", "--all", "--parallel", "3")
    assert found == set(NAMES)
    assert "4 volumes, 2 in parallel." in said
    assert "up to: 2 volumes of 2 left, 2 snapshots of 50 left, 4 GiB" in said
    steps = said[said.index("The steps of a volume: ") :].splitlines()[0]
    assert steps.endswith("remove snapshot.")
    assert "temporary volume, attachment, device, probe" in steps
    assert "GiB free." in said
    assert "changes of 4 volumes" in said
    found, said = _dry(site, "restore", "--all", "--new")
    assert found == set(NAMES)
    assert "4 volumes, 0 snapshots" not in said
    assert "This uses up to: 4 volumes" in said
    steps = said[said.index("The steps of a volume (new): ") :].splitlines()[0]
    assert "attachment, device, make file system, mount, copy" in steps
    assert [str(finding) for finding in site.findings()] == []


# Quotas


def test_a_quota_for_less_than_one_volume_is_refused(shop: tuple[Site, dict[str, str]]) -> None:
    site, _ = shop
    for room in ({"volumes": 0}, {"snapshots": 0}, {"gigabytes": 1}):
        with site.quota_left(**room):
            done = site.cli("backup", "create", "--all")
            assert done.returncode == 1, done
            assert "cannot hold the temporary snapshot and volume of even one" in done.stderr
            assert "Request more quota, or free some" in done.stderr
    with site.quota_left(volumes=3):
        done = site.cli("restore", "create", "--all", "--new", "--yes")
        assert done.returncode == 1, done
        assert "cannot hold 4 new volumes" in done.stderr
    with site.quota_left(snapshots=0):
        done = site.cli("restore", "create", "db", "--yes")
        assert done.returncode == 1, done
        assert "cannot hold what the restore needs" in done.stderr


def test_a_restore_too_is_slowed_down_by_the_quota(shop: tuple[Site, dict[str, str]]) -> None:
    site, _ = shop
    with site.quota_left(snapshots=2):
        _, said = _dry(site, "restore", "--all")
        assert "4 volumes, 2 in parallel." in said
        done = site.cli("restore", "create", "--all", "--yes", "-f", "json")
    assert done.returncode == 0, done
    assert {row["outcome"] for row in json.loads(done.stdout)} == {"complete"}
