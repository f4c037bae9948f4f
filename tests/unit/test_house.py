"""How the code is laid out: what the documentation says of it holds."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_at_most_ten_modules_are_directly_in_volflow() -> None:
    modules = [path.name for path in (ROOT / "volflow").glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= 10, sorted(modules)
