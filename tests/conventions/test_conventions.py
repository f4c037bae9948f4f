"""The conventions that CONTRIBUTING.rst states for tests hold for every test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
TESTS = CHECKOUT / "tests"
LONGEST = 400
FEWEST_WORDS = 3
# Which package the directories of tests/unit mirror, unless it is volflow.
PACKAGES = {"persistence": "persistence", "demo": "demo"}
# Tests of a package as a whole, below tests/unit.
WHOLE = {
    "api/test_threads.py",
    "cli/test_imports.py",
    "persistence/test_crash.py",
    "persistence/test_migrations.py",
    "persistence/test_open.py",
    "persistence/test_taskflow.py",
    "runs/test_first_release.py",
    "test_house.py",
}
# Still to follow: files with short names, too long a file, a file without its module.
PENDING = {
    "tests/support/fake_cinder.py",
    "tests/unit/report/test_report.py",
    "tests/unit/tasks/test_claim.py",
}
SHORT_NAMES = {
    "tests/unit/cloud/test_properties.py",
    "tests/unit/cloud/test_wait.py",
    "tests/unit/test_logs.py",
}


def files(pattern: str = "**/*.py") -> list[Path]:
    found = sorted(TESTS.glob(pattern))
    assert found
    return found


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def functions(path: Path) -> Iterator[str]:
    """The names of all test functions in a file, also those in classes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield node.name


def test_no_test_file_is_too_long() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in files()}
    assert {
        path: length for path, length in lengths.items() if length > LONGEST and path not in PENDING
    } == {}


def test_no_test_file_changes_the_import_path() -> None:
    changes = re.compile(r"\bsys\.path\.|\bsys\.path\[|\bsys\.path \+?=|\bsyspath_prepend\b")
    assert [
        name(path)
        for path in files()
        if path != Path(__file__) and changes.search(path.read_text())
    ] == []


def test_every_test_function_says_what_must_hold() -> None:
    short = [
        f"{name(path)}: {function}"
        for path in files("**/test_*.py")
        if name(path) not in SHORT_NAMES
        for function in functions(path)
        if len(function.removeprefix("test_").split("_")) < FEWEST_WORDS
    ]
    assert short == []


@pytest.mark.parametrize("path", files("unit/**/test_*.py"), ids=name)
def test_a_unit_test_mirrors_a_module(path: Path) -> None:
    """``test_quota.py`` is for ``quota.py``, and ``test_quota_of_types.py`` may be, too."""
    below = path.relative_to(TESTS / "unit")
    package = PACKAGES.get(below.parts[0])
    source = CHECKOUT / package if package else CHECKOUT / "volflow"
    directory = source.joinpath(*below.parts[1 if package else 0 : -1])
    words = ["__init__"] if path.stem == "test_init" else path.stem.removeprefix("test_").split("_")
    modules = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    if str(below) not in WHOLE and name(path) not in PENDING:
        assert any((directory / f"{module}.py").exists() for module in modules)
