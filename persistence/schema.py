"""The tables. A change here needs a revision in ``migrations/versions`` and a new ``HEAD``."""

from __future__ import annotations

import sqlalchemy as sa

from persistence.columns import FreeText, Json, UtcDateTime

# Ids, keys and tags. Older row formats of MariaDB index at most 767 bytes of a key.
_KEY = sa.String(255)
_STATE = sa.String(16)
# SQLite numbers rows automatically only in a column declared exactly as INTEGER.
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("state", _STATE, nullable=False, index=True),
    sa.Column("request", Json, nullable=False),
    sa.Column("host", _KEY, nullable=False),
    sa.Column("boot_id", _KEY, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("logbook_id", sa.String(64)),
    sa.Column("stop", sa.String(16)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("held_at", UtcDateTime),
    sa.Index(None, "created_at", "id"),
)

run_item = sa.Table(
    "run_item",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("name", FreeText, nullable=False),
    sa.Column("state", _STATE, nullable=False),
    sa.Column("flow_id", sa.String(64)),
    sa.Column("step", FreeText),
    sa.Column("progress", Json),
    sa.Column("result", Json, nullable=False),
    sa.Column("error", FreeText),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
)

# No foreign key to run: the entry of a leftover must outlive its run.
ledger = sa.Table(
    "ledger",
    metadata,
    # The order in which resources were made; the newest is removed first. Clocks can step back.
    sa.Column("serial", _SERIAL, primary_key=True),
    sa.Column("tag", _KEY, nullable=False, unique=True),
    sa.Column("run_id", sa.String(64), nullable=False, index=True),
    sa.Column("item", _KEY, nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("resource_id", FreeText),
    sa.Column("state", _STATE, nullable=False, index=True),
    sa.Column("reason", FreeText),
    sa.Column("details", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

backup = sa.Table(
    "backup",
    metadata,
    sa.Column("repository", _KEY, primary_key=True),
    sa.Column("id", _KEY, primary_key=True),
    sa.Column("volume_id", _KEY, nullable=False, index=True),
    sa.Column("volume_name", FreeText, nullable=False),
    sa.Column("project_id", _KEY, nullable=False, index=True),
    sa.Column("size_gib", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("parent_id", _KEY),
    sa.Column("outcome", _STATE, nullable=False),
    sa.Column("figures", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", _KEY, primary_key=True),
    sa.Column("owner", _KEY, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("until", UtcDateTime, nullable=False),
)
