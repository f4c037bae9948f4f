"""A run ends with an empty ledger, whatever was killed in between, or its result says what stays.

After each test the site is audited: Cinder, the host and the ledger.
"""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.support.command_line import CommandLine, said
from tests.support.controlled_runs import begin, hook, killed, open_runs, query
from tests.support.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

VERBS = ("backup", "restore")


def open_entries(site: Site) -> list[tuple[Any, ...]]:
    return query(site, "SELECT kind, state FROM ledger WHERE state != 'GONE'")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["attachment", "device", "mount"])
def test_an_abort_after_a_resume_was_killed_too_leaves_nothing(
    site: Site, volume: str, verb: str, step: str, when: str
) -> None:
    content = site.content(volume)
    left = killed(site, verb, volume, step="copy", when="after")
    died = begin(site, "resume", left, hooks=(hook(step, "kill", when=when),)).end()
    assert died.exit == -9, died
    done = site.cli("run", "abort", left)
    assert done.returncode == 0, done.stderr
    assert open_entries(site) == []
    assert site.content(volume) == content
    assert list(site.cloud.client.attachments.list()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_an_abort_after_a_resume_was_killed_at_its_start_leaves_nothing(
    site: Site, volume: str, verb: str
) -> None:
    left = killed(site, verb, volume, step="copy")
    # The steps have been reset, and none has run again.
    died = begin(site, "resume", left, hooks=(hook("attachment", "kill"),)).end()
    assert died.exit == -9, died
    query(site, "UPDATE atomdetails SET state = 'PENDING' WHERE state = 'RUNNING'")
    done = site.cli("run", "abort", left)
    assert done.returncode == 0, done.stderr
    assert open_entries(site) == []


KILLED_IN_SWEEP = """
import os, signal, sys
from volflow.runs import sweep
class Sweep(sweep.Sweep):
    def _remove(self, entry, **how):
        super()._remove(entry, **how)
        if entry.kind == "attachment":
            os.kill(os.getpid(), signal.SIGKILL)
sweep.Sweep = Sweep
from volflow.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("verb", ["resume", "abort"])
def test_a_kill_in_the_sweep_leaves_a_run_that_can_be_continued(
    site: Site, volume: str, verb: str
) -> None:
    left = killed(site, "backup", volume, step="copy")
    # As if no step had begun: nothing is reverted, and all of it is left to the sweep.
    query(site, "UPDATE run_item SET state = 'PENDING' WHERE run_id = ?", left)
    query(site, "UPDATE atomdetails SET state = 'PENDING', intention = 'EXECUTE'")
    program = ("-c", KILLED_IN_SWEEP)
    with CommandLine(site, "run", "abort", left, program=program) as process:
        assert process.wait() == -signal.SIGKILL, said(site).read_text()
    assert open_runs(site) == [left]
    kinds = {kind for kind, _ in open_entries(site)}
    assert kinds == {"snapshot", "volume"}
    done = site.cli("run", verb, left, "-f", "json")
    assert open_entries(site) == []
    assert open_runs(site) == []
    (found,) = json.loads(done.stdout)
    assert found["outcome"] == "failed"
