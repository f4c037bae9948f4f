"""What a stopped run holds in Cinder is known without asking Cinder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence import Entry, State
from volflow.results.holdings import Holdings
from volflow.results.request import BackupRequest, RequestedTarget, RestoreRequest
from volflow.tasks.attachment import Attachment
from volflow.tasks.device import Device
from volflow.tasks.group import GroupSnapshot
from volflow.tasks.kinds import KINDS
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.temporary_volume import TemporaryVolume

SIZES = {"a": 10, "b": 20}
BACKUP = BackupRequest(sizes=SIZES, groups={"g": ["a", "b"]})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


def entries(state: State, *kinds: str, item: str = "a", **details: object) -> list[Entry]:
    for kind in kinds:
        state.ledger.intend(f"r/{item}/{kind}", run_id="r", item=item, kind=kind, details=details)
    return state.ledger.open("r")


def test_a_backup_holds_a_snapshot_a_volume_and_an_attachment(state: State) -> None:
    kinds = (Snapshot.kind, TemporaryVolume.kind, Attachment.kind, Device.kind)
    assert Holdings.of(BACKUP, entries(state, *kinds)) == Holdings(1, 1, 1, 20)


def test_a_group_snapshot_counts_for_each_of_its_volumes(state: State) -> None:
    found = Holdings.of(BACKUP, entries(state, GroupSnapshot.kind, item="g"))
    assert found == Holdings(snapshots=2, gib=30)


def test_a_restore_holds_what_is_as_large_as_its_targets(state: State) -> None:
    new = RequestedTarget("backup", "", {"size": "7"}, "new", None)
    place = RequestedTarget("backup", "", {"size": "7"}, "in place", {"id": "b", "size": 9})
    request = RestoreRequest(targets={"a": new, "b": place})
    entries(state, NewVolume.kind)
    assert Holdings.of(request, state.ledger.open("r")) == Holdings(volumes=1, gib=7)
    found = Holdings.of(request, entries(state, SafetySnapshot.kind, item="b"))
    assert found == Holdings(1, 1, 0, 16)


def test_a_volume_that_was_handed_over_is_not_held(state: State) -> None:
    assert not Holdings.of(BACKUP, entries(state, NewVolume.kind, kept=True))


def test_without_sizes_as_in_the_first_release_the_number_is_known(state: State) -> None:
    found = Holdings.of(BackupRequest(), entries(state, Snapshot.kind, TemporaryVolume.kind))
    assert found == Holdings(1, 1, 0, None)


def test_all_kinds_that_use_the_quota_are_counted(state: State) -> None:
    found = Holdings.of(BACKUP, entries(state, *KINDS))
    assert (found.volumes, found.snapshots, found.attachments) == (2, 2, 1)
