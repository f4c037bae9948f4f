"""A cloud that is reached by HTTP, and volflow's login to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.small_cloud import SmallCloud
from volflow.cloud.connection import Cloud
from volflow.cloud.patience import Patience
from volflow.cloud.wait import Wait

Login = Callable[..., Cloud]


@pytest.fixture
def small_cloud() -> Iterator[SmallCloud]:
    cloud = SmallCloud()
    yield cloud
    cloud.close()


@pytest.fixture
def log_in(small_cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch) -> Login:
    """Logs in, with seconds of patience and with other variables of the environment."""
    for name in list(os.environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", os.devnull)

    def log_in(patience: float = 120.0, **environment: str | None) -> Cloud:
        for name, value in {**small_cloud.environment, **environment}.items():
            if value is not None:
                monkeypatch.setenv(name, value)
        wait = Wait(interval=0.001, interval_max=0.01, limit=30.0)
        return Cloud(wait=wait, timeout=5.0, patience=Patience(patience, pause=0.02))

    return log_in
