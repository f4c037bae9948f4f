"""At the end of a run its ledger is empty, or the results name what is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import EntryState, ItemState, State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.errors import CloudError, DrivenError, StoppedError
from volflow.results import stored
from volflow.results.outcome import Outcome, VolumeResult
from volflow.runs.lease import RunLease
from volflow.runs.sweep import Sweep
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Temporary
from volflow.tasks.group import GroupSnapshot
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work

VOLUMES = ["first", "second"]


def nothing() -> None:
    """Does nothing."""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


@dataclass
class EndedRun:
    """A run whose volumes have ended, with what it left open in Cinder and in the ledger."""

    state: State
    cloud: FakeClient
    works: dict[str, Work] = field(default_factory=dict)
    before_each: Callable[[], None] = nothing

    def __post_init__(self) -> None:
        items = [(key, key) for key in VOLUMES]
        self.id = self.state.runs.create("backup", {}, items, host="h", boot_id="b", pid=1).id
        for key in (*VOLUMES, "group"):
            self.works[key] = work_of(self.state, self.cloud, key, self.id)
        for key in VOLUMES:
            result = VolumeResult(key, key, Outcome.FAILED, leftovers=("an old line",))
            self.state.runs.update_item(
                self.id, key, state=ItemState.FAILED, result=result.to_dict()
            )

    def opens(self, kind: type[Temporary], key: str, *, of: str | None = None) -> str:
        """Leave a resource open; returns its id in Cinder."""
        work = self.works[key]
        volume = of or key
        tag = work.tag(kind.kind)
        self.state.ledger.intend(
            tag, run_id=self.id, item=key, kind=kind.kind, details={"volume_id": volume}
        )
        if kind is Attachment:
            made = self.cloud.attach(volume)
        elif kind is Snapshot:
            made = self.cloud.put(tag, volume_id=volume, name=f"volflow-{self.id[:8]}")
        else:
            made = self.cloud.put(tag, name=f"volflow-{self.id[:8]}")
        self.state.ledger.present(tag, made)
        return made

    def sweep(self, *, interruptible: bool = False) -> None:
        def of(key: str) -> Work:
            self.before_each()
            return self.works[key]

        request = SimpleNamespace(groups={"group": ["second", "first"]})
        work = SimpleNamespace(run_id=self.id, request=request, of=of)
        hold = RunLease(self.state.leases, self.id)
        try:
            Sweep(self.state, cast(Any, work), hold).sweep(interruptible=interruptible)
        finally:
            hold.release()

    def told(self) -> dict[str, tuple[str, ...]]:
        """The leftovers in the results of the volumes."""
        return {
            item.key: stored.volume_result(item).leftovers
            for item in self.state.runs.items(self.id)
        }

    def open(self) -> list[str]:
        return [entry.kind for entry in self.state.ledger.open(self.id)]


@pytest.fixture
def run(state: State) -> EndedRun:
    return EndedRun(state, FakeClient())


def test_what_is_open_is_removed_in_the_order_that_cinder_needs(run: EndedRun) -> None:
    source = run.cloud.put()
    snapshot = run.opens(Snapshot, "first", of=source)
    volume = run.opens(TemporaryVolume, "first")
    attachment = run.opens(Attachment, "first", of=volume)
    run.sweep()
    assert run.open() == []
    assert attachment not in run.cloud.attachments
    assert volume not in run.cloud.volumes
    assert snapshot not in run.cloud.volume_snapshots
    removed = [call for call in run.cloud.done if "delete" in call]
    assert [call.split(".")[0] for call in removed] == [
        *("attachments", "volumes", "volume_snapshots")
    ]
    assert run.told() == {"first": (), "second": ("an old line",)}


def test_what_stays_is_named_and_keeps_nothing_else(run: EndedRun) -> None:
    source = run.cloud.put()
    snapshot = run.opens(Snapshot, "first", of=source)
    volume = run.opens(TemporaryVolume, "second")
    run.cloud.fail("volume_snapshots.delete", message="the snapshot is busy")
    run.sweep()
    assert run.open() == ["snapshot"]
    assert volume not in run.cloud.volumes
    ((line,), other) = run.told().values()
    assert line.startswith(f"snapshot {snapshot}: ")
    assert "the snapshot is busy" in line
    assert other == ()


def test_a_leftover_that_can_be_removed_by_now_is_not_named_any_more(run: EndedRun) -> None:
    volume = run.opens(TemporaryVolume, "first")
    run.cloud.fail("volumes.delete")
    run.sweep()
    assert [len(lines) for lines in run.told().values()] == [1, 1]
    run.cloud.recover()
    run.sweep()
    assert volume not in run.cloud.volumes
    assert run.told()["first"] == ()


def test_what_volumes_share_is_named_with_the_first_of_them(run: EndedRun) -> None:
    def fails(cls: type[Temporary], work: Work, entry: Any) -> None:
        raise CloudError("the group is gone")

    run.state.ledger.intend(
        run.works["group"].tag(GroupSnapshot.kind),
        run_id=run.id,
        item="group",
        kind=GroupSnapshot.kind,
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(GroupSnapshot, "remove", classmethod(fails))
        run.sweep()
    told = run.told()
    assert "the group is gone" in told["first"][0]
    assert told["second"] == ("an old line",)


def test_a_volume_that_was_kept_stays(run: EndedRun) -> None:
    work = run.works["first"]
    new = NewVolume(work, None)  # type: ignore[arg-type]
    new.intend()
    volume = run.cloud.put(new.tag)
    new.present(volume, kept=True)
    run.sweep()
    assert run.open() == []
    assert volume in run.cloud.volumes
    assert run.cloud.tag(volume) is None


def test_what_this_login_cannot_reach_is_named_and_the_others_go(run: EndedRun) -> None:
    volume = run.opens(TemporaryVolume, "first")
    run.opens(TemporaryVolume, "second")
    asked: list[str] = []

    def refuse_once() -> None:
        asked.append("")
        if len(asked) == 1:
            raise CloudError("no role in the project")

    run.before_each = refuse_once
    run.sweep()
    assert volume not in run.cloud.volumes
    assert run.told()["second"][0].endswith("no role in the project")


def test_a_run_that_another_process_has_taken_is_not_swept(run: EndedRun) -> None:
    volumes = [run.opens(TemporaryVolume, key) for key in VOLUMES]

    def taken() -> None:
        holder = run.state.leases.holder(f"run {run.id}")
        assert holder is not None
        run.state.leases.release(holder)
        run.state.leases.acquire(f"run {run.id}", "other boot 1 2", 60)

    run.before_each = taken
    with pytest.raises(DrivenError):
        run.sweep()
    assert volumes[0] in run.cloud.volumes


def test_a_sweep_that_was_interrupted_or_killed_can_be_repeated(run: EndedRun) -> None:
    volumes = [run.opens(TemporaryVolume, key) for key in VOLUMES]

    def stopped(*args: Any, **kwargs: Any) -> bool:
        raise StoppedError("the run was asked to stop")

    run.cloud.fail("volumes.delete", when=stopped)
    with pytest.raises(StoppedError):
        run.sweep(interruptible=True)
    entries = run.state.ledger.open(run.id)
    assert {entry.state for entry in entries} == {EntryState.PRESENT}
    run.cloud.recover()
    run.sweep(interruptible=True)
    assert all(volume not in run.cloud.volumes for volume in volumes)
    assert run.told() == {"first": (), "second": ()}


def test_a_run_without_open_entries_costs_one_query(run: EndedRun) -> None:
    run.before_each = pytest.fail
    run.sweep()
    assert run.told() == {"first": ("an old line",), "second": ("an old line",)}
    assert run.cloud.done == []
