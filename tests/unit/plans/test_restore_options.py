"""Options of a restore that exclude each other."""

from __future__ import annotations

from typing import Any

import pytest

from volflow.errors import UsageError
from volflow.plans.restore_options import check_options
from volflow.results.options import RestoreOptions


@pytest.mark.parametrize(
    ("options", "backups", "says"),
    [
        ({"into": "v"}, 2, "--into takes one backup"),
        ({"into": "v", "new": True}, 1, "cannot be used with --new"),
        ({"into": "v", "remove_old_vol": True}, 1, "--into creates no new volume"),
        ({"keep_newer": True, "new": True}, 1, "--keep-newer is for existing volumes"),
        ({"keep_newer": True, "grow": True}, 1, "--keep-newer is for existing volumes"),
        ({"meta_override": {"size": 1}}, 1, "'size'"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    options: dict[str, Any], backups: int, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check_options(RestoreOptions(**options), backups)


@pytest.mark.parametrize(
    ("options", "backups"),
    [
        ({}, 3),
        ({"into": "v", "keep_newer": True}, 1),
        ({"new": True, "remove_old_vol": True, "grow": True}, 3),
        ({"meta_override": {"name": "other"}}, 2),
    ],
)
def test_options_that_go_together_are_accepted(options: dict[str, Any], backups: int) -> None:
    check_options(RestoreOptions(**options), backups)
