"""Times as they are shown: local with their offset for people, UTC for programs.

Both are ISO 8601 without spaces, so that they can be pasted into ``--at``.
"""

from __future__ import annotations

from datetime import UTC, datetime


def local(when: datetime | float) -> str:
    """A time for people, to the second: ``2026-02-28T23:00:00+01:00``.

    :param when: a time with its time zone, or seconds since the epoch
    """
    try:
        if not isinstance(when, datetime):
            when = datetime.fromtimestamp(when, UTC)
        when = when.astimezone()
    except OverflowError:
        # Near the first and the last year there is no local time.
        assert isinstance(when, datetime)
    return when.isoformat(timespec="seconds")


def utc(when: datetime) -> str:
    """A time for programs: ``2026-02-28T22:00:00Z``, with a fraction if it has one."""
    return when.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def at(text: str) -> datetime:
    """The time that a person gives; local time unless it names a time zone.

    A time without a fraction means the whole second: what :func:`local` shows includes what it
    was made from.

    :raises ValueError: it is not a time
    """
    found = datetime.fromisoformat(text.strip())
    if "." not in text and "," not in text:
        found = found.replace(microsecond=999_999)
    return found.astimezone()


def moment_of(text: str) -> datetime | None:
    """The moment that an ISO 8601 text names, UTC unless it says otherwise; None if it is none."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
