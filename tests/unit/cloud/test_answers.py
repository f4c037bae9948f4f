"""Trouble of Keystone, Cinder or a proxy is waited for; an answer is an answer."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.support.small_cloud import DROPPED, MISSING, PROXY, Mood, Reply, SmallCloud
from tests.unit.cloud.conftest import Login
from volflow.cloud.answers import seconds_of
from volflow.cloud.client import Deletion
from volflow.errors import (
    CloudError,
    QuotaError,
    ResourceNotFoundError,
    UnavailableError,
)

# Answers that are none, by what they are.
NONE = {
    "503 of a proxy": PROXY,
    "500": Reply(500, {"computeFault": {"code": 500, "message": "The server has erred."}}),
    "429": Reply(429, {"overLimit": {"code": 429, "message": "rate-limited"}}),
    "413": Reply(413, {"overLimit": {"code": 413, "message": "slow down"}}, **{"Retry-After": "1"}),
    "dropped": DROPPED,
    "HTML with 200": Reply(200, b"<html>We are down for maintenance</html>"),
    "HTML with 404": Reply(404, b"<html>404</html>"),
    "404 of a gateway": Reply(404, {"message": "no Route matched with those values"}),
    "redirect": Reply(302),
    "cut JSON": Reply(200, b'{"volume": {"id": "'),
    "empty body": Reply(200, b""),
    "empty object": Reply(200, {}),
    "list": Reply(200, []),
    "object without fields": Reply(200, {"volume": {}, "snapshot": {}}),
}


def wrong(reply: Reply, pattern: str, times: int | None = None) -> Mood:
    """This answer to the first so many requests that match, or to all."""
    left = [times]

    def mood(method: str, path: str) -> Reply | None:
        if not re.fullmatch(pattern, f"{method} {path}") or left[0] == 0:
            return None
        if left[0] is not None:
            left[0] -= 1
        return reply

    return mood


@pytest.mark.parametrize("reply", NONE.values(), ids=NONE)
def test_trouble_that_passes_is_waited_for(
    reply: Reply, small_cloud: SmallCloud, log_in: Login, caplog: pytest.LogCaptureFixture
) -> None:
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    small_cloud.mood = wrong(reply, "GET /volumes/.*", times=3)
    assert cinder.volumes.get(volume)["id"] == volume
    ours = [record for record in caplog.records if record.name.startswith("volflow")]
    warned = [record for record in ours if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert "volflow repeats this for up to 120 s" in warned[0].message


@pytest.mark.parametrize("reply", NONE.values(), ids=NONE)
def test_trouble_that_lasts_ends_with_the_patience(
    reply: Reply, small_cloud: SmallCloud, log_in: Login
) -> None:
    cinder = log_in(0.3).cinder
    volume = small_cloud.put("volumes")
    small_cloud.mood = wrong(reply, "GET /volumes/.*")
    with pytest.raises(UnavailableError, match="has repeated this for") as caught:
        cinder.volumes.existing(volume)
    # TaskFlow stores the whole chain.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("reply", NONE.values(), ids=NONE)
def test_a_lost_answer_makes_nothing_twice(
    reply: Reply, small_cloud: SmallCloud, log_in: Login
) -> None:
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    small_cloud.lost = True
    small_cloud.mood = wrong(reply, "POST /.*", times=2)
    tag = {"volflow": "the tag"}
    unanswered: list[str] = []

    def note() -> None:
        unanswered.append("a request")

    made = cinder.snapshots.create(volume, name="", description="", metadata=tag, unanswered=note)
    assert list(small_cloud.resources["snapshots"]) == [made["id"]]
    assert len(unanswered) == 1
    made = cinder.volumes.create(size=1, name="", metadata=tag, unanswered=note)
    assert len(unanswered) == 2
    assert list(small_cloud.resources["volumes"]) == [volume, made["id"]]


def test_a_lost_answer_makes_no_second_attachment(small_cloud: SmallCloud, log_in: Login) -> None:
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    small_cloud.lost = True
    small_cloud.mood = wrong(DROPPED, "POST /attachments", times=1)
    attachment = cinder.attachments.create(volume, {"host": "here"})
    assert list(small_cloud.resources["attachments"]) == [attachment]


def test_an_unfinished_attachment_is_replaced(small_cloud: SmallCloud, log_in: Login) -> None:
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    restarts = [1]

    def mood(method: str, path: str) -> Reply | None:
        if method != "POST" or not restarts:
            return None
        restarts.pop()
        # Cinder has begun with it, and was restarted.
        small_cloud.put("attachments", volume_id=volume, instance=None, status="reserved")
        return DROPPED

    small_cloud.mood = mood
    attachment = cinder.attachments.create(volume, {"host": "here"})
    assert list(small_cloud.resources["attachments"]) == [attachment]
    assert small_cloud.resources["attachments"][attachment]["status"] == "attaching"


@pytest.mark.parametrize("reply", [DROPPED, PROXY, Reply(200, b"<html>"), Reply(200, {})])
def test_a_lost_answer_to_a_deletion_is_no_failure(
    reply: Reply, small_cloud: SmallCloud, log_in: Login
) -> None:
    cinder = log_in().cinder
    small_cloud.lost = True
    for kind, resources in (("attachments", cinder.attachments), ("volumes", cinder.volumes)):
        small_cloud.mood = wrong(reply, f"DELETE /{kind}/.*", times=1)
        resources.delete(small_cloud.put(kind))  # type: ignore[attr-defined]
        assert small_cloud.resources[kind] == {}


def test_who_has_deleted_a_volume_is_known(small_cloud: SmallCloud, log_in: Login) -> None:
    volumes = log_in().cinder.volumes
    assert volumes.delete(small_cloud.put("volumes")) is Deletion.BEGUN
    # Its answer is lost, and the volume is gone before anything shows that it is deleted.
    small_cloud.lost = True
    small_cloud.mood = wrong(DROPPED, "DELETE /volumes/.*", times=1)
    assert volumes.delete(small_cloud.put("volumes")) is Deletion.ASKED
    missing = "00000000-0000-4000-8000-000000000001"
    assert volumes.delete(missing) is Deletion.UNKNOWN


@pytest.mark.parametrize("reply", [Reply(200, b"<html>"), Reply(200, {}), Reply(200)])
def test_an_attachment_is_not_taken_for_deleted(
    reply: Reply, small_cloud: SmallCloud, log_in: Login
) -> None:
    cinder = log_in().cinder
    small_cloud.mood = wrong(reply, "DELETE /attachments/.*", times=2)
    cinder.attachments.delete(small_cloud.put("attachments"))
    assert small_cloud.resources["attachments"] == {}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (MISSING, ResourceNotFoundError),
        (Reply(400, {"badRequest": {"code": 400, "message": "no"}}), CloudError),
        (Reply(403, {"forbidden": {"code": 403, "message": "no"}}), CloudError),
        (Reply(409, {"conflictingRequest": {"code": 409, "message": "no"}}), CloudError),
        (
            Reply(
                413,
                {"overLimit": {"code": 413, "message": "it exceeds the gigabytes quota"}},
                **{"Retry-After": "0"},
            ),
            QuotaError,
        ),
        (Reply(403, {"forbidden": {"code": 403, "message": "Quota exceeded."}}), QuotaError),
    ],
)
def test_an_answer_is_not_asked_for_again(
    reply: Reply, error: type[CloudError], small_cloud: SmallCloud, log_in: Login
) -> None:
    cinder = log_in().cinder
    small_cloud.mood = wrong(reply, "GET /volumes/.*")
    small_cloud.log.clear()
    with pytest.raises(error) as caught:
        cinder.volumes.get("00000000-0000-4000-8000-000000000001")
    assert type(caught.value) is error
    assert len(small_cloud.log) == 1


def test_a_list_that_is_not_found_is_trouble(small_cloud: SmallCloud, log_in: Login) -> None:
    """A list always exists. So a 404 says nothing about what could be in it."""
    cinder = log_in().cinder
    small_cloud.types_shown = [{"id": "t", "name": "fast"}]
    small_cloud.mood = wrong(MISSING, "GET /types", times=1)
    assert cinder.types.find("fast")["id"] == "t"
    cinder = log_in(0.3).cinder
    small_cloud.mood = wrong(MISSING, "GET /(types|attachments/detail)")
    for call in (lambda: cinder.types.find("fast"), lambda: cinder.attachments.list("v")):
        with pytest.raises(UnavailableError, match="has repeated this for"):
            call()


def test_a_cinder_that_is_restarted_is_waited_for(small_cloud: SmallCloud, log_in: Login) -> None:
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    with ThreadPoolExecutor() as pool:
        with small_cloud.away():
            with pytest.raises(UnavailableError, match="cannot be reached"):
                _ = log_in(0.3).cinder
            found = pool.submit(cinder.volumes.get, volume)
            made = pool.submit(
                cinder.volumes.create,
                size=1,
                metadata={"volflow": "tag"},
                unanswered=lambda: None,
            )
        assert found.result()["id"] == volume
        assert made.result()["id"] in small_cloud.resources["volumes"]
        assert len(small_cloud.resources["volumes"]) == 2


@pytest.mark.parametrize("reply", [PROXY, DROPPED, Reply(200, b"<html>"), Reply(201, {})])
def test_trouble_of_keystone_is_waited_for(
    reply: Reply, small_cloud: SmallCloud, log_in: Login
) -> None:
    small_cloud.mood = wrong(reply, "(GET|POST) keystone /.*", times=3)
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    # A token that is refused is renewed.
    refused, away = [True], [3]

    def mood(method: str, path: str) -> Reply | None:
        if path.startswith("keystone") and away[0]:
            away[0] -= 1
            return reply
        if path.startswith("/volumes") and refused:
            refused.pop()
            return Reply(401, {"error": {"code": 401, "message": "no"}})
        return None

    small_cloud.mood = mood
    assert cinder.volumes.get(volume)["id"] == volume
    assert away == [0]


@pytest.mark.parametrize("reply", [PROXY, *list(NONE.values())[-5:]])
def test_trouble_when_the_versions_are_read_is_waited_for(
    reply: Reply, small_cloud: SmallCloud, log_in: Login
) -> None:
    small_cloud.mood = wrong(reply, "GET /", times=3)
    assert log_in().cinder.version.get_string() == "3.71"


def test_a_wrong_password_is_reported_at_once(small_cloud: SmallCloud, log_in: Login) -> None:
    reply = Reply(401, {"error": {"code": 401, "message": "no"}})
    small_cloud.mood = wrong(reply, "POST keystone /auth/tokens")
    with pytest.raises(CloudError, match="Check the user, password and project"):
        _ = log_in().cinder


def test_retry_after_is_heeded_in_both_forms() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    assert seconds_of("7") == 7
    assert 90 < seconds_of(format_datetime(moment, usegmt=True)) <= 100
    assert seconds_of(format_datetime(moment - timedelta(days=1), usegmt=True)) == 0
    for nothing in (None, "", "soon", "-3"):
        assert seconds_of(nothing) == 0


def test_retry_after_delays_the_next_request(small_cloud: SmallCloud, log_in: Login) -> None:
    cinder = log_in().cinder
    volume = small_cloud.put("volumes")
    small_cloud.mood = wrong(Reply(429, b"", **{"Retry-After": "1"}), "GET /volumes/.*", times=1)
    began = time.monotonic()
    cinder.volumes.get(volume)
    assert time.monotonic() - began >= 1


def test_retry_after_does_not_prolong_the_patience(small_cloud: SmallCloud, log_in: Login) -> None:
    cinder = log_in(0.2).cinder
    small_cloud.mood = wrong(Reply(503, b"", **{"Retry-After": "3600"}), "GET /volumes/.*")
    with pytest.raises(UnavailableError, match="has repeated this for"):
        cinder.volumes.get(small_cloud.put("volumes"))
