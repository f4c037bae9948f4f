"""Names that tenants choose are shown, and no terminal or shell interprets them."""

from __future__ import annotations

import csv
import io
import subprocess
from typing import Any

import pytest

from volflow.cli import columns
from volflow.cli.cells import harmless
from volflow.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("schön ☃ 漢字 👩‍👧", "schön ☃ 漢字 👩‍👧"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2J\x1b]0;x\x07", r"\x1b[2J\x1b]0;x\x07"),
        # Terminals interpret C1 control characters too.
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\u202egpj.exe\u2066\u200f", r"\u202egpj.exe\u2066\u200f"),
        ("\u2028\x00\x7f\ud800", r"\u2028\x00\x7f\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_lines_stay_lines() -> None:
    assert printable_lines("a\n\tb\r\n\x1b") == "a\n\tb\\r\n\\x1b"


def test_json_and_yaml_are_as_it_is() -> None:
    cells = ["\x1b=1+1\n", 1, None, ["=x"]]
    assert harmless("json", cells) == cells
    assert harmless("yaml", cells) == cells


@pytest.mark.parametrize("formatter", ["table", "value"])
def test_a_terminal_gets_no_control_characters(formatter: str) -> None:
    assert harmless(formatter, ["\x1b[31mred\n", 3, None]) == [r"\x1b[31mred\n", 3, None]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", r"\t=1"),
        ("web-01", "web-01"),
        ("-", "-"),
        (-5, -5),
    ],
)
def test_a_spreadsheet_gets_no_formulas(name: Any, cell: Any) -> None:
    assert harmless("csv", [name]) == [cell]


def test_a_row_of_csv_is_one_line() -> None:
    written = io.StringIO()
    csv.writer(written).writerow(harmless("csv", ["a\nb", 'q"uote', [{"x": 1}]]))
    assert written.getvalue().count("\n") == 1
    assert next(csv.reader([written.getvalue()])) == ["a\\nb", 'q"uote', '[{"x": 1}]']


@pytest.mark.parametrize(
    "name",
    ["$(echo pwned)", "`echo pwned`", "$HOME", '"; echo pwned; "', "\\", '\\"; echo x #', "'"],
)
def test_a_shell_gets_no_commands(name: str) -> None:
    """A user evaluates the output of ``-f shell``; cliff escapes the double quotes itself."""
    (cell,) = harmless("shell", [name])
    cell = cell.replace('"', '\\"')
    script = f'name="{cell}"\nprintf %s "$name"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == name


def test_columns_of_several_lines_are_escaped() -> None:
    assert columns.Lines(["a\nb", "\x1b"]).human_readable() == "a\\nb\n\\x1b"
    assert columns.Tree({"name": "\x1b[1m"}).human_readable() == r"name: \x1b[1m"
    (cell,) = harmless("shell", [columns.Lines(["$x"])])
    assert cell == r"['\$x']"
