"""Cinder is where openstacksdk finds it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.small_cloud import PROJECT, SmallCloud
from volflow.cloud.connection import Cloud
from volflow.cloud.patience import Patience
from volflow.cloud.wait import Wait
from volflow.errors import CloudError


@pytest.fixture
def configured(small_cloud: SmallCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Logs in with more options in clouds.yaml."""

    def configured(arguments: argparse.Namespace | None = None, **options: Any) -> Cloud:
        auth = {
            name.removeprefix("OS_").lower(): value
            for name, value in small_cloud.environment.items()
        }
        file = tmp_path / "clouds.yaml"
        file.write_text(yaml.safe_dump({"clouds": {"it": {"auth": auth, **options}}}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        monkeypatch.delenv("OS_CLOUD", raising=False)
        return Cloud(name="it", arguments=arguments, wait=Wait(), patience=Patience(0))

    return configured


@pytest.mark.parametrize(
    "kind", ["block-storage", "block-store", "volume", "volumev3", "my-volumes"]
)
def test_every_alias_of_the_service_type_is_found(
    kind: str, small_cloud: SmallCloud, configured: Any
) -> None:
    small_cloud.types = [(kind, "one", "public")]
    options = {"block_storage_service_type": kind} if kind == "my-volumes" else {}
    cinder = configured(**options).cinder
    volume = small_cloud.put("volumes")
    assert cinder.volumes.get(volume)["id"] == volume


@pytest.mark.parametrize("service", ["block_storage", "volume", "volumev3"])
def test_a_configured_endpoint_overrides_the_catalogue(
    service: str, small_cloud: SmallCloud, configured: Any
) -> None:
    small_cloud.types = [("block-storage", "nowhere", "internal")]
    url = f"{small_cloud.url}/there/v3/{PROJECT}"
    cinder = configured(**{f"{service}_endpoint_override": url}).cinder
    assert cinder.endpoint.url == url
    assert cinder.volumes.list() == []


def test_the_configured_interface_and_region_are_used(
    small_cloud: SmallCloud, configured: Any
) -> None:
    small_cloud.types = [
        ("block-storage", region, interface)
        for region in ("one", "two")
        for interface in ("public", "internal")
    ]
    assert configured(region_name="two").login.region == "two"
    found = configured().login
    assert (found.region, found.first_region) == ("one", "one")
    small_cloud.types = [("block-storage", "one", "public")]
    with pytest.raises(CloudError, match="with the interface internal"):
        _ = configured(interface="internal").cinder


def test_a_missing_service_names_what_there_is(small_cloud: SmallCloud, configured: Any) -> None:
    small_cloud.types = [("block-storage", "east", "public"), ("block-storage", "west", "admin")]
    with pytest.raises(CloudError, match=r"in region lab\. There it is in the regions east, west"):
        _ = configured(region_name="lab").cinder
    small_cloud.types = [("compute", "east", "public")]
    with pytest.raises(CloudError, match="The catalogue has the service types compute"):
        _ = configured().cinder


def test_another_project_has_the_configured_endpoint_too(
    small_cloud: SmallCloud, configured: Any
) -> None:
    cloud = configured(block_storage_endpoint_override=f"{small_cloud.url}/there/v3/%(project_id)s")
    assert cloud.cinder.endpoint.url == f"{small_cloud.url}/there/v3/{PROJECT}"
