"""The marker of a branch: one course that a restore can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.stage import Stage

Act = Callable[[Stage], None]


def branch(title: str, *, quick: bool = False) -> Callable[[Act], Act]:
    """Mark a test as a branch of a restore.

    ``-m branch`` selects all of them. After the test, nothing temporary may remain on
    its stage; see ``tests/functional/restore/conftest.py``.

    :param title: the situation and what must happen, for the table
    :param quick: the functional tests run it too; the others are slow
    """

    def mark(act: Act) -> Act:
        marks: list[Any] = [pytest.mark.branch(title)]
        if not quick:
            marks.append(pytest.mark.slow)
        for each in marks:
            act = each(act)
        return act

    return mark
