"""The context: the parts of volflow, as the options configure them."""

from __future__ import annotations

import logging

import pytest

from volflow import config
from volflow.context import Context

EACH, ALL = "/r/{project_id}", "/r/all"


@pytest.mark.parametrize(
    ("options", "warns"),
    [
        ({"location": EACH, "password_file": ALL}, True),
        ({"location": EACH, "password_command": "pass all"}, True),
        ({"location": EACH, "password_file": EACH}, False),
        ({"location": EACH, "password_command": f"cat {EACH}"}, False),
        ({"location": ALL, "password_file": ALL}, False),
    ],
    ids=str,
)
def test_a_password_shared_by_the_repositories_of_all_projects_is_warned_about(
    options: dict[str, str], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    conf = config.load([])
    for name, value in options.items():
        conf.set_override(name, value, "repository")
    with caplog.at_level(logging.WARNING):
        Context(conf)
    assert ("repositories of all projects have the same password" in caplog.text) is warns
