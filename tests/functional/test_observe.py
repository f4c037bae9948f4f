"""The reports of a run: result, page, drawing, hooks, metrics and logs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support import faults, prometheus
from tests.support.cloud import run
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = pytest.mark.lab

MIB = 1024**2
HOSTILE = '<img src=x onerror=alert(1)> "$(id)" \x1b[31m\u202ered'
SHOWN = r'<img src=x onerror=alert(1)> "$(id)" \x1b[31m\u202ered'
GROUP_TYPE = "observed"

HOOK = """#!/bin/sh
place=$(mktemp -d {}/told-XXXXXX)
env -0 > $place/environment
cat > $place/input
echo "a hook that fails for $VOLFLOW_EVENT"
exit 9
"""


def fill(root: Path) -> None:
    for number in range(4):
        (root / f"file {number}").write_bytes(os.urandom(MIB))


def damage(site: Site, volume: str) -> None:
    """Make one file unreadable: its first block is far beyond the end of the device."""
    with site.cloud.attached(volume) as device:
        run("debugfs", "-w", "-R", 'set_inode_field "/file 1" block[5] 999999999', device)
        run("debugfs", "-w", "-R", 'sif "/file 1" block[3] 0x00000000', device)


@contextmanager
def a_group(site: Site) -> Iterator[str]:
    """A volume group; its volumes are deleted with it."""
    client = site.cloud.client
    kinds = {kind.name: kind.id for kind in client.group_types.list()}
    kind = kinds.get(GROUP_TYPE) or client.group_types.create(GROUP_TYPE).id
    (volume_type,) = [each.id for each in client.volume_types.list() if each.name == "lab"]
    group = client.groups.create(kind, volume_type, "shop")
    until(lambda: client.groups.get(group.id).status == "available")
    try:
        yield str(group.id)
    finally:
        client.groups.delete(group.id, delete_volumes=True)
        until(lambda: group.id not in {each.id for each in client.groups.list()})
        left = {volume.id for volume in client.volumes.list()}
        site.cloud.known.volumes &= left


@dataclass
class Observed:
    """A run with every kind of result, and everything that it reported."""

    site: Site
    volumes: dict[str, str]
    group: str
    done: subprocess.CompletedProcess[str]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = {row["volume_id"]: row for row in json.loads(self.done.stdout)}

    def row(self, name: str) -> dict[str, Any]:
        return self.rows[self.volumes[name]]

    @property
    def run_id(self) -> str:
        return str(next(iter(self.rows.values()))["run_id"])

    @property
    def told(self) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """The variables and JSON that the hook received."""
        found = []
        for place in sorted(self.site.home.glob("told-*"), key=lambda p: p.stat().st_mtime_ns):
            pairs = (place / "environment").read_text().split("\0")
            variables = dict(pair.split("=", 1) for pair in pairs if pair.startswith("VOLFLOW_"))
            found.append((variables, json.loads((place / "input").read_text())))
        return found


@pytest.fixture(scope="module")
def observed(shared_site: Site) -> Iterator[Observed]:
    site, client = shared_site, shared_site.cloud.client
    with a_group(site) as group:
        volumes = {}
        for name in ("good", HOSTILE, "torn"):
            volumes[name] = site.cloud.create(name=name)
            site.cloud.fill(volumes[name], "ext4", fill)
        damage(site, volumes["torn"])
        for name in ("shop-a", "shop-b"):
            volumes[name] = site.cloud.create(name=name, group_id=group, volume_type="lab")
            site.cloud.fill(volumes[name], "xfs", fill)
        for name in ("raw", "broken", "scratch"):
            volumes[name] = site.cloud.create(name=name)
        client.volumes.reset_state(volumes["broken"], "error")
        hook = site.home / "hook"
        hook.write_text(HOOK.format(site.home))
        hook.chmod(0o700)
        site.overrides |= {
            "hooks__command": hook,
            "metrics__textfile": site.home / "volflow.prom",
            "DEFAULT__log_file": site.home / "volflow.log",
        }
        arguments = ("--all", "--exclude", "scratch", "--parallel", "3", "-f", "json")
        with site.cloud.attached(volumes["raw"]) as device:
            file = Path(Path(f"/sys/block/{Path(device).name}/loop/backing_file").read_text()[:-1])
        # Its storage has lost it, until the tests are over.
        away = file.rename(file.with_suffix(".away"))
        try:
            done = site.cli("backup", "create", *arguments)
            client.volumes.reset_state(volumes["broken"], "available")
            yield Observed(site, volumes, group, done)
        finally:
            away.rename(file)


# The result


def test_a_result_has_the_facts_of_each_volume(observed: Observed) -> None:
    assert observed.done.returncode == 1
    outcomes = {name: observed.row(name)["outcome"] for name in observed.volumes}
    assert outcomes == {
        "good": "complete",
        HOSTILE: "complete",
        "torn": "partial",
        "shop-a": "complete",
        "shop-b": "complete",
        "raw": "failed",
        "broken": "left out",
        "scratch": "left out",
    }
    good = observed.row("good")
    assert good["backup_id"] in observed.site.restic("snapshots", "--json")
    assert (good["files_new"], good["bytes_total"]) == (4, 4 * MIB)
    # Random data has no duplicates; reading it includes directories.
    assert 4 * MIB <= good["bytes_stored"] < 5 * MIB
    assert 4 * MIB <= good["bytes_read"] < 8 * MIB
    assert good["error"] is None
    assert observed.row("torn")["unread"] == ["/file 1"]
    assert "Snapshot" in observed.row("raw")["error"]
    assert "error" in observed.row("broken")["error"]
    assert "is excluded" in observed.row("scratch")["error"]


def test_a_result_has_the_time_of_each_step(observed: Observed) -> None:
    good = observed.row("good")
    assert [step["name"] for step in good["steps"]] == faults.steps("backup")
    assert {step["state"] for step in good["steps"]} == {"SUCCESS"}
    spans = [(step["started"], step["started"] + step["seconds"]) for step in good["steps"]]
    assert spans == sorted(spans)
    assert 0 < sum(step["seconds"] for step in good["steps"]) <= good["seconds"]
    raw = {(step["name"], step["state"]) for step in observed.row("raw")["steps"]}
    assert {("snapshot", "FAILURE"), ("snapshot", "REVERTED")} <= raw
    # The volumes of a group share one step, and each shows it.
    shared = [
        [step for step in observed.row(name)["steps"] if step["shared"]]
        for name in ("shop-a", "shop-b")
    ]
    assert shared[0] == shared[1]
    assert [step["name"] for step in shared[0]] == ["group snapshot"]


def test_the_table_shows_each_volume(observed: Observed) -> None:
    """The watcher prints the table of the ended run, and remarks that do not fit into it."""
    done = observed.site.cli("run", "watch", observed.run_id)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert SHOWN in done.stdout
    raw = next(line for line in done.stdout.splitlines() if " raw " in line)
    # Without a backup the volume has no figures.
    assert [cell.strip() for cell in raw.split("|")][3:-2] == ["failed", *["-"] * 5]
    told = done.stderr.splitlines()
    assert f"group {observed.group}: its volumes were snapshotted one by one" in told
    assert "broken: left out, is in state 'error'" in told
    assert "torn: could not be read: /file 1" in told
    assert any(line.startswith("raw: failed at 'snapshot': ") for line in told)
    # Past steps are not printed as news.
    assert not [line for line in told if re.match(r"\d\d:\d\d:\d\d", line)]


def test_other_formats_hold_the_same_result(observed: Observed) -> None:
    def shown(*arguments: str) -> str:
        return observed.site.cli("run", "watch", observed.run_id, *arguments).stdout

    # cliff doubles a backslash.
    rows = list(csv.DictReader(io.StringIO(shown("-f", "csv")), escapechar="\\"))
    assert len(rows) == len(observed.volumes)
    hostile = next(row for row in rows if row["volume_id"] == observed.volumes[HOSTILE])
    assert hostile["name"] == SHOWN
    assert json.loads(hostile["steps"])[0]["name"] == faults.steps("backup")[0]
    values = shown("-f", "value", "-c", "name").splitlines()
    assert SHOWN in values
    assert len(values) == len(observed.volumes)


@pytest.mark.parametrize(
    ("what", "status"), [("good", 0), ("torn", 3), ("raw", 1), ("nowhere", 1), ("--all", 2)]
)
def test_the_exit_status_follows_the_outcome(what: str, status: int, observed: Observed) -> None:
    more = ["--group", "x"] if what == "--all" else []
    done = observed.site.cli("--quiet", "backup", "create", what, *more)
    assert done.returncode == status, done


def test_run_show_prints_a_finished_run(observed: Observed) -> None:
    done = observed.site.cli("run", "show", observed.run_id)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    for text in (
        "its volumes were snapshotted one by one",
        f"broken ({observed.volumes['broken']}): is in state 'error'",
        f"torn ({observed.volumes['torn']}): partial, backup ",
        "1 file could not be read",
        f"{SHOWN} ({observed.volumes[HOSTILE]}): complete",
    ):
        assert text in done.stdout, text
    full = json.loads(observed.site.cli("run", "show", observed.run_id, "-f", "json").stdout)
    (members,) = full["request"]["groups"].values()
    assert sorted(members) == sorted(observed.volumes[name] for name in ("shop-a", "shop-b"))


def test_run_show_prints_variables_for_a_shell(observed: Observed) -> None:
    """A name that a tenant chose is never run as a command."""
    printed = observed.site.cli("run", "show", observed.run_id, "-f", "shell").stdout
    script = f'{printed}\nprintf %s "$volumes"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert done.stderr == ""
    assert "$(id)" in done.stdout
    assert "uid=" not in done.stdout


# Pages and drawings


def test_the_page_shows_the_run(observed: Observed) -> None:
    file = observed.site.home / "run.html"
    done = observed.site.cli("run", "show", observed.run_id, "--html", str(file))
    assert (done.returncode, done.stderr) == (0, f"{file} is written.\n")
    text = file.read_text()
    for part in (
        "Backup of 6 volumes",
        "To look at",
        "Timeline",
        "Where the time went",
        "Left out",
    ):
        assert part in text, part
    assert "could not be read: /file 1" in text
    assert "failed at &#x27;snapshot&#x27;" in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img" not in text
    # The timeline has a bar for each step of each volume, except steps that took no time.
    steps = sum(len(row["steps"] or ()) for row in observed.rows.values())
    assert text.count('class="bar ') == steps


def test_the_page_goes_to_the_standard_output_too(observed: Observed) -> None:
    done = observed.site.cli(
        "run", "show", observed.run_id, "--html", "-", "-f", "value", "-c", "id"
    )
    assert done.stdout.startswith("<!DOCTYPE html>")


def test_a_page_that_cannot_be_written_is_reported(observed: Observed) -> None:
    file = observed.site.password_file / "run.html"
    done = observed.site.cli("run", "show", observed.run_id, "--html", str(file))
    assert done.returncode == 1
    assert done.stderr == f"{file} could not be written: Not a directory.\n"


def test_the_drawing_shows_every_step(observed: Observed) -> None:
    done = observed.site.cli("run", "graph", observed.run_id)
    drawn = ElementTree.fromstring(done.stdout)
    told = [" ".join(part.itertext()) for part in drawn.iter() if part.tag.endswith("text")]
    assert told.count("group snapshot") == 1
    steps = faults.steps("backup")
    assert told.count("copy") == 6
    # The failed volume's steps: undone before the snapshot, never done after it.
    before = steps.index("snapshot")
    assert told.count("↶ undone") == before
    assert told.count("✗ failed, undone") == 1
    assert told.count("\u2013 not done") == len(steps) - before - 1


def test_graphviz_accepts_the_graph(observed: Observed) -> None:
    text = observed.site.cli("run", "graph", observed.run_id, "--format", "dot").stdout
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert '"' not in bare
    shared = f'"{observed.group}:group snapshot"'
    first = f'"{observed.volumes["shop-a"]}:wait for others"'
    assert f"{shared} -> {first};" in text


# Hooks, metrics and logs


def test_the_hook_receives_the_result(observed: Observed) -> None:
    """Each call fails, and harms no run."""
    mine = [(v, given) for v, given in observed.told if v["VOLFLOW_RUN"] == observed.run_id]
    events = [variables["VOLFLOW_EVENT"] for variables, _ in mine]
    assert (events[0], events[-1]) == ("run.start", "run.failure")
    assert sorted(events[1:-1]) == sorted(
        ["volume.start"] * 6 + ["volume.end"] * 5 + ["volume.failure"]
    )
    (failed,) = [given for v, given in mine if v["VOLFLOW_EVENT"] == "volume.failure"]
    assert failed["volume_id"] == observed.volumes["raw"]
    assert failed["result"]["error"] == observed.row("raw")["error"]
    names = {
        given["volume_id"]: (v["VOLFLOW_VOLUME_NAME"], given["volume_name"])
        for v, given in mine
        if "volume_id" in given
    }
    assert names[observed.volumes[HOSTILE]] == (SHOWN, HOSTILE)
    whole = mine[-1][1]["result"]
    assert {one["volume_id"]: one["outcome"] for one in whole["volumes"]} == {
        key: row["outcome"] for key, row in observed.rows.items() if row["outcome"] != "left out"
    }


def test_a_failing_hook_is_reported(observed: Observed) -> None:
    text = (observed.site.home / "volflow.log").read_text()
    assert "The hook for run.start failed with status 9: a hook that fails for run.start" in text
    assert "The hook for volume.failure failed with status 9" in observed.done.stderr


def test_the_metrics_hold_the_result(observed: Observed) -> None:
    found = prometheus.values(observed.site.home / "volflow.prom")
    row = observed.row("good")
    labels = {"volume_id": observed.volumes["good"], "volume_name": "good"}
    assert found("backup_size_bytes", **labels) == row["bytes_total"]
    assert time.time() - found("backup_last_success_timestamp_seconds", **labels) < 3600
    assert found("backup_out_of_date", **labels) == 0
    raw = {"volume_id": observed.volumes["raw"]}
    assert found("backup_last_success_timestamp_seconds", **raw) == 0
    assert found("backup_out_of_date", **raw) == 1
    assert found("backup_last_outcome", outcome="failed", **raw) == 1
    torn = {"volume_id": observed.volumes["torn"]}
    assert found("backup_last_outcome", outcome="partial", **torn) == 1
    assert found("backup_unread_files", **torn) == 1
    assert found("leftovers") == 0
    assert found("backup_last_duration_seconds", volume_name=SHOWN) > 0
    assert [path.name for path in observed.site.home.glob("*.prom*")] == ["volflow.prom"]


def test_the_log_names_the_run(observed: Observed) -> None:
    lines = (observed.site.home / "volflow.log").read_text().splitlines()
    about = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+ \d+ [A-Z]+ [\w.]+ \[(\S+) (\S+)\] ")
    found = [about.match(line) for line in lines if not line.startswith("    ")]
    assert all(found)
    pairs = {match.groups() for match in found if match}
    for name in ("good", HOSTILE, "torn", "raw", "shop-a", "shop-b"):
        assert (observed.run_id, observed.volumes[name]) in pairs, name
    assert (observed.run_id, "-") in pairs
    assert "\x1b" not in "".join(lines)
