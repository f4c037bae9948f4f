"""The command line uses the public API, as any other program can."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import volflow
import volflow.cli

MODULES = sorted(Path(volflow.cli.__file__).parent.glob("*.py"))
# These show output and define the login's options; they do none of a command's work.
TERMINAL = {
    "volflow.cloud.clouds_yaml",
    "volflow.logs",
    "volflow.printable",
    "volflow.report.remarks",
    "volflow.report.words",
    "volflow.results",
    "volflow.results.outcome",
}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_command_line_imports_nothing_that_does_the_work(module: Path) -> None:
    for name, imported in _imports(module):
        if name == "volflow":
            assert imported in {*volflow.__all__, "logs", "times"}
        elif name.partition(".")[0] in ("volflow", "persistence"):
            assert name.startswith("volflow.cli") or name in TERMINAL


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_command_line_does_not_reach_behind_the_api(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "context" not in names


def _imports(module: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
