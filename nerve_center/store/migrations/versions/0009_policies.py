"""What agents are told: policies, what people marked as normal, and what each agent says of it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; agents that are there have said nothing of a policy yet."""
    op.add_column("agents", sa.Column("policy", sa.Text))
    op.create_table(
        "policies",
        sa.Column("label_name", sa.String(256), primary_key=True),
        sa.Column("label_value", sa.String(256), primary_key=True),
        sa.Column("interval_s", sa.Float),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sa.Column("updated_by", sa.String(128), nullable=False),
    )
    op.create_table(
        "tolerances",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key")),
        sa.Column("label_name", sa.String(256)),
        sa.Column("label_value", sa.String(256)),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.String(128), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("until_us", sa.BigInteger),
        sa.Column("ended_us", sa.BigInteger),
        sa.Column("ended_by", sa.String(128)),
    )
    op.create_index("ix_tolerances_ended", "tolerances", ["ended_us"])
