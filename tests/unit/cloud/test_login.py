"""When two logins are to different clouds."""

from __future__ import annotations

import pytest

from volflow.cloud.login import Login

HERE = Login.to("https://cloud.example:5000/v3", "one", "a")


def test_it_is_the_same_from_json() -> None:
    assert Login.from_dict(HERE.to_dict()) == HERE


def test_nothing_secret_is_kept() -> None:
    login = Login.to("https://user:secret@cloud.example/identity/v3", None, "a")
    assert login.auth_url == "https://cloud.example/identity"


@pytest.mark.parametrize(
    "other",
    [
        # Each spelling of one address, another project, and what a run of old has recorded.
        Login.to("https://Cloud.example:5000/v3/", "one", "b"),
        Login.to("HTTPS://cloud.example:5000", "one", "a"),
        Login.to("https://cloud.example:5000/v3", None, "a"),
        Login.to(None, None, "a"),
        Login.from_dict({}),
    ],
)
def test_in_the_same_cloud(other: Login) -> None:
    assert not HERE.is_elsewhere(other)
    assert not other.is_elsewhere(HERE)


@pytest.mark.parametrize(
    "other",
    [
        Login.to("https://other.example:5000/v3", "one", "a"),
        Login.to("https://cloud.example:5000/v3", "two", "a"),
    ],
)
def test_in_another_cloud(other: Login) -> None:
    assert HERE.is_elsewhere(other)
    assert other.is_elsewhere(HERE)
    assert other.cloud != HERE.cloud
