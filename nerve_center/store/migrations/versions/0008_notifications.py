"""Messages on their way to people, and what each route has been told."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables and drop the mark."""
    op.drop_index("ix_threat_log_pending", "threat_log")
    with op.batch_alter_table("threat_log") as table:
        table.drop_column("pending")
    op.create_table(
        "outbox",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("target", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claimed_until_us", sa.BigInteger),
        sa.Column("done_us", sa.BigInteger),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_outbox_due", "outbox", ["done_us", "due_us"])
    op.create_table(
        "told",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column(
            "threat_key", sa.Integer, sa.ForeignKey("threats.key"), primary_key=True, autoincrement=False
        ),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("times_opened", sa.Integer, nullable=False),
        sa.Column("told_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_told_threat", "told", ["threat_key"])
