"""What the configuration says about one repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.restic import settings
from volflow.errors import ConfigError


@pytest.mark.parametrize(
    ("location", "local"),
    [
        ("/some/where", "/some/where"),
        ("local:/some/where", "/some/where"),
        ("rest:https://h/", None),
        ("s3:https://h/b", None),
        ("sftp:user@h:/r", None),
        ("rclone:remote:path", None),
        ("b2:bucket:path", None),
    ],
)
def test_a_repository_on_this_host_has_a_local_path(
    tmp_path: Path, location: str, local: str | None
) -> None:
    expected = Path(local) if local else None
    assert settings(tmp_path, location=location).local_path == expected


def test_the_location_contains_no_password(tmp_path: Path) -> None:
    assert settings(tmp_path, location="rest:https://u:p@h/r").location == "rest:https://h/r"


def test_the_password_must_come_from_one_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="either password_file or password_command"):
        settings(tmp_path, password_command="cat /p").check()
    with pytest.raises(ConfigError, match="either password_file or password_command"):
        settings(tmp_path, password_file=None).check()
    with pytest.raises(ConfigError, match=r"/nowhere .*does not exist"):
        settings(tmp_path, password_file="/nowhere").check()


def test_a_relative_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="relative path"):
        settings(tmp_path, location="here").check()
