"""What the keeper works with: its lease, the history of states, rollups and what retention has removed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; what they hold is told in `store.tables`."""
    leases = op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(leases, [{"name": "keeper", "holder": "", "beat": 0}])
    op.create_table(
        "agent_states",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("until_us", sa.BigInteger),
    )
    op.create_index("ix_agent_states_agent_since", "agent_states", ["agent_key", "since_us"])
    op.create_index("ix_agent_states_until_agent", "agent_states", ["until_us", "agent_key"])
    op.create_index("ix_agent_states_since", "agent_states", ["since_us"])
    op.add_column("agents", sa.Column("rolled_hour", sa.Integer, nullable=False, server_default="0"))
    op.add_column("agents", sa.Column("raw_hour", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "dirty_hours",
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("mark", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "minutes",
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quarters",
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("coarse", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "removed",
        sa.Column("stream_key", sa.Integer, sa.ForeignKey("streams.key"), primary_key=True),
        sa.Column("from_seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
