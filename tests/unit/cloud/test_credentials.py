"""A login that ends is reported before it has ended, and afterwards with the right words."""

from __future__ import annotations

import pytest

from tests.support.small_cloud import Reply, SmallCloud
from tests.unit.cloud.conftest import Login
from volflow.cloud.cinder import Cinder
from volflow.errors import CloudError

REFUSED = Reply(401, {"error": {"code": 401, "message": "no"}})


WITHOUT_USER = dict.fromkeys(("OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME"))


def _token(log_in: Login) -> Cinder:
    return log_in(OS_AUTH_TYPE="v3token", OS_TOKEN="a token", **WITHOUT_USER).cinder


def test_a_bare_token_is_reported_with_its_end(
    small_cloud: SmallCloud, log_in: Login, caplog: pytest.LogCaptureFixture
) -> None:
    cinder = _token(log_in)
    assert "This login is a token that ends at 2" in caplog.text
    assert "cannot be renewed" in caplog.text
    small_cloud.mood = lambda method, path: REFUSED
    with pytest.raises(CloudError, match=r"the token of this login has ended.*leftover clean"):
        cinder.volumes.list()


def test_a_password_renews_its_token(
    small_cloud: SmallCloud, log_in: Login, caplog: pytest.LogCaptureFixture
) -> None:
    cinder = log_in().cinder
    assert cinder.login_end() is None
    assert "ends at" not in caplog.text


def test_a_refused_application_credential_is_named(small_cloud: SmallCloud, log_in: Login) -> None:
    cinder = log_in(
        OS_AUTH_TYPE="v3applicationcredential",
        OS_APPLICATION_CREDENTIAL_ID="id",
        OS_APPLICATION_CREDENTIAL_SECRET="secret",
        OS_PROJECT_ID=None,
        **WITHOUT_USER,
    ).cinder
    small_cloud.mood = lambda method, path: REFUSED
    with pytest.raises(CloudError, match=r"application credential.*access rules"):
        cinder.volumes.list()
