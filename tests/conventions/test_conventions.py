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


def files(pattern: str) -> list[Path]:
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
    lengths = {name(path): len(path.read_text().splitlines()) for path in files("**/*.py")}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_no_test_file_changes_the_import_path() -> None:
    changes = re.compile(r"\bsys\.path\.|\bsys\.path\[|\bsys\.path \+?=|\bsyspath_prepend\b")
    changing = [path for path in files("**/*.py") if changes.search(path.read_text())]
    assert changing == []


def test_every_test_function_says_what_must_hold() -> None:
    short = [
        f"{name(path)}: {function}"
        for path in files("**/test_*.py")
        for function in functions(path)
        if len(function.removeprefix("test_").split("_")) < FEWEST_WORDS
    ]
    assert short == []


@pytest.mark.parametrize("path", files("unit/**/test_*.py"), ids=name)
def test_a_unit_test_mirrors_a_module(path: Path) -> None:
    """``test_quota.py`` and ``test_quota_of_types.py`` test a module or package ``quota``."""
    directory = path.parent.relative_to(TESTS / "unit")
    modules = [
        module.stem.strip("_")
        for package in (CHECKOUT, CHECKOUT / "volflow")
        for module in package.joinpath(directory).glob("*")
        if module.suffix == ".py" or module.joinpath("__init__.py").exists()
    ]
    subject = path.stem.removeprefix("test_")
    assert any(f"{subject}_".startswith(f"{module}_") for module in modules)
