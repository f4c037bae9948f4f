"""What the demo prints: sentences, the commands as typed, and each check with its finding."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# The width where there is no terminal: enough for the tables.
_WIDTH_OF_A_FILE = 110
_INDENT = 3


@dataclass(frozen=True)
class Finding:
    """What was expected, whether it is true, and what was found."""

    what: str
    good: bool
    found: str


class Narrator:
    """Prints the story on the standard output, and keeps the findings for the summary."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
        self._console = Console(width=width, highlight=False)
        self._findings: list[Finding] = []
        self._chapters = 0

    def title(self, text: str) -> None:
        self._console.print(Text(text, style="bold"))

    def chapter(self, title: str) -> None:
        self._chapters += 1
        self._console.print()
        self._console.print(Text(f"{self._chapters}. {title}", style="bold cyan"))

    def say(self, text: str) -> None:
        self._print(Text(text))

    def lines(self, lines: Sequence[str]) -> None:
        """Print text unchanged, such as the content of a file."""
        self._print(Text("\n".join(f"  {line}" for line in lines), style="dim"))

    def command(self, arguments: Sequence[str]) -> None:
        """Print a command that is about to run."""
        self._print(Text(f"$ {shlex.join(arguments)}", style="bold"))

    def check(self, what: str, good: bool, found: str) -> None:
        """Print a finding, and keep it for the summary."""
        self._findings.append(Finding(what, good, found))
        word = Text("ok      ", style="green") if good else Text("FAILED  ", style="bold red")
        self._print(word + Text(f"{what}: {found}"))

    def failed(self, text: str) -> None:
        """Print why the demo cannot continue."""
        self._console.print(Text(f"demo: {text}", style="bold red"))

    def summary(self, seconds: float) -> bool:
        """Print all findings again, as a table; return whether all are ok."""
        table = Table(box=box.SIMPLE, pad_edge=False)
        table.add_column("What was checked", ratio=5)
        table.add_column("Result")
        table.add_column("What was found", ratio=4, overflow="fold")
        for finding in self._findings:
            style, word = ("green", "ok") if finding.good else ("bold red", "FAILED")
            table.add_row(Text(finding.what), Text(word, style=style), Text(finding.found))
        self._console.print()
        self._console.print(table)
        bad = sum(not finding.good for finding in self._findings)
        text = f"{len(self._findings) - bad} checks are ok, {bad} failed, after {seconds:.0f} s."
        self._console.print(Text(text, style="bold red" if bad else "bold green"))
        return bad == 0

    def _print(self, text: Text) -> None:
        self._console.print(Padding(text, (0, 0, 0, _INDENT), expand=False))
