"""The report of a benchmark as Markdown: tables, and whether the targets are met."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

MB = 10**6


@dataclass(frozen=True)
class Target:
    """A figure and its limit."""

    what: str
    figure: float
    most: float

    @property
    def met(self) -> bool:
        return self.figure <= self.most


@dataclass
class Report:
    """The result of one benchmark.

    :ivar made: how the figures were measured
    """

    title: str
    made: str
    header: Sequence[str] = ()
    rows: list[Sequence[str | float]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    @property
    def met(self) -> bool:
        return all(target.met for target in self.targets)

    def __str__(self) -> str:
        parts = [f"## {self.title}", self.made, _table(self.header, self.rows)]
        if self.targets:
            rows = [
                (one.what, one.figure, one.most, "met" if one.met else "**missed**")
                for one in self.targets
            ]
            parts.append(_table(("target", "found", "at most", ""), rows))
        return "\n\n".join(parts) + "\n"


def machine() -> str:
    """The machine and the time of the measurement."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}, load {load}"
    )


def reference() -> float:
    """Processor seconds of a fixed piece of Python.

    On a shared machine the speed of the processor changes from minute to minute; this shows how
    much.
    """
    began = time.process_time()
    words: dict[int, str] = {}
    for number in range(600_000):
        words[number % 1000] = str(number)
    return time.process_time() - began


def say(text: str) -> None:
    """Print the progress of a benchmark. Its report comes at the end."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    lines = [list(header), *(list(map(_cell, row)) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    numeric = [
        bool(rows) and all(isinstance(row[place], (int, float)) for row in rows)
        for place in range(len(header))
    ]
    rule = ("-" * (w + 1) + (":" if n else "-") for w, n in zip(widths, numeric, strict=True))
    first, *others = (_line(line, widths, numeric) for line in lines)
    return "\n".join([first, f"|{'|'.join(rule)}|", *others])


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    columns = zip(cells, widths, numeric, strict=True)
    return "| " + " | ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in columns) + " |"


def _cell(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return str(value)
