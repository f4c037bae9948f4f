"""What crosses from a step into TaskFlow: an error of volflow, without a chain, and short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from taskflow import states
from taskflow.exceptions import WrappedFailure
from taskflow.patterns import graph_flow
from taskflow.persistence import models
from taskflow.types.failure import Failure

from persistence import NotFound, State, StateError
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow import logs
from volflow.errors import CloudError, SourceDeletedError, StoppedError, VolflowError
from volflow.flows.volume import volume_flow
from volflow.runs.engine import load
from volflow.runs.lease import RunLease
from volflow.tasks.base import Step
from volflow.tasks.work import Work

# Each exception adds as many again to what TaskFlow stores: 2 ** 30 would never end.
LENGTH = 30


class WordyError(VolflowError):
    """An error whose constructor wants more than a message."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"{what} {number}")


class NoMessageError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


def raise_chain(length: int = LENGTH) -> None:
    """Raise an exception at the end of a chain, as a library that tries again in ``except``."""
    try:
        if length:
            raise_chain(length - 1)
        raise OSError(111, "Connection refused")
    except Exception as error:
        if length % 2:
            raise ConnectionError(f"try {length}") from error
        raise TimeoutError(f"try {length}", object()) from error


class Behaving(Step):
    """A step that executes and reverts as a test wants it to."""

    step = "behaving"

    def __init__(self, work: Work, execute: Callable[[], Any], revert: Callable[[], Any]) -> None:
        super().__init__(work)
        self._execute, self._revert = execute, revert

    def execute(self) -> None:
        self._execute()

    def revert(self, *args: Any, **kwargs: Any) -> None:
        self._revert()


class Later(Behaving):
    """A step whose methods call those of its base class."""

    step = "later"

    def execute(self) -> None:
        super().execute()


def nothing() -> None:
    """Neither fails nor makes anything."""


def raises(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def work(state: State, cloud: FakeClient) -> Work:
    return work_of(state, cloud, "volume")


def crossed(work: Work, error: Exception) -> Exception:
    """The error that TaskFlow gets from a step that raises one."""
    with pytest.raises(Exception) as found:
        Behaving(work, raises(error), nothing).execute()
    assert found.value.__cause__ is None
    assert found.value.__context__ is None
    return found.value


def run(state: State, steps: list[Step]) -> dict[str, str]:
    """Run the steps of a volume in an engine, and return the stored states of its atoms."""
    detail, book = models.FlowDetail("flow", "flow-id"), models.LogBook("book", "book-id")
    book.add(detail)
    state.taskflow.get_connection().save_logbook(book)
    flow = graph_flow.Flow("flow").add(volume_flow(steps[0].work, "backup").add(*steps))
    hold = RunLease(state.leases, "run-id")
    engine = load(flow, detail, state, None, hold, lambda *_: None)
    with logs.about("run-id"), pytest.raises((VolflowError, WrappedFailure)):
        engine.run()
    stored = state.taskflow.get_connection().get_flow_details("flow-id")
    return {atom.name: atom.state for atom in stored}


def size(directory: Path) -> int:
    """The bytes of a state database, with its journal."""
    return sum(file.stat().st_size for file in directory.glob("state.sqlite*"))


@pytest.mark.parametrize("where", ["execute", "revert", "both"])
def test_a_long_chain_costs_no_more_than_one_error(
    state: State, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    calls, to_dict = [0], Failure.to_dict

    def counted(self: Failure, include_args: bool = True) -> Any:
        calls[0] += 1
        assert calls[0] < 50, "the failure is stored with its whole chain"
        return to_dict(self, include_args)

    monkeypatch.setattr(Failure, "to_dict", counted)
    broken = Behaving(
        work,
        raise_chain if where != "revert" else nothing,
        raise_chain if where != "execute" else nothing,
    )
    found = run(state, [broken, Later(work, raises(VolflowError("no")), nothing)])
    undone = states.REVERTED if where == "execute" else states.REVERT_FAILURE
    assert found["volume:behaving"] == undone
    assert size(tmp_path) < 1_000_000


def test_an_enormous_message_does_not_go_into_the_database(
    state: State, work: Work, tmp_path: Path
) -> None:
    message = "begin " + "x" * 20_000_000 + " end"
    run(state, [Behaving(work, raises(OSError(message)), raises(VolflowError(message)))])
    assert size(tmp_path) < 1_000_000
    text = str(crossed(work, VolflowError(message)))
    assert text.startswith("begin xxx")
    assert text.endswith("xxx end")
    assert "characters left out" in text
    assert len(text) < 5000


@pytest.mark.parametrize(
    "error", [StoppedError("stop"), SourceDeletedError("gone"), StateError("no database")]
)
def test_an_error_of_ours_keeps_its_class_and_message(work: Work, error: Exception) -> None:
    error.__cause__ = OSError("behind it")
    found = crossed(work, error)
    assert (type(found), str(found), found.args) == (type(error), str(error), (str(error),))
    assert Failure.from_exception(found).check(type(error))


@pytest.mark.parametrize("error", [WordyError("number", 7), NotFound("run", "abc")])
def test_an_error_with_a_constructor_of_its_own_keeps_class_and_message(
    work: Work, error: Exception
) -> None:
    found = crossed(work, error)
    assert (type(found), str(found)) == (type(error), str(error))


def test_a_refusal_keeps_its_status(work: Work) -> None:
    found = crossed(work, CloudError("no", status=409))
    assert isinstance(found, CloudError)
    assert found.status == 409


def test_any_other_exception_becomes_an_error_of_ours_with_type_and_message(work: Work) -> None:
    assert str(crossed(work, KeyError("snapshot"))) == "KeyError: 'snapshot'"
    assert str(crossed(work, OSError(5, "Input/output error", "/a"))) == (
        "OSError: [Errno 5] Input/output error: '/a'"
    )
    assert str(crossed(work, AssertionError())) == "AssertionError"
    assert "message cannot be shown" in str(crossed(work, NoMessageError()))
    assert isinstance(crossed(work, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")), VolflowError)


def test_characters_that_a_database_refuses_do_not_cross(work: Work) -> None:
    assert str(crossed(work, VolflowError("a\0b \udcff\nc"))) == "a\\x00b \\udcff\nc"


def test_the_log_has_the_whole_traceback_once(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "volflow")
    with pytest.raises(VolflowError):
        Later(work, raise_chain, nothing).execute()
    (record,) = [r for r in caplog.records if r.name == "volflow.tasks.border"]
    assert "ConnectionRefusedError: [Errno 111] Connection refused" in record.getMessage()
    assert record.getMessage().count("in raise_chain") >= LENGTH
    assert "volume:later failed" in record.getMessage()


def test_an_enormous_traceback_is_cut_in_the_log(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "volflow")
    crossed(work, OSError("x" * 20_000_000))
    assert sum(len(record.getMessage()) for record in caplog.records) < 200_000
