"""The shortened fault matrix: each step with one fault, each fault at one place of each flow, and
each outage once lasting and once passing.

``tox -e faults`` runs the complete matrix.
"""

from __future__ import annotations

import sys

import pytest

from tests.fault_matrix.main import run
from tests.fault_matrix.outage_cases import MOODS, few_outages, of_outages, verb
from tests.support.fault_kinds import CallSite
from tests.support.outages import Mood, Outage
from tests.support.site import missing

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_no_fault_leaves_or_loses_anything(database: str) -> None:
    if why := missing():
        pytest.skip(why)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        # Shown at once with -s, and in the report of a failure.
        print(line, file=sys.stderr)

    status = run(short=True, postgresql=database == "postgresql", workers=3, say=say)
    assert lines[-1].endswith("cells, 0 leaks, 0 losses"), "\n".join(lines)
    assert status == 0


def test_the_short_matrix_has_each_outage_in_both_lengths() -> None:
    found = {case.fault for case in few_outages()}
    assert found == {Outage(mood, lasting) for mood in Mood for lasting in (True, False)}


def test_each_lasting_outage_meets_each_verb_and_each_place_an_outage() -> None:
    calls = ("GET /volumes/{id}", "POST /snapshots", "POST /volumes/{id}/action revert", "PUT /x")
    sites = [CallSite(call, step) for call in calls for step in ("first", "second", "third")]
    cases = of_outages("backup", sites, undoing=False)
    lasting = [case for case in cases if case.fault.lasting]
    assert {case.site for case in lasting} == set(sites)
    assert {(verb(case.where), case.fault.mood) for case in lasting} == {
        (verb(call), mood) for call in calls for mood in MOODS
    }
    assert {case.where for case in cases if not case.fault.lasting} == set(calls)
