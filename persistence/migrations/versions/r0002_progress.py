"""The progress of an item while it is worked on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from persistence.columns import Json

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column. Ended items do not need it."""
    op.add_column("run_item", sa.Column("progress", Json))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("run_item", "progress")
