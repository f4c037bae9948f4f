"""How a run is asked to stop, and who has decided it."""

from __future__ import annotations

from volflow.stop import Stop


def test_a_run_is_held_only_if_a_person_suspended_it() -> None:
    stop = Stop()
    assert not stop.held
    stop.suspend()
    assert (stop.suspending, stop.held) == (True, False)
    stop.suspend(hold=True)
    assert (stop.suspending, stop.held) == (True, True)


def test_a_run_that_must_be_undone_is_not_held() -> None:
    stop = Stop()
    stop.suspend(hold=True)
    stop.abort()
    assert (stop.aborting, stop.held) == (True, False)


def test_a_run_that_lost_its_lease_is_not_held() -> None:
    stop = Stop()
    stop.suspend_run()
    assert (stop.suspending, stop.held) == (True, False)


def test_a_held_run_does_not_affect_whether_the_next_one_must_stop() -> None:
    stop = Stop()
    stop.suspend_run()
    stop.next_run()
    assert not stop.suspending
    stop.suspend(hold=True)
    stop.next_run()
    assert stop.suspending
    assert stop.event.is_set()
