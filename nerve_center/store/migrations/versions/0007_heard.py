"""When an agent counts as heard: its last report, or later where the center itself could not hear."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Presence is computed from `heard_us` from here on, and its index has it."""
    op.add_column("agents", sa.Column("heard_us", sa.BigInteger))
    op.execute("UPDATE agents SET heard_us = last_report_us")
    op.drop_index("ix_agents_presence", "agents")
    op.create_index(
        "ix_agents_presence", "agents", ["goodbye_us", "heard_us", "interval_s", "maintenance_until_us"]
    )
