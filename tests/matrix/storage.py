"""Faults of restic and of what the repository is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def faulty(stand: Any, cell: Any) -> Iterator[Any]:
    raise NotImplementedError(cell)
    yield
