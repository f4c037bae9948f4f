"""The cells of what a command prints, made harmless for whoever reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from cliff.columns import FormattableColumn

from volflow.printable import printable, printable_lines

# By these a spreadsheet tells a formula.
_FORMULA = ("=", "+", "-", "@")
# What a shell obeys between double quotes; those themselves are the formatter's business.
_OBEYED = re.compile(r"[\\$`]")


def harmless(formatter: str, cells: Iterable[Any]) -> list[Any]:
    """A row of cells as this formatter of cliff may have them.

    JSON and YAML write every text so that it is read back as it was. The others do not.
    """
    clean = _CLEAN.get(formatter)
    return list(cells) if clean is None else [clean(cell) for cell in cells]


def _plain(cell: Any) -> Any:
    if isinstance(cell, (dict, list, tuple)):
        # Python's own way of writing them is nothing to read back.
        return json.dumps(cell)
    return printable(cell) if isinstance(cell, str) else cell


def _spreadsheet(cell: Any) -> Any:
    text = _plain(cell)
    if not isinstance(text, str):
        return text
    # A single dash is how nothing is shown.
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
