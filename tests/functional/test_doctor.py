"""The findings of the doctor on a good host, and on a host with problems."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.lab

CHECKS = (
    *("privilege", "programs", "file systems", "guests", "os-brick", "restic", "repository"),
    *("state", "cloud", "quota"),
)


def _examined(site: Site, status: int, **more: Any) -> dict[str, dict[str, str]]:
    """The findings, by check."""
    done = site.cli("doctor", "-f", "json", **more)
    assert done.returncode == status, done
    found = {row["Check"]: row for row in json.loads(done.stdout)}
    assert tuple(found) == CHECKS
    return found


def _bad(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {check: row["Finding"] for check, row in found.items() if row["Good"] != "yes"}


def test_a_good_host_passes_every_check(shared_site: Site) -> None:
    found = _examined(shared_site, 0)
    assert _bad(found) == {}
    assert found["repository"]["Finding"] == f"{shared_site.repository} holds 0 backups"
    assert re.fullmatch(r"version \d+\.\d+\.\d+", found["restic"]["Finding"])
    assert re.match(r"can create ext4( without .*)? and xfs", found["file systems"]["Finding"])
    assert re.fullmatch(r"Cinder API 3\.\d+, project \w+", found["cloud"]["Finding"])


@pytest.mark.parametrize(
    ("overrides", "environment", "bad"),
    [
        (
            {"repository__restic": "/nowhere/restic"},
            {},
            {"restic": "restic is not installed", "repository": "restic is not installed"},
        ),
        (
            {"repository__location": "/nowhere"},
            {},
            {"repository": "There is no repository at /nowhere"},
        ),
        (
            {"state__connection": "sqlite:////dev/null/state.sqlite"},
            {},
            {"state": "state database .* is unavailable"},
        ),
        (
            {},
            {"OS_CLOUD": "elsewhere"},
            {"cloud": "No usable authentication", "quota": "No usable authentication"},
        ),
    ],
    ids=["restic", "repository", "state", "cloud"],
)
def test_the_doctor_names_what_is_missing(
    shared_site: Site,
    overrides: dict[str, str],
    environment: dict[str, str | None],
    bad: dict[str, str],
) -> None:
    """A check that fails does not prevent the other checks."""
    config = shared_site.config(**overrides)
    found = _bad(_examined(shared_site, 1, config=config, environment=environment))
    assert found.keys() == bad.keys()
    for check, says in bad.items():
        assert re.search(says, found[check]), found


def test_the_doctor_names_missing_privilege(shared_site: Site) -> None:
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    found = _bad(_examined(shared_site, 1, prefix=bare))
    assert "Not enough privilege" in found["privilege"]


def test_the_doctor_names_programs_that_are_not_installed(
    shared_site: Site, tmp_path: Path
) -> None:
    """Programs are found on the PATH and in Debian's directories for root's programs."""
    hide = 'mount -t tmpfs none /usr/sbin && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-ec", hide, "sh")
    found = _bad(_examined(shared_site, 1, prefix=prefix))
    assert re.search("missing: .*mkfs.xfs.*; install: .*xfsprogs", found["programs"])


@pytest.mark.parametrize(
    ("room", "says"),
    [
        ({"volumes": 0}, "is too small even .* left: 0 volumes"),
        ({"snapshots": 0}, "is too small even .* 0 snapshots"),
        ({"gigabytes": 1}, "is too small even .* 1 GiB"),
        ({"volumes_lab": 0}, "for volume type 'lab' is too small even .* 0 volumes"),
    ],
    ids=["volumes", "snapshots", "gigabytes", "type"],
)
def test_the_doctor_names_a_quota_that_is_used_up(
    shared_site: Site, room: dict[str, int], says: str
) -> None:
    with shared_site.quota_left(**room):
        found = _bad(_examined(shared_site, 1))
    assert found.keys() == {"quota"}
    assert re.search(says, found["quota"]), found
