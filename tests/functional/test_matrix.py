"""The shortened fault matrix: each step with one fault, each fault at one place of each flow.

``tox -e faults`` runs the complete matrix.
"""

from __future__ import annotations

import sys

import pytest

from tests.fault_matrix.main import run
from tests.support.site import missing

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_no_fault_leaves_or_loses_anything(database: str) -> None:
    if why := missing():
        pytest.skip(why)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        # Shown at once with -s, and in the report of a failure.
        print(line, file=sys.stderr)

    status = run(
        short=True, kinds="faults", postgresql=database == "postgresql", workers=3, say=say
    )
    assert lines[-1].endswith("cells, 0 leaks, 0 losses"), "\n".join(lines)
    assert status == 0
