"""When a person stopped a run that nothing but a person shall continue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from persistence.columns import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column. Runs that were suspended before are not held."""
    op.add_column("run", sa.Column("held_at", UtcDateTime))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("run", "held_at")
