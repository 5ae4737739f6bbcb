"""Threats of every status come in their order from an index, and messages are counted from one."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes."""
    op.create_index("ix_threats_opened", "threats", ["opened_us", "key"])
    op.create_index("ix_threats_rank", "threats", ["rank", "opened_us", "key"])
    op.create_index("ix_outbox_fate", "outbox", ["done_us", "failed"])
