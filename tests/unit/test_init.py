"""The names that ``volflow`` exports."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import volflow
from volflow import errors


@pytest.mark.parametrize("name", volflow.__all__)
def test_each_public_name_can_be_imported(name: str) -> None:
    assert getattr(volflow, name) is not None
    assert name in dir(volflow)


def test_the_homes_are_those_of_the_public_names() -> None:
    assert sorted(volflow._HOMES) == sorted(volflow.__all__)
    for name, home in volflow._HOMES.items():
        found = getattr(volflow, name)
        if inspect.isclass(found) and not home.startswith("persistence"):
            assert found.__module__ == home


def test_every_error_is_public() -> None:
    found = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    ]
    assert set(found) <= set(volflow.__all__)


def test_the_documentation_has_every_public_name() -> None:
    page = Path(__file__).parents[2] / "docs" / "api.rst"
    found = re.findall(r":: volflow\.(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    of_errors = {name for name in volflow.__all__ if volflow._HOMES[name] == "volflow.errors"}
    assert {*found} - {"errors"} | of_errors == set(volflow.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Backblow"):
        _ = volflow.Backblow


def test_importing_volflow_imports_no_library() -> None:
    program = (
        "import sys; before = set(sys.modules); import volflow; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) == {"volflow"}
