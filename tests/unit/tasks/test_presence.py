"""What is not found counts as gone only where this login could see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cinderclient import exceptions

from persistence import Entry, State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.cloud.client import Client, Deletion
from volflow.cloud.volumes import Volumes
from volflow.errors import ChangedError, CloudError, NotDeletedError
from volflow.tasks.presence import DELETING, note
from volflow.tasks.remarks import Remark
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def work(state: State, cloud: FakeClient) -> Work:
    return work_of(state, cloud, cloud.put())


@pytest.fixture
def member(monkeypatch: pytest.MonkeyPatch) -> None:
    """The login is no administrator's."""
    monkeypatch.setattr(Volumes, "sees_all_projects", lambda _: False)


def entry(work: Work, kind: str) -> Entry:
    found = work.services.ledger.find(work.tag(kind))
    assert found is not None
    return found


def temporary(cloud: FakeClient, work: Work) -> str:
    snapshot = Snapshot(work).execute()
    source = work.cinder.volumes.get(work.volume_id)
    return TemporaryVolume(work).execute({"volume": source}, snapshot)


def require_left_over(work: Work, made: str) -> None:
    """Make sure that a temporary volume that cannot be seen is not taken for deleted."""
    with pytest.raises(ChangedError, match=f"Volume {made} cannot be seen in this project"):
        TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))


def transfer(cloud: FakeClient, volume: str) -> None:
    """Let the volume go to another project with its snapshots: they are not visible any more."""
    cloud.recover()
    for snapshot in cloud.volume_snapshots:
        if cloud.volume_snapshots[snapshot]["volume_id"] == volume:
            cloud.volume_snapshots.delete(snapshot)
    cloud.volumes.delete(volume)


def before(cloud: FakeClient, call: str, act: Callable[[], object]) -> None:
    """Act once, just before a call is carried out."""

    def acted(*_: object) -> bool:
        cloud.recover()
        act()
        return False

    cloud.fail(call, when=acted)


@pytest.mark.usefixtures("member")
def test_a_snapshot_that_went_away_with_its_volume_is_a_leftover(
    cloud: FakeClient, work: Work
) -> None:
    made = Snapshot(work).execute()["id"]
    transfer(cloud, work.volume_id)
    with pytest.raises(ChangedError, match=f"Neither snapshot {made} nor its volume"):
        Snapshot.remove(work, entry(work, Snapshot.kind))
    # A person knows that it is gone.
    work.changed_too = True
    Snapshot.remove(work, entry(work, Snapshot.kind))


def test_to_an_administrator_what_is_not_found_is_gone(cloud: FakeClient, work: Work) -> None:
    Snapshot(work).execute()
    transfer(cloud, work.volume_id)
    cloud.put()
    Snapshot.remove(work, entry(work, Snapshot.kind))


@pytest.mark.usefixtures("member")
def test_a_snapshot_is_gone_if_its_volume_can_be_seen(cloud: FakeClient, work: Work) -> None:
    made = Snapshot(work).execute()["id"]
    cloud.volume_snapshots.delete(made)
    Snapshot.remove(work, entry(work, Snapshot.kind))


@pytest.mark.usefixtures("member")
def test_nothing_is_left_over_of_a_snapshot_that_was_never_made(
    cloud: FakeClient, work: Work
) -> None:
    Snapshot(work).intend(volume_id=work.volume_id)
    cloud.volumes.delete(work.volume_id)
    Snapshot.remove(work, entry(work, Snapshot.kind))


@pytest.mark.usefixtures("member")
def test_a_temporary_volume_that_volflow_did_not_delete_is_a_leftover(
    cloud: FakeClient, work: Work
) -> None:
    made = temporary(cloud, work)
    cloud.volumes.delete(made)
    require_left_over(work, made)


@pytest.mark.usefixtures("member")
def test_a_temporary_volume_whose_deletion_was_requested_is_gone(
    cloud: FakeClient, work: Work
) -> None:
    made = temporary(cloud, work)
    # The process was killed after its request. It was an older volflow.
    note(work, work.tag(TemporaryVolume.kind), **{DELETING: True})
    cloud.volumes.delete(made)
    TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("safety", [False, True])
@pytest.mark.parametrize("named", [False, True], ids=["without an id", "in the ledger"])
def test_a_snapshot_that_is_lost_while_it_is_deleted_is_a_leftover(
    cloud: FakeClient, work: Work, safety: bool, named: bool
) -> None:
    """Its volume goes to another project between the list and the request."""
    volume = work.volume_id
    step = SafetySnapshot(work) if safety else Snapshot(work)
    if named:
        made = step.execute(volume)["id"] if safety else step.execute()["id"]  # type: ignore[call-arg]
    else:
        step.intend(volume_id=volume)
        made = step._create(volume)["id"] if safety else step._create()["id"]  # type: ignore[call-arg]
    before(cloud, "volume_snapshots.delete", lambda: transfer(cloud, volume))
    for _ in range(2):
        with pytest.raises(ChangedError, match=f"Neither snapshot {made} nor its volume"):
            step.remove(work, entry(work, step.kind))
    work.changed_too = True
    step.remove(work, entry(work, step.kind))


@pytest.mark.usefixtures("member")
def test_a_snapshot_that_somebody_else_deletes_first_is_gone(cloud: FakeClient, work: Work) -> None:
    made = Snapshot(work).execute()["id"]
    before(cloud, "volume_snapshots.delete", lambda: cloud.volume_snapshots.delete(made))
    Snapshot.remove(work, entry(work, Snapshot.kind))


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("kind", [Snapshot, TemporaryVolume])
def test_what_cinder_had_begun_to_delete_before_a_kill_is_gone(
    cloud: FakeClient,
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Snapshot] | type[TemporaryVolume],
) -> None:
    made = Snapshot(work).execute()["id"] if kind is Snapshot else temporary(cloud, work)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Client, "wait_gone", killed)
        with pytest.raises(Killed):
            kind.remove(work, entry(work, kind.kind))
    assert made not in cloud.volumes
    # The tenant then deletes the volume of the snapshot.
    transfer(cloud, work.volume_id)
    kind.remove(work, entry(work, kind.kind))


@pytest.mark.usefixtures("member")
def test_what_a_killed_process_was_about_to_delete_counts_as_deleted(
    cloud: FakeClient, work: Work
) -> None:
    """It can have sent the request. That the volume changes its project meanwhile is less likely
    than that Cinder has deleted it.
    """
    made = temporary(cloud, work)

    def killed() -> None:
        raise Killed

    before(cloud, "volumes.delete", killed)
    with pytest.raises(Killed):
        TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
    assert entry(work, TemporaryVolume.kind).details[DELETING] == Deletion.ASKED
    cloud.volumes.delete(made)
    TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("status", ["deleting", "available"])
def test_a_deletion_that_had_begun_and_ends_before_the_next_request_leaves_nothing(
    cloud: FakeClient, work: Work, status: str
) -> None:
    """The list shows it as 'deleting', or comes from a database that lags behind."""
    made = temporary(cloud, work)
    if status == "available":
        note(work, work.tag(TemporaryVolume.kind), **{DELETING: Deletion.BEGUN})
    cloud.volumes[made]["status"] = status
    before(cloud, "volumes.delete", lambda: cloud.volumes.delete(made))
    for _ in range(2):
        TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
        assert entry(work, TemporaryVolume.kind).details[DELETING] == Deletion.BEGUN


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize(("status", "gone"), [(403, True), (400, False)])
def test_only_a_refusal_for_its_state_says_that_a_begun_deletion_has_failed(
    cloud: FakeClient, work: Work, status: int, gone: bool
) -> None:
    made = temporary(cloud, work)
    note(work, work.tag(TemporaryVolume.kind), **{DELETING: Deletion.BEGUN})
    cloud.fail("volumes.delete", error=exceptions.ClientException(status))
    with pytest.raises(CloudError):
        TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
    transfer(cloud, made)
    if gone:
        TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
    else:
        require_left_over(work, made)


@pytest.mark.usefixtures("member")
def test_a_deletion_that_cinder_has_cancelled_proves_nothing(
    cloud: FakeClient, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The volume was busy, and is 'available' again."""
    made = temporary(cloud, work)
    with monkeypatch.context() as patch:
        patch.setattr(cloud.volumes, "delete", lambda _: None)
        with pytest.raises(NotDeletedError, match="is 'available' again"):
            TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
    transfer(cloud, made)
    require_left_over(work, made)


@pytest.mark.usefixtures("member")
def test_a_volume_without_an_id_in_the_ledger_that_is_lost_is_a_leftover(
    cloud: FakeClient, work: Work
) -> None:
    step = TemporaryVolume(work)
    step.intend()
    snapshot = Snapshot(work).execute()
    made = step._create(work.cinder.volumes.get(work.volume_id), snapshot)["id"]
    before(cloud, "volumes.delete", lambda: transfer(cloud, made))
    for _ in range(2):
        require_left_over(work, made)


@pytest.mark.usefixtures("member")
def test_an_older_ledger_does_not_prove_a_deletion_of_what_was_still_there(
    cloud: FakeClient, work: Work
) -> None:
    made = temporary(cloud, work)
    note(work, work.tag(TemporaryVolume.kind), **{DELETING: True})
    before(cloud, "volumes.delete", lambda: transfer(cloud, made))
    require_left_over(work, made)


@pytest.mark.usefixtures("member")
def test_a_temporary_volume_that_goes_to_another_project_is_a_leftover(
    cloud: FakeClient, work: Work
) -> None:
    """Cinder refuses its deletion in state awaiting-transfer; later there is no such volume."""
    made = temporary(cloud, work)
    cloud.fail("volumes.delete", error=exceptions.BadRequest(400, "awaiting-transfer"))
    with pytest.raises(CloudError, match="awaiting-transfer"):
        TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
    cloud.recover()
    transfer(cloud, made)
    require_left_over(work, made)


@pytest.mark.usefixtures("member")
def test_a_temporary_volume_that_is_lost_while_it_is_deleted_is_a_leftover(
    cloud: FakeClient, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, delete = temporary(cloud, work), cloud.volumes.delete

    def lost(volume_id: str) -> None:
        delete(volume_id)
        raise exceptions.NotFound(404)

    monkeypatch.setattr(cloud.volumes, "delete", lost)
    for _ in range(2):
        require_left_over(work, made)


def test_a_copy_with_the_mark_stays_and_is_reported(cloud: FakeClient, work: Work) -> None:
    made = temporary(cloud, work)
    mark, name = work.tag(TemporaryVolume.kind), cloud.volumes[made]["name"]
    copied = cloud.put(mark, name=name, source_volid=made, created_at="2027-01-01T00:00:00")
    TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
    assert made not in cloud.volumes
    assert copied in cloud.volumes
    assert copied in str(Remark.COPIES.read(work))


def test_a_volume_without_its_mark_is_not_deleted(cloud: FakeClient, work: Work) -> None:
    made = temporary(cloud, work)
    cloud.volumes.delete_metadata(made, ["volflow"])
    for agreed in (False, True):
        work.changed_too = agreed
        if agreed:
            TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
        else:
            with pytest.raises(ChangedError, match="no longer carries the mark"):
                TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
    assert made in cloud.volumes


def test_a_snapshot_that_hinders_a_deletion_is_named(cloud: FakeClient, work: Work) -> None:
    made = temporary(cloud, work)
    foreign = cloud.put(volume_id=made)
    cloud.fail("volumes.delete", message="Volume has snapshots")
    with pytest.raises(ChangedError, match=foreign):
        TemporaryVolume.remove(work, entry(work, TemporaryVolume.kind))
