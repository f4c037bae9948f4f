"""Makes the cells that a command prints harmless for terminals, spreadsheets and shells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from cliff.columns import FormattableColumn

from volflow.printable import printable, printable_lines

# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@")
# What a shell interprets between double quotes; the formatter handles the quotes.
_OBEYED = re.compile(r"[\\$`]")


def harmless(formatter: str, cells: Iterable[Any]) -> list[Any]:
    """Make a row of cells safe for one of cliff's formatters.

    JSON and YAML escape every text themselves. The others do not.
    """
    clean = _CLEAN.get(formatter)
    return list(cells) if clean is None else [clean(cell) for cell in cells]


def _plain(cell: Any) -> Any:
    if isinstance(cell, (dict, list, tuple)):
        # Programs cannot read back Python's own representation.
        return json.dumps(cell)
    return printable(cell) if isinstance(cell, str) else cell


def _spreadsheet(cell: Any) -> Any:
    text = _plain(cell)
    if not isinstance(text, str):
        return text
    # A single dash stands for no value.
    return f"'{text}" if text.startswith(_FORMULA) and text != "-" else text


def _shell(cell: Any) -> Any:
    value = cell.machine_readable() if isinstance(cell, FormattableColumn) else cell
    return _OBEYED.sub(r"\\\g<0>", printable_lines(str(value)))


_CLEAN: dict[str, Callable[[Any], Any]] = {
    "csv": _spreadsheet,
    "shell": _shell,
    "table": _plain,
    "value": _plain,
}
