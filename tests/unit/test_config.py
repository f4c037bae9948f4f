"""Options: where they come from, and the message when one is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volflow import config
from volflow.errors import ConfigError


def _file(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "volflow.conf"
    file.write_text(text)
    return [str(file)]


def test_options_are_read_from_the_named_file(tmp_path: Path) -> None:
    conf = config.load(_file(tmp_path, "[repository]\nlocation = /r\noptions = a=b,c=d\n"))
    assert conf.repository.location == "/r"
    assert conf.repository.options == ["a=b", "c=d"]


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_REPOSITORY__LOCATION", "/from/the/environment")
    conf = config.load(_file(tmp_path, "[repository]\nlocation = /r\n"))
    assert conf.repository.location == "/from/the/environment"


def test_the_default_files_are_those_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "volflow").mkdir()
    file = tmp_path / "volflow" / "volflow.conf"
    assert str(file) not in config.default_config_files()
    file.write_text("[backup]\nparallel = 3\n")
    assert config.default_config_files()[-1] == str(file)
    assert config.load().backup.parallel == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[wait]\ninterval = soon\n", r"^interval in \[wait\] of /.*: 'soon' is not a number\.$"),
        ("[wait]\ninterval = 0\n", r"^interval in \[wait\] of /.*: it must be at least 0\.01\.$"),
        ("[backup]\nparallel = 0\n", r"^parallel in \[backup\] of /.*: it must be at least 1\.$"),
        ("[host]\nmultipath = perhaps\n", r"^multipath .*: 'perhaps' is neither true nor false\.$"),
        ("no section\n", "^Configuration: "),
    ],
)
def test_an_invalid_option_is_an_error_when_the_file_is_read(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        config.load(_file(tmp_path, text))


@pytest.mark.parametrize("text", ["", "[backup]\nfull_every = 3\n"])
def test_an_invalid_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("OS_BACKUP__FULL_EVERY", "abc")
    with pytest.raises(ConfigError, match=r"^OS_BACKUP__FULL_EVERY: 'abc' is not a number\.$"):
        config.load(_file(tmp_path, text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.conf"):
        config.load([str(tmp_path / "nowhere.conf")])


def test_a_text_in_place_of_a_list_of_files_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"'/etc/volflow\.conf' is one configuration file"):
        config.load("/etc/volflow.conf")


def test_the_state_database_is_in_the_state_directory_by_default(tmp_path: Path) -> None:
    conf = config.load([])
    conf.set_override("state_dir", str(tmp_path))
    assert config.state_dir(conf) == tmp_path
    assert config.state_url(conf) == f"sqlite:///{tmp_path}/state.sqlite"
    conf.set_override("connection", "postgresql://db/volflow", "state")
    assert config.state_url(conf) == "postgresql://db/volflow"


def test_each_user_has_their_own_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/u/state")
    assert config.state_dir(config.load([])) == Path("/home/u/state/volflow")


def test_every_option_has_a_help_text() -> None:
    for group, options in config.list_opts():
        for option in options:
            assert option.help, f"{option.name} of {group}"
            assert option.help.rstrip().endswith("."), f"{option.name}: {option.help}"
