"""Any step that fails is undone, and a killed run can be resumed.

All cases of a flow run in parallel, in one run with a volume for each. That is faster, and it
shows that one volume's failure does not affect the others.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fault_matrix.image import ADDED, TEXT, change, digest
from tests.support import faults, tree
from tests.support.faults import Place
from tests.support.site import Site, new_site

pytestmark = pytest.mark.lab

FLOWS = ("backup", "restore to new", "restore in place")
# After this step's effect the volume's data is safe, and a later failure only concerns the
# cleanup.
COMMITTED = {"backup": "copy", "restore to new": "keep", "restore in place": "keep"}
CASES = [(flow, place) for flow in FLOWS for place in faults.places(flow)]


@dataclass
class Fleet:
    """Equal volumes, with a backup of each.

    :ivar backups: the id of the backup, by volume
    :ivar tree: the files in each
    :ivar properties: what Cinder showed of each volume at that time, by volume
    """

    site: Site
    volumes: list[str]
    tree: tree.Tree
    backups: dict[str, str] = field(default_factory=dict)
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)

    def image(self, volume: str) -> str:
        """A digest of every byte of a volume."""
        return digest(self._file(volume))

    def change(self, volumes: Iterable[str]) -> None:
        """Make volumes differ from their backups, in their content and their properties.

        So each volume shows whether it was restored, rolled back, or left unchanged.
        """
        client = self.site.cloud.client.volumes

        def one(volume: str) -> None:
            mark = secrets.token_hex(8)
            change(self._file(volume), mark)
            client.update(volume, description=f"changed: {mark}")
            client.set_metadata(volume, {"owner": mark, "since": mark})

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(one, volumes))

    def _file(self, volume: str) -> Path:
        pool = self.site.auditor.pool
        assert pool is not None
        return pool / f"volume-{volume}"

    def show(self, volume: str) -> dict[str, Any]:
        return {k: v for k, v in self.site.cloud.show(volume).items() if k != "updated_at"}

    def stored(self) -> dict[str, list[str]]:
        """The ids of the backups that restic lists, by volume."""
        found: dict[str, list[str]] = {}
        for snapshot in self.site.snapshots():
            found.setdefault(snapshot["hostname"], []).append(snapshot["id"])
        return found

    def restorable(self) -> None:
        """Make restic read every byte of every backup."""
        self.site.restic("check", "--read-data")


@dataclass
class Outcome:
    """The result of a run with a fault in each of its volumes."""

    results: dict[Place, Any]
    volumes: dict[Place, str]
    images: dict[str, str]
    shown: dict[str, dict[str, Any]]
    stored: dict[str, list[str]]
    findings: list[Any]
    happened: list[Any]


@pytest.fixture(scope="module")
def fleet(scratch: Path, the_lab: Any, api: Any) -> Iterator[Fleet]:
    with new_site(scratch, the_lab, api) as site:
        template = site.cloud.create(name="template")

        def fill(root: Path) -> None:
            for number in range(20):
                (root / f"{number:02}").write_text(f"{number}\n" * 100)
            (root / TEXT).write_text("as it was\n")
            (root / "sparse").write_bytes(b"x")
            os.truncate(root / "sparse", tree.MIB)

        site.cloud.fill(template, "ext4", fill)
        described = site.cloud.on(template, tree.describe, read_only=True)
        most = max(len(faults.places(flow)) for flow in FLOWS)
        names = [f"fleet {number:02}" for number in range(most)]
        volumes = site.cloud.clones(template, names)
        for volume in volumes:
            site.cloud.client.volumes.update(volume, description="as it was")
        result = site.backup(*volumes, parallel=6)
        assert str(result.outcome) == "complete", result
        backups = {volume.volume_id: volume.backup_id for volume in result.volumes}
        found = Fleet(site, volumes, described, backups)
        found.properties = {volume: found.show(volume) for volume in volumes}
        yield found


@pytest.fixture(scope="module")
def outcomes(fleet: Fleet) -> dict[str, Outcome | BaseException]:
    return {}


def _failed(fleet: Fleet, flow: str) -> Outcome:
    """Run a flow for as many volumes as it has places, and fail each at a different place."""
    places = faults.places(flow)
    volumes = dict(zip(places, fleet.volumes, strict=False))
    fleet.change(volumes.values())
    images = {volume: fleet.image(volume) for volume in volumes.values()}
    shown = {volume: fleet.show(volume) for volume in volumes.values()}
    by_volume = {volume: place for place, volume in volumes.items()}
    with faults.injected(by_volume, faults.raised) as happened:
        if flow == "backup":
            result = fleet.site.backup(*volumes.values(), parallel=6)
        else:
            backups = [fleet.backups[volume] for volume in volumes.values()]
            result = fleet.site.restore(*backups, parallel=6, **faults.OPTIONS[flow])
    assert str(result.outcome) == "failed"
    return Outcome(
        results={by_volume[volume.volume_id]: volume for volume in result.volumes},
        volumes=volumes,
        images=images,
        shown=shown,
        stored=fleet.stored(),
        findings=fleet.site.findings(),
        happened=happened,
    )


@pytest.fixture
def outcome(
    request: pytest.FixtureRequest, fleet: Fleet, outcomes: dict[str, Outcome | BaseException]
) -> Outcome:
    flow = request.node.callspec.params["flow"]
    if flow not in outcomes:
        try:
            outcomes[flow] = _failed(fleet, flow)
        except Exception as error:  # noqa: BLE001 - once is enough: each test raises it
            outcomes[flow] = error
    found = outcomes[flow]
    if isinstance(found, BaseException):
        raise found
    return found


@pytest.mark.parametrize(("flow", "place"), CASES, ids=str)
def test_a_failing_step_is_undone(fleet: Fleet, outcome: Outcome, flow: str, place: Place) -> None:
    volume, result = outcome.volumes[place], outcome.results[place]
    assert (volume, place) in outcome.happened
    places = faults.places(flow)
    committed = places.index(place) >= places.index(Place(COMMITTED[flow], "after"))
    # A stored backup or a complete volume counts, even if a later step fails.
    assert str(result.outcome) == ("complete" if committed else "failed")
    assert result.error == f"injected {place}"
    assert result.leftovers == ()
    assert [str(found) for found in outcome.findings if volume in str(found)] == []
    back = flow == "restore in place" and committed
    assert fleet.show(volume) == (fleet.properties if back else outcome.shown)[volume]

    if flow == "restore to new":
        assert (result.target_id is not None) == committed
        if committed:
            now = fleet.site.cloud.on(result.target_id, tree.describe, read_only=True)
            tree.assert_same(fleet.tree, now)
    stored = outcome.stored[volume]
    assert any(one.startswith(fleet.backups[volume]) for one in stored)
    if flow == "backup":
        assert len(stored) == 1 + committed
    if back:
        assert fleet.image(volume) != outcome.images[volume]
        now = fleet.site.cloud.on(volume, tree.describe, read_only=True)
        tree.assert_same(fleet.tree, now)
    else:
        assert fleet.image(volume) == outcome.images[volume]


@pytest.mark.parametrize("flow", FLOWS)
def test_nothing_is_left_of_all_failures(outcome: Outcome, flow: str) -> None:
    assert [str(finding) for finding in outcome.findings] == []


@dataclass
class Resumed:
    """The result of a run that was killed, and resumed by another process.

    :ivar done: the process that resumed it
    """

    done: subprocess.CompletedProcess[str]
    results: dict[str, dict[str, Any]]
    volumes: dict[Place, str]
    stored: dict[str, list[str]]
    shown: dict[str, dict[str, Any]]
    findings: list[str]
    trees: dict[str, tree.Tree]


@pytest.fixture(scope="module")
def resumes(fleet: Fleet) -> dict[str, Resumed | BaseException]:
    return {}


@pytest.fixture
def resumed(
    request: pytest.FixtureRequest, fleet: Fleet, resumes: dict[str, Resumed | BaseException]
) -> Resumed:
    flow = request.node.callspec.params["flow"]
    if flow not in resumes:
        try:
            resumes[flow] = _killed_and_resumed(fleet, flow)
        except Exception as error:  # noqa: BLE001 - once is enough: each test raises it
            resumes[flow] = error
    found = resumes[flow]
    if isinstance(found, BaseException):
        raise found
    return found


def _killed_and_resumed(fleet: Fleet, flow: str) -> Resumed:
    """Kill a run with each volume at a different place, and resume it with the command line."""
    site, places = fleet.site, faults.places(flow)
    volumes = dict(zip(places, fleet.volumes, strict=False))
    fleet.change(volumes.values())
    shown = {volume: fleet.show(volume) for volume in volumes.values()}
    order = {
        "flow": flow,
        "places": {volume: [place.step, place.when] for place, volume in volumes.items()},
        "backups": [fleet.backups[volume] for volume in volumes.values()],
    }
    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_run", str(site.config()), json.dumps(order)],
        env=site.environment,
        capture_output=True,
        encoding="utf-8",
        timeout=400,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    with closing(sqlite3.connect(site.state / "state.sqlite")) as database:
        [(run_id,)] = database.execute("SELECT id FROM run WHERE state = 'RUNNING'").fetchall()
    done = site.cli("run", "resume", run_id, "-f", "json")
    assert done.stdout, done.stderr[-2000:]
    results = {each["volume_id"]: each for each in json.loads(done.stdout)}
    targets = {volume: results[volume]["target_id"] for volume in volumes.values()}
    for target in filter(None, targets.values()):
        site.cloud.adopt(target)
    with ThreadPoolExecutor(4) as threads:

        def look(volume: str | None) -> tree.Tree:
            return site.cloud.on(volume, tree.describe, read_only=True) if volume else {}

        trees = {}
        if flow != "backup":
            trees = dict(zip(targets, threads.map(look, targets.values()), strict=True))
    return Resumed(
        done=done,
        results=results,
        volumes=volumes,
        stored=fleet.stored(),
        shown=shown,
        findings=[str(finding) for finding in site.findings()],
        trees=trees,
    )


@pytest.mark.parametrize(("flow", "place"), CASES, ids=str)
def test_a_killed_run_is_resumed(fleet: Fleet, resumed: Resumed, flow: str, place: Place) -> None:
    volume = resumed.volumes[place]
    result = resumed.results[volume]
    assert result["outcome"] == "complete", result["error"]
    assert result["leftovers"] == []
    assert [found for found in resumed.findings if volume in found] == []
    back = flow == "restore in place"
    assert fleet.show(volume) == (fleet.properties if back else resumed.shown)[volume]
    if flow == "backup":
        assert any(one.startswith(result["backup_id"]) for one in resumed.stored[volume])
        listed = fleet.site.restic("diff", fleet.backups[volume], result["backup_id"])
        changed = [line for line in listed.splitlines() if line[:1] in "+-MTU" and "/" in line]
        files = [f"/regions/0/{name}" for name in (ADDED, TEXT)]
        assert [line.split()[-1] for line in changed] == ["/attributes/0", "/manifest.json", *files]
    else:
        assert (result["target_id"] == volume) == (flow == "restore in place")
        tree.assert_same(fleet.tree, resumed.trees[volume])


@pytest.mark.parametrize("flow", FLOWS)
def test_nothing_is_left_of_a_killed_run(resumed: Resumed, flow: str) -> None:
    assert resumed.done.returncode == 0, resumed.done.stderr[-2000:]
    assert "Traceback" not in resumed.done.stderr
    assert resumed.findings == []


def test_every_earlier_backup_is_whole(fleet: Fleet, outcomes: dict[str, Any]) -> None:
    assert outcomes, "the other tests come first"
    fleet.restorable()
    stored = fleet.stored()
    for volume, backup in fleet.backups.items():
        assert any(one.startswith(backup) for one in stored[volume])
