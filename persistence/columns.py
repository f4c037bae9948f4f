"""Column types that hold the same value on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

# MariaDB's TEXT ends at 64 KiB, which the request of a run over a thousand volumes exceeds. For one
# of so many bytes it takes its LONGTEXT.
_LONG_TEXT = sa.Text().with_variant(sa.Text(2**32 - 1), "mysql", "mariadb")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, to the microsecond.

    :raises ValueError: when a naive datetime is bound; guessing its zone would hide a mistake.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Use the type of ``dialect`` that keeps microseconds, and the zone where it can."""
        if dialect.name in ("mysql", "mariadb"):
            # A dialect is imported where it is used: others need not wait for it.
            from sqlalchemy.dialects import mysql

            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Turn ``value`` into what the database stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; times are aware, in UTC")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Turn what the database stores into an aware datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A JSON document kept as text.

    The databases' own JSON types differ in what they accept and in how they order it; nothing
    here is searched by SQL, so text serves all of them alike.

    :raises TypeError: when a value that JSON does not know is bound.
    """

    impl = _LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Serialise ``value``; undecodable bytes of file names (lone surrogates) survive."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """Parse what was stored."""
        return None if value is None else json.loads(value)


class FreeText(TypeDecorator[str]):
    """Text from outside: names, messages of errors.

    They may quote file names with undecodable bytes (lone surrogates) or NULs, which no database
    takes as text. Such characters are stored escaped: an error must not be lost for its spelling.
    """

    impl = _LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Escape what cannot be stored."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
