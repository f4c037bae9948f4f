"""What can go wrong with the state database, each with a message that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


class StateError(Exception):
    """Base of every error that this package raises on purpose."""


class StateUnavailable(StateError):
    """The database cannot be read or written: a full disk, no right, a lock, no server.

    :param where: path of the file, or URL of the server with its password masked.
    :param reason: what is wrong.
    :param action: what the operator can do about it.
    """

    def __init__(self, where: str, reason: str, action: str) -> None:
        super().__init__(f"The state database {where} is unavailable: {reason}. {action}")
        self.where = where
        self.reason = reason
        self.action = action


class SchemaOutOfDate(StateError):
    """The tables are not those that this program works with.

    :param where: path of the file, or URL of the server with its password masked.
    :param found: the revision in the database, None when it has no tables of ours yet.
    :param wanted: the revision that this program needs.
    :param newer: whether a newer program made the tables, so that migrating cannot help.
    """

    def __init__(self, where: str, found: str | None, wanted: str, *, newer: bool = False) -> None:
        if newer:
            advice = "A newer release of this program made it: use that release."
        else:
            advice = (
                "Bring it up to date once, while nothing else uses it: 'volflow state migrate', "
                "or State.migrate(url) from a program."
            )
        super().__init__(
            f"The state database {where} is at schema {found or 'none'}, "
            f"and this program needs {wanted}. {advice}"
        )
        self.where = where
        self.found = found
        self.wanted = wanted
        self.newer = newer


class NotFound(StateError):
    """Nothing has this id, key, tag or prefix.

    :param what: the kind of thing: ``run``, ``item``, ``ledger entry``, ``backup``.
    :param key: what was asked for.
    """

    def __init__(self, what: str, key: str) -> None:
        super().__init__(f"There is no {what} {key!r}.")
        self.what = what
        self.key = key


class Ambiguous(StateError):
    """A prefix fits several.

    :param what: the kind of thing: ``run``, ``backup``.
    :param prefix: what was asked for.
    :param matches: what it fits, at most ten of them, newest first.
    """

    def __init__(self, what: str, prefix: str, matches: Sequence[str]) -> None:
        super().__init__(f"{prefix!r} fits more than one {what}: {', '.join(matches)}.")
        self.what = what
        self.prefix = prefix
        self.matches = tuple(matches)


class Held(StateError):
    """Somebody else has the lease.

    :param name: the lease.
    :param owner: who has it; None when it was lost and nobody has it any more.
    :param until: when it ends unless it is renewed, aware UTC; None when nobody has it.
    """

    def __init__(self, name: str, owner: str | None, until: datetime | None) -> None:
        if owner is None or until is None:
            text = f"The lease {name!r} was lost: it ran out, or was released, and is held no more."
        else:
            text = f"The lease {name!r} is held by {owner!r} until {until.isoformat(' ')}."
        super().__init__(text)
        self.name = name
        self.owner = owner
        self.until = until
