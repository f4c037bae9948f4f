"""Times and sizes in words."""

from __future__ import annotations

from datetime import datetime

from rich import filesize

from volflow import times


def size(value: int) -> str:
    """A size in bytes."""
    return filesize.decimal(value)


def binary(value: int) -> str:
    """A size in bytes, in the units of Cinder."""
    number, unit = (value / 2**30, "GiB") if value >= 2**30 else (value / 2**20, "MiB")
    return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 0.095:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"


def age(seconds: float) -> str:
    """How long ago something was, in its largest unit or two."""
    if seconds < 60:
        return "less than a minute"
    days, rest = divmod(int(seconds), 86_400)
    if days >= 2:
        return plural(days, "day")
    hours, rest = divmod(rest + 86_400 * days, 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min"


def moment(when: float | datetime) -> str:
    """A local time with its offset."""
    return times.local(when)


def clock(when: float | datetime) -> str:
    """The time of day, to a tenth of a second."""
    local = _local(when)
    return f"{local:%H:%M:%S}.{local.microsecond // 100_000}"


def plural(count: int, noun: str) -> str:
    """A number and a noun, in the plural unless it is one."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def snapshotted(consistent: bool | None, *, planned: bool = False) -> str:
    """How the volumes of a group were snapshotted; None if it is not known."""
    when = "will be" if planned else "were"
    if consistent is None:
        return (
            f"whether its volumes {when} snapshotted at one moment is not known: Cinder shows only "
            "administrators what the type of the group promises"
        )
    return f"its volumes {when} snapshotted {'at one moment' if consistent else 'one by one'}"


def _local(when: float | datetime) -> datetime:
    if isinstance(when, datetime):
        return when.astimezone()
    return datetime.fromtimestamp(when).astimezone()
