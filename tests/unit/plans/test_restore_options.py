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
        ({"keep_extra": True, "new": True}, 1, "--keep-extra is for existing volumes"),
        ({"keep_extra": True, "grow": True}, 1, "--keep-extra is for existing volumes"),
        ({"overwrite": "never", "new": True}, 1, "--overwrite never is for existing volumes"),
        ({"overwrite": "if-newer", "grow": True}, 1, "--overwrite if-newer is for existing"),
        ({"meta_override": {"size": 1}}, 1, "'size'"),
        ({"name": "n"}, 1, "needs --new"),
        ({"name": "n", "new": True}, 2, "one backup at a time"),
        ({"name": "n" * 256, "new": True}, 1, "at most 255 characters"),
        ({"name": "n", "new": True, "meta_override": {"name": "m"}}, 1, "exclude each other"),
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
        ({"into": "v", "keep_extra": True}, 1),
        ({"new": True, "remove_old_vol": True, "grow": True}, 3),
        ({"meta_override": {"name": "other"}}, 2),
        ({"overwrite": "never"}, 3),
        ({"overwrite": "if-newer", "keep_extra": True, "into": "v", "verify": True}, 1),
        ({"new": True, "name": "n", "meta_override": {"bootable": True}}, 1),
    ],
)
def test_options_that_go_together_are_accepted(options: dict[str, Any], backups: int) -> None:
    check_options(RestoreOptions(**options), backups)


def test_the_former_name_of_keep_extra_works_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="keep_extra"):
        options = RestoreOptions(keep_newer=True)
    assert options.keep_extra
    assert options == RestoreOptions(keep_extra=True)


def test_the_name_of_a_new_volume_is_one_of_its_overrides() -> None:
    options = RestoreOptions(new=True, name="n", meta_override={"bootable": True})
    assert options.overrides == {"bootable": True, "name": "n"}
    assert RestoreOptions(new=True).overrides == {}
