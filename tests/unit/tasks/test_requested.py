"""A request without an answer: what Cinder makes for it later is removed too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import end, work_of
from volflow.cloud.ownership import UNANSWERED, temporary_name
from volflow.cloud.patience import Patience
from volflow.errors import UnavailableError
from volflow.runs import leftovers
from volflow.tasks.requested import Requested
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work


@pytest.fixture
def work(state: State, cloud: FakeClient) -> Work:
    """The volume of a run that repeats requests."""
    cinder = cloud.cinder(patience=Patience(60, pause=0.001))
    return replace(work_of(state, cloud, cloud.put()), cinder=cinder)


def make(work: Work, step: type[Requested]) -> str:
    """Execute a step after those before it; return the id of what it made."""
    snapshot = Snapshot(work).execute()
    if step is Snapshot:
        return str(snapshot["id"])
    source = work.cinder.volumes.get(work.volume_id)
    return TemporaryVolume(work).execute({"volume": source}, snapshot)


def fail_once(cloud: FakeClient, step: type[Requested]) -> None:
    """Let the next request for this resource fail, before Cinder has made anything."""
    failures = [True]
    call = "volumes.create" if step is TemporaryVolume else "volume_snapshots.create"
    cloud.fail(call, when=lambda *_, **__: bool(failures) and failures.pop())


def make_late(cloud: FakeClient, work: Work, step: type[Requested]) -> str:
    """Let Cinder carry out a request for this resource again, later than the other one."""
    name, tag = temporary_name(work.services.run_id), work.tag(step.kind)
    if step is Snapshot:
        return cloud.put(tag, volume_id=work.volume_id, name=name, created_at="2030-01-01T00:00:00")
    snapshot = next(iter(cloud.volume_snapshots))
    return cloud.put(tag, snapshot_id=snapshot, name=name, created_at="2030-01-01T00:00:00")


STEPS = pytest.mark.parametrize("step", [Snapshot, TemporaryVolume])


@STEPS
def test_what_cinder_makes_late_for_an_unanswered_request_is_removed(
    cloud: FakeClient, work: Work, step: type[Requested]
) -> None:
    fail_once(cloud, step)
    made, late = make(work, step), make_late(cloud, work, step)
    step(work).revert()
    here = {*cloud.volumes, *cloud.volume_snapshots}
    assert here.isdisjoint({made, late})


@STEPS
def test_without_such_a_request_a_later_one_is_an_imitation(
    cloud: FakeClient, work: Work, step: type[Requested]
) -> None:
    made, late = make(work, step), make_late(cloud, work, step)
    step(work).revert()
    here = {*cloud.volumes, *cloud.volume_snapshots}
    assert here & {made, late} == {late}


@STEPS
def test_a_resumed_step_that_was_killed_remembers_its_request(
    cloud: FakeClient, work: Work, step: type[Requested]
) -> None:
    if step is TemporaryVolume:
        make(work, Snapshot)
    step(work).intend()  # the process is killed before it has Cinder's answer
    made, late = make(work, step), make_late(cloud, work, step)
    step(work).revert()
    here = {*cloud.volumes, *cloud.volume_snapshots}
    assert here.isdisjoint({made, late})


def test_what_comes_after_the_end_of_the_run_is_a_lost_leftover(
    state: State, cloud: FakeClient, work: Work
) -> None:
    fail_once(cloud, Snapshot)
    make(work, Snapshot)
    Snapshot(work).revert()
    end(state, work)
    late = make_late(cloud, work, Snapshot)
    (found,) = leftovers.lost(state, work.cinder)
    assert (found.resource_id, found.ended, found.foreign) == (late, True, None)


def test_a_resume_keeps_what_the_ledger_knows_of_a_request(work: Work) -> None:
    step = Snapshot(work)
    step.intend()
    step.unanswered()
    step.present("one", volume_id=work.volume_id)
    step.intend(volume_id=work.volume_id)
    entry = work.services.ledger.find(step.tag)
    assert entry is not None
    assert entry.details == {"volume_id": work.volume_id, UNANSWERED: True}


def test_an_outage_says_that_the_request_may_be_carried_out_later(
    cloud: FakeClient, work: Work
) -> None:
    cloud.fail("volume_snapshots.create")
    work.cinder = cloud.cinder()
    with pytest.raises(UnavailableError, match="'volflow leftover list --lost' lists"):
        Snapshot(work).execute()
