"""A state database and a Cinder in memory, for tests that run single tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from volflow.tasks import base


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """A fake Cinder. A removal that fails is not retried."""
    monkeypatch.setattr(base, "_PAUSES", ())
    return FakeClient()
