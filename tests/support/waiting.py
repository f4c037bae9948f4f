"""Waits for conditions. The limits are generous; they only end waits that would never end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cinderclient import exceptions

LIMIT = 180.0


def until(true: Callable[[], bool], seconds: float = LIMIT) -> None:
    """Wait until a condition holds.

    :raises AssertionError: the condition does not hold after this many seconds
    """
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def is_gone(get: Callable[[str], Any], id: str) -> bool:
    """Whether Cinder no longer has a resource."""
    try:
        get(id)
    except exceptions.NotFound:
        return True
    return False


def until_gone(get: Callable[[str], Any], id: str) -> None:
    """Wait until Cinder no longer has a resource."""
    until(lambda: is_gone(get, id))


def until_settled(get: Callable[[str], Any], id: str) -> str:
    """Wait until Cinder has ended its work on a resource; return its status."""
    status = ""

    def settled() -> bool:
        nonlocal status
        status = str(get(id).status)
        return status in ("available", "in-use") or "error" in status

    until(settled)
    return status


def until_available(get: Callable[[str], Any], id: str) -> None:
    """Wait until a resource is available.

    :raises AssertionError: the resource gets another final status
    """
    status = until_settled(get, id)
    assert status == "available", f"{id} is {status}"
