"""The projects that Keystone lists."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from keystoneauth1 import exceptions
from openstack.config.cloud_region import CloudRegion

from volflow.cloud.connection import Cloud
from volflow.cloud.patience import Patience
from volflow.cloud.session import Session
from volflow.cloud.wait import Wait
from volflow.errors import CloudError

Answer = dict[str, Any] | Exception

URL = "http://keystone.example/v3"


class Keystone(Session):
    """The session of a login to a Keystone that returns these answers, by path."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self._by_path = answers

    def get_project_id(self, auth: Any = None) -> str:
        return "1"

    def get(self, url: str, **arguments: Any) -> Any:
        answer = self._by_path[url.removeprefix(f"{URL}/").replace("/", "_")]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(json=lambda: answer)


class Answered(Cloud):
    """A cloud with such a Keystone."""

    def __init__(self, auth_type: str = "password", **answers: Answer) -> None:
        super().__init__(wait=Wait(), patience=Patience(0))
        self._auth_type, self._session = auth_type, Keystone(answers)

    def _region(self) -> CloudRegion:
        region = SimpleNamespace(
            config={"auth_type": self._auth_type},
            set_session_constructor=lambda constructor: None,
            get_session=lambda: self._session,
            get_endpoint=lambda service: URL,
            get_region_name=lambda service: None,
        )
        return cast(CloudRegion, region)


def _projects(*ids: str) -> dict[str, Any]:
    return {"projects": [{"id": id} for id in ids]}


def test_an_administrator_sees_all_projects(caplog: pytest.LogCaptureFixture) -> None:
    assert Answered(projects=_projects("b", "a")).projects() == ["a", "b"]
    assert caplog.messages == []


def test_other_users_see_the_projects_in_which_they_have_a_role(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        cloud = Answered(projects=exceptions.Forbidden(), auth_projects=_projects("a"))
        assert cloud.projects() == ["a"]
    assert "only the projects in which the user has a role" in caplog.text


@pytest.mark.parametrize(
    "answers",
    [
        {"projects": exceptions.ConnectFailure("no")},
        {"projects": exceptions.InternalServerError()},
        {"projects": exceptions.Forbidden(), "auth_projects": exceptions.ServiceUnavailable()},
        {"projects": exceptions.EndpointNotFound()},
        {"projects": exceptions.NotFound()},
        {"projects": {}},
        {"projects": {"projects": [{}]}},
        {"projects": _projects("a") | {"truncated": True}},
    ],
    ids=str,
)
def test_a_failed_or_partial_answer_is_an_error(answers: dict[str, Answer]) -> None:
    """An incomplete list of projects must never count as complete."""
    with pytest.raises(CloudError, match="Keystone"):
        Answered(**answers).projects()


def test_without_keystone_the_list_of_projects_is_empty() -> None:
    assert Answered("noauth").projects() == []
