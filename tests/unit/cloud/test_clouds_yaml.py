"""Which cloud and which login volflow chooses: options, environment and configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from openstack.config.cloud_region import CloudRegion

from volflow import config
from volflow.cli.app import VolflowApp
from volflow.cloud.connection import Cloud
from volflow.cloud.wait import Wait

CLOUDS = """
clouds:
  one: &cloud
    auth_type: v3applicationcredential
    auth: {auth_url: "http://one.example/v3", application_credential_id: i,
           application_credential_secret: s}
  two:
    <<: *cloud
  three:
    <<: *cloud
"""
LOGIN = {
    "OS_AUTH_URL": "http://environment.example/v3",
    "OS_USERNAME": "u",
    "OS_PASSWORD": "p",
    "OS_PROJECT_NAME": "n",
}


@pytest.fixture(autouse=True)
def clouds_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a clouds.yaml of our own, and nothing else of this machine."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))


def _region(monkeypatch: pytest.MonkeyPatch, *words: str, name: str | None) -> CloudRegion:
    """The region that a command line chooses."""
    monkeypatch.setattr(sys, "argv", ["volflow", *words])
    options = VolflowApp().parser.parse_args(list(words))
    return Cloud(name=name, arguments=options, wait=Wait())._region()


def test_an_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLOUD", "two")
    assert _region(monkeypatch, "--os-cloud", "three", name="one").name == "three"


def test_the_environment_comes_before_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLOUD", "two")
    assert _region(monkeypatch, name="one").name == "two"
    assert Cloud(name="one", wait=Wait())._region().name == "two"


def test_the_configuration_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    region = _region(monkeypatch, name="one")
    assert region.name == "one"
    # The method to log in belongs to the same cloud.
    assert region.config["auth_type"] == "v3applicationcredential"
    assert Cloud(name="one", wait=Wait())._region().name == "one"


def test_a_login_in_the_environment_is_not_mixed_with_a_cloud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in LOGIN.items():
        monkeypatch.setenv(variable, value)
    for region in (_region(monkeypatch, name="one"), Cloud(name="one", wait=Wait())._region()):
        assert region.config["auth"]["auth_url"] == LOGIN["OS_AUTH_URL"]
        assert region.config["auth_type"] == "password"
        assert "application_credential_id" not in region.config["auth"]


def test_an_option_of_volflow_does_not_count_as_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``OS_<GROUP>__<OPTION>`` does not change that the only cloud of a file is chosen."""
    (tmp_path / "clouds.yaml").write_text(CLOUDS.partition("  two:")[0])
    monkeypatch.setenv("OS_REPOSITORY__LOCATION", "/r")
    monkeypatch.setenv("OS_DEFAULT__STATE_DIR", "/s")
    monkeypatch.setenv("OS_REGION_NAME", "somewhere")
    assert config.load([]).repository.location == "/r"
    for region in (_region(monkeypatch, name=None), Cloud(wait=Wait())._region()):
        assert region.name == "one"
        assert not any("__" in key for key in region.config)


def test_a_login_is_used_beside_options_of_volflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_REPOSITORY__LOCATION", "/r")
    for variable, value in LOGIN.items():
        monkeypatch.setenv(variable, value)
    region = _region(monkeypatch, name=None)
    assert region.config["auth"]["auth_url"] == LOGIN["OS_AUTH_URL"]
    assert not any("__" in key for key in region.config)
