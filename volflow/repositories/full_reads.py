"""When a backup reads every file again, although most have not changed."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from volflow.movers.base import StoredBackup


def is_due(volume_id: str, taken_at: datetime, last: datetime, every: timedelta) -> bool:
    """Whether a backup should read everything.

    Time is divided into periods, which begin at another moment for each volume: so the full reads
    of many volumes do not fall on the same night. The first backup in a period reads everything.

    :param taken_at: the time of the data
    :param last: the time of the data that was last read completely
    :param every: the length of a period; zero for never
    """
    period = every.total_seconds()
    if not period:
        return False
    digest = hashlib.sha256(volume_id.encode()).digest()
    offset = period * int.from_bytes(digest[:8], "big") / 2**64
    slots = [(moment.timestamp() + offset) // period for moment in (taken_at, last)]
    # One later than this backup comes from a wrong clock.
    return slots[0] != slots[1]


def last(parent: StoredBackup) -> datetime:
    """The time of the data of the last full read, as far as a backup knows it."""
    # Release 0.1.0 did not record it: its backup counts as one.
    return parent.full_at or parent.taken_at
