"""A state database and a Cinder in memory, for tests that run single tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


@pytest.fixture
def cloud() -> FakeClient:
    """A fake Cinder."""
    return FakeClient()
