"""Values that look different in a table for people and in the output for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cliff.columns import FormattableColumn
from rich import filesize

from volflow import times
from volflow.printable import printable


class Bytes(FormattableColumn[int]):
    """A size in bytes."""

    def human_readable(self) -> str:
        return filesize.decimal(self._value)


class Seconds(FormattableColumn[float]):
    """A duration in seconds."""

    def human_readable(self) -> str:
        minutes, seconds = divmod(self._value, 60)
        hours, minutes = divmod(int(minutes), 60)
        if hours:
            return f"{hours} h {minutes:02d} min"
        return f"{minutes} min {seconds:02.0f} s" if minutes else f"{seconds:.1f} s"


class ShortId(FormattableColumn[str]):
    """The id of a backup or a run. The first eight characters suffice to name it."""

    def human_readable(self) -> str:
        return (self._value or "-")[:8]


class Time(FormattableColumn[datetime | None]):
    """A time: local with its offset for people, UTC for programs."""

    def human_readable(self) -> str:
        return times.local(self._value) if self._value else "-"

    def machine_readable(self) -> Any:
        return times.utc(self._value) if self._value else None


class Lines(FormattableColumn[Sequence[str]]):
    """Several texts, one per line.

    :param shown: what people see, if that is not all of them
    """

    def __init__(self, value: Sequence[str], shown: Sequence[str] | None = None) -> None:
        super().__init__(value)
        self._shown = value if shown is None else shown

    def human_readable(self) -> str:
        return "\n".join(map(printable, self._shown))

    def machine_readable(self) -> Any:
        return list(self._value)


class Tree(FormattableColumn[Any]):
    """Nested data, shown as indented lines.

    :param shown: what people see, if that is not all of it
    """

    def __init__(self, value: Any, shown: Any = None) -> None:
        super().__init__(value)
        self._shown = value if shown is None else shown

    def human_readable(self) -> str:
        return "\n".join(map(printable, _lines(self._shown)))


def _lines(value: Any, indent: str = "") -> list[str]:
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines += [f"{indent}{key}:", *_lines(item, indent + "  ")]
            else:
                lines.append(f"{indent}{key}: {'-' if item in (None, {}, [], '') else item}")
        return lines
    if isinstance(value, list):
        return [line for item in value for line in _lines(item, indent)]
    return [f"{indent}{value}"]
