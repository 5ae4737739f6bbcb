"""Samples may be deflated with one of the same hour as dictionary, where no version before this one reads them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; what is stored stays as it is."""
    op.create_table(
        "dictionaries",
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
