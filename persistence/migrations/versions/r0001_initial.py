"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from persistence.columns import FreeText, Json, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "run",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("request", Json, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("boot_id", sa.String(255), nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("logbook_id", sa.String(64)),
        sa.Column("stop", sa.String(16)),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("finished_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
    )
    op.create_index("ix_run_state", "run", ["state"])
    op.create_index("ix_run_created_at_id", "run", ["created_at", "id"])
    op.create_table(
        "run_item",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", FreeText, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("flow_id", sa.String(64)),
        sa.Column("step", FreeText),
        sa.Column("result", Json, nullable=False),
        sa.Column("error", FreeText),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.PrimaryKeyConstraint("run_id", "key", name="pk_run_item"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_run_item_run_id_run", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "ledger",
        sa.Column(
            "serial",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("tag", sa.String(255), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("item", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("resource_id", FreeText),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", FreeText),
        sa.Column("details", Json, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_ledger"),
        sa.UniqueConstraint("tag", name="uq_ledger_tag"),
    )
    op.create_index("ix_ledger_run_id", "ledger", ["run_id"])
    op.create_index("ix_ledger_state", "ledger", ["state"])
    op.create_table(
        "backup",
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("volume_id", sa.String(255), nullable=False),
        sa.Column("volume_name", FreeText, nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("size_gib", sa.BigInteger, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("parent_id", sa.String(255)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("figures", Json, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("repository", "id", name="pk_backup"),
    )
    op.create_index("ix_backup_volume_id", "backup", ["volume_id"])
    op.create_index("ix_backup_project_id", "backup", ["project_id"])
    op.create_index("ix_backup_created_at", "backup", ["created_at"])
    op.create_table(
        "lease",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("lease", "backup", "ledger", "run_item", "run"):
        op.drop_table(table)
