"""The errors of the state database. Each message says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


class StateError(Exception):
    """Base of all errors that this package raises on purpose."""


class StateUnavailable(StateError):
    """The database cannot be read or written: full disk, no permission, a lock, no server.

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
    """The tables are of another schema revision than this program needs.

    :param where: path of the file, or URL of the server with its password masked.
    :param found: the revision in the database, None if it has no tables yet.
    :param wanted: the revision that this program needs.
    :param newer: whether a newer program made the tables, so that a migration cannot help.
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
    """No record has this id, key, tag or prefix.

    :param what: the kind of record: ``run``, ``item``, ``ledger entry``, ``backup``.
    :param key: the id, key, tag or prefix.
    """

    def __init__(self, what: str, key: str) -> None:
        super().__init__(f"There is no {what} {key!r}.")
        self.what = what
        self.key = key


class Ambiguous(StateError):
    """A prefix matches several records.

    :param what: the kind of record: ``run``, ``backup``.
    :param prefix: the prefix.
    :param matches: the ids that it matches, at most ten, newest first.
    """

    def __init__(self, what: str, prefix: str, matches: Sequence[str]) -> None:
        super().__init__(f"{prefix!r} fits more than one {what}: {', '.join(matches)}.")
        self.what = what
        self.prefix = prefix
        self.matches = tuple(matches)


class Held(StateError):
    """Another owner has the lease.

    :param name: the lease.
    :param owner: its owner; None if the lease was lost and has no owner now.
    :param until: when it ends unless it is renewed, aware UTC; None if it has no owner.
    """

    def __init__(self, name: str, owner: str | None, until: datetime | None) -> None:
        if owner is None or until is None:
            text = f"The lease {name!r} was lost: it expired or was released, and has no owner."
        else:
            text = f"The lease {name!r} is held by {owner!r} until {until.isoformat(' ')}."
        super().__init__(text)
        self.name = name
        self.owner = owner
        self.until = until
