"""Column types that hold the same value on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

# MariaDB's TEXT is limited to 64 KiB, which the request of a run of a thousand volumes exceeds. For
# this length SQLAlchemy uses LONGTEXT.
_LONG_TEXT = sa.Text().with_variant(sa.Text(2**32 - 1), "mysql", "mariadb")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, to the microsecond.

    :raises ValueError: when a naive datetime is bound; guessing its zone would hide a mistake.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Use the type of the dialect that stores microseconds, and the time zone if it can."""
        if dialect.name in ("mysql", "mariadb"):
            # Dialects are imported only when they are used, because imports are slow.
            from sqlalchemy.dialects import mysql

            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert an aware datetime to the value that the database stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; use an aware datetime in UTC")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert the stored value to an aware datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A JSON document stored as text.

    The JSON types of the databases differ in what they accept and in how they sort keys. No SQL
    query searches these documents, so text works for all databases.

    :raises TypeError: when a value that is not valid in JSON is bound.
    """

    impl = _LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Serialize a value. Undecodable bytes of file names (lone surrogates) are preserved."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """Parse the stored document."""
        return None if value is None else json.loads(value)


class FreeText(TypeDecorator[str]):
    """Text from outside: names, error messages.

    It may contain file names with undecodable bytes (lone surrogates) or NUL characters, which no
    database accepts as text. They are stored escaped, so that no error message is lost.
    """

    impl = _LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Escape the characters that cannot be stored."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
