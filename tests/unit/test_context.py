"""The context: the parts of volflow, as the options configure them."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from volflow import config
from volflow.context import Context
from volflow.errors import UsageError

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


def test_it_is_not_closed_while_another_thread_drives_a_run(tmp_path: Path) -> None:
    conf = config.load([])
    conf.set_override("state_dir", str(tmp_path))
    context = Context(conf)
    assert context.state.runs.list() == []
    driving, over = threading.Event(), threading.Event()

    def drive() -> None:
        with context.driving("run-1"):
            driving.set()
            over.wait()

    thread = threading.Thread(target=drive)
    thread.start()
    driving.wait()
    try:
        with pytest.raises(UsageError, match=r"drives run run-1.*stop\.suspend\(\)"):
            context.close()
        # The run can still store what it has done.
        assert context.state.runs.list() == []
    finally:
        over.set()
        thread.join()
    context.close()
