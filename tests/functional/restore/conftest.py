"""The lab and the stage for all branches, and the table in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.driver import ready
from tests.support.site import Site, new_site
from tests.support.stage import Stage

for part in ("targets", "properties", "several", "elsewhere", "looking"):
    pytest.register_assert_rewrite(f"tests.functional.restore.{part}")

ROWS = pytest.StashKey[list[tuple[str, ...]]]()
HEADINGS = ("Branch", "Data", "Properties", "Seconds", "Result")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture(scope="session")
def shared(scratch: Path, the_lab: Any, api: Any) -> Iterator[Site]:
    # What processes are forked from that are to be killed belongs to the tests.
    ready()
    with new_site(scratch, the_lab, api) as found:
        yield found


@pytest.fixture(scope="session")
def stage(shared: Site) -> Stage:
    """A volume with everything odd in it, to be copied."""
    return Stage.make(shared)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    title = getattr(getattr(item, "callspec", None), "params", {}).get("branch")
    if title is not None and (call.when == "call" or report.failed or report.skipped):
        seen = dict(item.user_properties)
        item.config.stash[ROWS].append(
            (
                title.title,
                str(seen.get("data", "-")),
                str(seen.get("properties", "-")),
                f"{report.duration:.1f}",
                "ok" if report.passed else report.outcome.upper(),
            )
        )
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section("every branch of a restore")
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    for row in [HEADINGS, tuple("-" * width for width in widths), *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
    good = sum(row[-1] == "ok" for row in rows)
    terminalreporter.write_line(f"{good} of {len(rows)} branches are as they should be")
