"""A run is resumed, aborted and cleaned up in its own project, whoever is logged in."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.people import Person, Town

pytestmark = pytest.mark.lab


@dataclass
class Office:
    """Users who share a state database.

    :ivar state: its directory
    """

    town: Town
    state: Path
    alpha: Person
    beta: Person
    admin: Person

    def killed(self, person: Person, volume: str) -> str:
        """Kill a backup before its copy; return the id of the open run."""
        known = set(self.runs())
        order = {"flow": "backup", "places": {volume: ["copy", "before"]}}
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.support.killed_run",
                str(person.config()),
                json.dumps(order),
            ],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=300,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        (left,) = set(self.runs()) - known
        return left

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.state / "state.sqlite", timeout=30)) as base, base:
            return list(base.execute(text, values))

    def runs(self) -> dict[str, str]:
        """The state of each run."""
        if not (self.state / "state.sqlite").exists():
            return {}
        return dict(self.query("SELECT id, state FROM run"))

    def known(self, run: str) -> list[tuple[Any, ...]]:
        """Everything in the state database about a run."""
        return [
            *self.query("SELECT * FROM run WHERE id = ?", run),
            *self.query("SELECT * FROM ledger WHERE run_id = ? ORDER BY tag", run),
        ]

    def open(self, run: str) -> list[tuple[Any, ...]]:
        """The resources that the run has made and not removed."""
        return self.query("SELECT tag FROM ledger WHERE run_id = ? AND state != 'GONE'", run)


@pytest.fixture(scope="module")
def office(town: Town) -> Office:
    state = town.home / "one state for all"
    people = [town.person(each, DEFAULT__state_dir=state) for each in ("alpha", "beta", "admin")]
    found = Office(town, state, *people)
    for person in (found.alpha, found.beta):
        town.make_repository(person.project_id)
        for one in (person, found.admin):
            town.give_key(one, person.project_id)
    return found


def test_another_login_changes_nothing_where_it_has_no_role(office: Office) -> None:
    alpha, beta = office.alpha, office.beta
    mine = alpha.volume(lambda root: (root / "file").write_text("alpha's"), name="alpha's")
    theirs = beta.volume(name="beta's")
    left, other = office.killed(alpha, mine), office.killed(beta, theirs)
    known, there = office.known(left), office.town.everything()
    assert office.open(left)
    for verb in ("resume", "abort"):
        said = beta.refused("run", verb, left)
        assert f"volflow cannot work in project {alpha.project_id}" in said
        assert "needs a role" in said
    assert office.known(left) == known
    assert office.town.everything() == there

    # This does not affect other runs.
    done = beta.cli("run", "resume", "--all")
    assert done.returncode == 1, done
    assert f"Run {left} could not be resumed" in done.stderr
    assert office.runs()[other] == "COMPLETE"
    assert office.known(left) == known

    # A user with a role there can undo the run.
    with office.town.keystone.role("admin", "alpha"):
        done = office.admin.cli("run", "abort", left)
    assert done.returncode == 0, done
    assert office.open(left) == []
    assert office.town.everything() == {mine, theirs}


def test_what_is_left_over_is_removed_where_it_is(office: Office) -> None:
    alpha = office.alpha
    before = office.town.everything()
    left = office.killed(alpha, alpha.volume(name="left over"))
    # As if the run had ended before the removal.
    office.query("UPDATE run SET state = 'FAILED' WHERE id = ?", left)
    office.query("UPDATE ledger SET state = 'LEFTOVER' WHERE run_id = ? AND state != 'GONE'", left)
    known, there = office.known(left), office.town.everything()
    done = office.beta.cli("leftover", "clean")
    assert done.returncode == 1, done
    assert "cannot work in project" in " ".join(done.stdout.split())
    assert office.known(left) == known
    assert office.town.everything() == there
    with office.town.keystone.role("admin", "alpha"):
        done = office.admin.cli("leftover", "clean")
    assert done.returncode == 0, done
    assert office.open(left) == []
    assert len(office.town.everything() - before) == 1


def test_a_run_of_another_cloud_is_refused(office: Office) -> None:
    alpha = office.alpha
    left = office.killed(alpha, alpha.volume(name="elsewhere"))
    request = office.query("SELECT request FROM run WHERE id = ?", left)[0][0]
    login = json.loads(request)["login"]
    assert login["project_id"] == alpha.project_id
    other = request.replace(login["auth_url"], "http://elsewhere.example/identity")
    # With the same Cinder it would be the same cloud under a new URL.
    other = other.replace(login["endpoint"], "http://elsewhere.example/volume")
    office.query("UPDATE run SET request = ? WHERE id = ?", other, left)
    known = office.known(left)
    for verb in ("resume", "abort"):
        said = alpha.refused("run", verb, left)
        assert "works in the cloud http://elsewhere.example/identity" in said
        assert login["auth_url"] in said
    assert office.known(left) == known

    # A request as older releases recorded it, without the login.
    asked = {key: value for key, value in json.loads(request).items() if key != "login"}
    office.query("UPDATE run SET request = ? WHERE id = ?", json.dumps(asked), left)
    rows = alpha.rows("run", "resume", left)
    assert [row["outcome"] for row in rows] == ["complete"]
    assert office.open(left) == []
