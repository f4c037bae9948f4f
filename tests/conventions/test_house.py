"""The code is laid out as the documentation says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs import house

ROOT = Path(__file__).parents[2]


def _table(title: str) -> list[tuple[str, ...]]:
    """The rows of the table that follows a comment in CONTRIBUTING.rst."""
    table = (ROOT / "CONTRIBUTING.rst").read_text().partition(f".. {title}")[2]
    row = r"^   \* - (?!To change)(.+)\n     - ``(.+)``\n     - ``(.+)``$"
    return re.findall(row, table.partition(".. end")[0], re.MULTILINE)


def test_at_most_ten_modules_are_directly_in_volflow() -> None:
    modules = [path.name for path in (ROOT / "volflow").glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= 10, sorted(modules)


def test_the_guide_shows_the_way_to_ten_things() -> None:
    assert len(_table("where to look")) == 10


@pytest.mark.parametrize(("goal", "path", "name"), _table("where to look"))
def test_what_the_guide_points_to_is_there(goal: str, path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    for part in name.split("."):
        body = [
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part
        ]
        assert body, f"CONTRIBUTING.rst: for {goal}, {path} should hold {name}"
        tree = body[0]


def test_the_guide_has_a_line_for_each_package_of_the_layers() -> None:
    names = [name for layer in house.layers() for name in layer]
    assert list(house.rooms()) == [*names, house.BESIDE]


def test_the_picture_of_the_house_is_that_of_the_layers() -> None:
    assert house.PICTURE.read_text() == house.draw(), "run: python docs/house.py"


def test_one_module_starts_programs() -> None:
    """Only what starts programs can make sure that they end."""
    starts = re.compile(
        r"^\s*(import|from) (subprocess|pty|multiprocessing)\b"
        r"|\bos\.(system|popen|fork|forkpty|posix_spawnp?|spawn\w+|exec\w+)\(",
        re.MULTILINE,
    )
    # comparison.py and imaging.py are themselves programs, which run in a namespace and end with
    # it; so is freezing.py, which must outlive volflow to thaw, and then ends.
    allowed = {
        "volflow/host/program.py",
        "volflow/host/freezing.py",
        "volflow/disk/comparison.py",
        "volflow/disk/imaging.py",
    }
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "volflow").rglob("*.py")
        if starts.search(path.read_text())
    }
    assert found == allowed
