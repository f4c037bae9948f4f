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


@pytest.mark.parametrize("region", ["two", "one"])
def test_a_login_without_a_region_is_to_where_cinder_was(region: str) -> None:
    """The catalogue has two regions; the first one is used if none is named."""
    url = "https://cloud.example:5000/v3"
    endpoint = f"https://{region}.example/v3/a"
    now = Login.to(url, region, "a", endpoint=endpoint, first_region="one")
    first_release = Login.from_dict({"auth_url": now.auth_url, "region": None, "project_id": "a"})
    overridden = Login.to(url, None, "a", endpoint="https://one.example/v3/a")
    for then in (first_release, overridden, Login.to(url, "one", "a")):
        assert then.is_elsewhere(now) is (region == "two")


def test_a_cloud_with_a_new_url_is_recognised_by_its_cinder_and_project() -> None:
    then = Login.to("http://old.example:5000", "one", "a", endpoint="http://cinder.example/v3/a")
    again = {"endpoint": "https://cinder.example/v3/a"}
    url = "https://new.example/identity/v3"
    assert not then.is_elsewhere(Login.to(url, "one", "a", **again))
    # A copy of Keystone's database has the same projects, and another project proves nothing.
    assert then.is_elsewhere(Login.to(url, "one", "a", endpoint="https://other.example/v3/a"))
    assert then.is_elsewhere(Login.to(url, "one", "b", endpoint="https://cinder.example/v3/b"))
    former = ["http://old.example:5000/v3"]
    assert not then.is_elsewhere(Login.to(url, "one", "b", former=former))
