"""Names are never part of a URL, and a change of a resource is waited for before it is deleted."""

from __future__ import annotations

import threading

import pytest
from cinderclient import exceptions

from tests.support.fake_cinder import FakeClient
from tests.support.small_cloud import DROPPED, MISSING, PROXY, Reply, SmallCloud
from tests.unit.cloud.conftest import Login
from volflow.cloud.cinder import NEWEST, Cinder
from volflow.cloud.client import Client, Deletion
from volflow.cloud.patience import Patience, undoing
from volflow.cloud.wait import Wait
from volflow.errors import CloudError, ResourceNotFoundError, StoppedError, UnavailableError

STATE = Reply(400, {"badRequest": {"code": 400, "message": "Volume is creating."}})


@pytest.mark.parametrize(
    "name", ["detail", "summary", "detail?x=1", "a/b", "#x", "%2e", "..", ".", "?limit=1", "é/"]
)
def test_a_name_that_means_something_in_a_url_is_a_name(
    name: str, small_cloud: SmallCloud, log_in: Login
) -> None:
    cinder = log_in().cinder
    with pytest.raises(ResourceNotFoundError, match="No volume has the id or name"):
        cinder.volumes.find(name)
    volume = small_cloud.put("volumes", name=name)
    assert cinder.volumes.find(name)["id"] == volume


def test_an_id_is_asked_for_before_names(small_cloud: SmallCloud, log_in: Login) -> None:
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    small_cloud.put("volumes", name=volume)
    assert cinder.volumes.find(volume)["id"] == volume
    del small_cloud.resources["volumes"][volume]
    assert cinder.volumes.find(volume)["name"] == volume


def test_a_group_is_found_by_its_name() -> None:
    cloud = FakeClient()
    group = cloud.groups.create("type", name="detail").id
    assert cloud.cinder().groups.find("detail")["id"] == group
    with pytest.raises(ResourceNotFoundError, match="No group has the id or name 'summary'"):
        cloud.cinder().groups.find("summary")


@pytest.mark.parametrize("kind", ["volumes", "snapshots"])
def test_what_is_being_created_is_deleted_afterwards(
    kind: str, small_cloud: SmallCloud, log_in: Login
) -> None:
    made = small_cloud.put(kind, status="creating")
    shown = small_cloud.resources[kind][made]

    def mood(method: str, path: str) -> Reply | None:
        if method == "DELETE" and shown["status"] == "creating":
            threading.Timer(0.1, shown.update, [{"status": "available"}]).start()
            return STATE
        return None

    small_cloud.mood = mood
    getattr(log_in().cinder, kind).delete(made)
    assert small_cloud.resources[kind] == {}


@pytest.mark.parametrize("kind", ["volumes", "snapshots"])
def test_a_repeated_request_does_not_prove_a_deletion(
    kind: str, small_cloud: SmallCloud, log_in: Login
) -> None:
    """A gateway refuses the first request; then the resource goes to another project."""
    made, begun = small_cloud.put(kind), list[str]()

    def mood(method: str, path: str) -> Reply | None:
        if method != "DELETE":
            return None
        if small_cloud.log.count(f"DELETE {path}") == 1:
            return PROXY
        small_cloud.resources[kind].clear()
        return MISSING

    small_cloud.mood = mood
    manager = getattr(log_in().cinder, kind)
    deleted = manager.delete(made, begun=lambda: begun.append(made))
    assert deleted is Deletion.UNKNOWN
    assert begun == []


@pytest.mark.parametrize("kind", ["volumes", "snapshots"])
@pytest.mark.parametrize("reply", [DROPPED, MISSING])
def test_a_resource_that_is_shown_as_deleting_is_being_deleted(
    reply: Reply, kind: str, small_cloud: SmallCloud, log_in: Login
) -> None:
    """The answer to the request was lost, or a request was sent to a database that lags behind."""
    made, begun = small_cloud.put(kind), list[str]()
    shown = small_cloud.resources[kind][made]

    def mood(method: str, path: str) -> Reply | None:
        if method != "DELETE":
            return None
        shown["status"] = "deleting"
        threading.Timer(0.5, small_cloud.resources[kind].clear).start()
        return reply

    small_cloud.mood = mood
    manager = getattr(log_in().cinder, kind)
    deleted = manager.delete(made, begun=lambda: begun.append(shown["status"]))
    assert deleted is Deletion.BEGUN
    assert begun[0] == "deleting"
    assert small_cloud.log.count(f"DELETE /{kind}/{made}") == 1
    assert small_cloud.resources[kind] == {}


def test_a_refusal_in_a_stable_state_is_reported(small_cloud: SmallCloud, log_in: Login) -> None:
    small_cloud.mood = lambda method, path: STATE if method == "DELETE" else None
    with pytest.raises(CloudError, match="Volume is creating"):
        log_in().cinder.volumes.delete(small_cloud.put("volumes"))


def test_trouble_is_never_a_missing_right() -> None:
    cloud = FakeClient()
    cloud.fail("services.list", "quotas.get", error=exceptions.ClientException(503))
    with pytest.raises(UnavailableError):
        cloud.cinder().volumes.require_all_tenants()
    with pytest.raises(UnavailableError):
        cloud.cinder().quotas.left()


def test_only_the_way_forward_can_be_stopped(small_cloud: SmallCloud) -> None:
    stopping, tries = threading.Event(), [3]
    stopping.set()

    def call() -> str:
        if tries[0]:
            tries[0] -= 1
            raise UnavailableError("away")
        return "done"

    client = Client(None, Wait(), Patience(60, pause=0.001), stopping=stopping)
    with pytest.raises(StoppedError):
        client.call("It", call)
    with undoing():
        assert client.call("It", call) == "done"
        tries[0] = 1
        with pytest.raises(StoppedError):
            client.interruptible().call("It", call)


def test_a_group_that_changes_is_waited_for_before_its_snapshot() -> None:
    cloud = FakeClient()
    group = cloud.groups.create("type", name="group").id
    cloud.groups[group]["status"] = "updating"
    threading.Timer(0.1, cloud.groups[group].update, [{"status": "available"}]).start()
    cinder = cloud.cinder()
    assert isinstance(cinder, Cinder)
    assert cinder.version.get_string() == NEWEST
    shown = cinder.groups.get(group)
    made = cinder.group_snapshots.create(
        shown, name="", description="a tag", unanswered=lambda: None
    )
    assert cloud.groups[group]["status"] == "available"
    assert [one["id"] for one in cinder.group_snapshots.described(shown, "a tag")] == [made["id"]]
