"""Every branch, in its order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.functional.restore import elsewhere, looking, properties, several, targets
from tests.support.branch import BRANCHES, Branch
from tests.support.stage import Seen, Stage

# Each of them has its branches put into the list; so they come in the table.
ORDER = [part.__name__ for part in (targets, properties, several, elsewhere, looking)]
BRANCHES.sort(key=lambda branch: ORDER.index(branch.act.__module__))


@pytest.mark.lab
@pytest.mark.parametrize("branch", BRANCHES, ids=lambda branch: branch.title)
def test_branch(
    stage: Stage, branch: Branch, record_property: Callable[[str, object], None]
) -> None:
    stage.seen = Seen()
    try:
        branch.act(stage)
    finally:
        if stage.seen.data:
            record_property("data", _summed(stage.seen.data))
        if stage.seen.properties:
            record_property("properties", _summed(stage.seen.properties))
    stage.nothing_left()


def _summed(told: list[str]) -> str:
    """What was compared first, and how often more."""
    return told[0] if len(told) == 1 else f"{len(told)} x: {told[0]}"
