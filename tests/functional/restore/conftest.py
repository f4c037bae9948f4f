"""The stage for the branches of a restore, and their table at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import new_site
from tests.support.stage import Seen, Stage

# The order of the table.
FILES = (
    *("in_place", "other_targets", "overwrite", "properties", "several", "elsewhere"),
    "looking",
)
HEADINGS = ("Branch", "Data", "Properties", "Seconds", "Result")

# The rows of the table, each with its file.
ROWS = pytest.StashKey[list[tuple[str, tuple[str, ...]]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture(scope="module")
def stage(scratch: Path, the_lab: Any, api: Any, fork_server: None) -> Iterator[Stage]:
    """A volume with every kind of file, which the branches of a file copy."""
    with new_site(scratch, the_lab, api) as site:
        yield Stage.make(site)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Record what a branch compared, and fail if anything temporary remains."""
    if pyfuncitem.get_closest_marker("branch") is None:
        return (yield)
    stage: Stage = pyfuncitem.funcargs["stage"]
    stage.seen = Seen()
    try:
        result = yield
    finally:
        for name in ("data", "properties"):
            if compared := getattr(stage.seen, name):
                pyfuncitem.user_properties.append((name, _summary(compared)))
    stage.nothing_left()
    return result


def _summary(compared: list[str]) -> str:
    """The first comparison, and the number of comparisons."""
    return compared[0] if len(compared) == 1 else f"{len(compared)} x: {compared[0]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    mark = item.get_closest_marker("branch")
    if mark is not None and (call.when == "call" or report.failed or report.skipped):
        seen = dict(item.user_properties)
        row = (
            mark.args[0],
            str(seen.get("data", "-")),
            str(seen.get("properties", "-")),
            f"{report.duration:.1f}",
            "ok" if report.passed else report.outcome.upper(),
        )
        item.config.stash[ROWS].append((item.path.stem.removeprefix("test_"), row))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    found = sorted(config.stash[ROWS], key=lambda pair: FILES.index(pair[0]))
    if not found:
        return
    rows = [row for _, row in found]
    terminalreporter.section("every branch of a restore")
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    for row in [HEADINGS, tuple("-" * width for width in widths), *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
    good = sum(row[-1] == "ok" for row in rows)
    terminalreporter.write_line(f"{good} of {len(rows)} branches are as they should be")
