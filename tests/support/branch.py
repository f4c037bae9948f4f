"""The list of branches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.stage import Stage


@dataclass(frozen=True)
class Branch:
    """One way that a restore can go.

    :ivar title: what is there, and what happens then
    :ivar act: goes it, and fails unless all is as it should be
    :ivar quick: part of the functional tests, too
    """

    title: str
    act: Callable[[Stage], None]
    quick: bool


BRANCHES: list[Branch] = []


def branch(title: str, *, quick: bool = False) -> Callable[[Callable[[Stage], None]], None]:
    """Puts a function into the list."""

    def add(act: Callable[[Stage], None]) -> None:
        BRANCHES.append(Branch(title, act, quick))

    return add
