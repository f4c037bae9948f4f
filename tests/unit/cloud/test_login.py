"""How volflow decides whether two logins are to the same cloud."""

from __future__ import annotations

import pytest

from volflow.cloud.login import Login

HERE = Login.to("https://cloud.example:5000/v3", "one", "a")


def test_a_login_survives_json() -> None:
    assert Login.from_dict(HERE.to_dict()) == HERE


def test_a_login_keeps_no_password() -> None:
    login = Login.to("https://user:secret@cloud.example/identity/v3", None, "a")
    assert login.auth_url == "https://cloud.example/identity"


@pytest.mark.parametrize(
    "other",
    [
        # Other spellings of the address, another project, and what old runs recorded.
        Login.to("https://Cloud.example:5000/v3/", "one", "b"),
        Login.to("HTTPS://cloud.example:5000", "one", "a"),
        Login.to("https://cloud.example:5000/v3", None, "a"),
        Login.to(None, None, "a"),
        Login.from_dict({}),
    ],
)
def test_a_login_to_the_same_cloud_is_not_elsewhere(other: Login) -> None:
    assert not HERE.is_elsewhere(other)
    assert not other.is_elsewhere(HERE)


@pytest.mark.parametrize(
    "other",
    [
        Login.to("https://other.example:5000/v3", "one", "a"),
        Login.to("https://cloud.example:5000/v3", "two", "a"),
    ],
)
def test_a_login_to_another_cloud_is_elsewhere(other: Login) -> None:
    assert HERE.is_elsewhere(other)
    assert other.is_elsewhere(HERE)
    assert other.cloud != HERE.cloud
