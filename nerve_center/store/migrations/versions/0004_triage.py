"""Threats are triaged: what people did beside what the agent says, silences, and what became of each threat."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what `store.tables` tells; a threat that is there already has not been looked at."""
    op.drop_index("ix_threats_state", "threats")
    with op.batch_alter_table("threats") as table:
        table.alter_column("agent_key", existing_type=sa.Integer, nullable=True)
        table.add_column(sa.Column("subject", sa.String(128), nullable=False, server_default=""))
        table.add_column(sa.Column("rank", sa.Integer, nullable=False, server_default="1"))
        table.add_column(sa.Column("triage", sa.String(16), nullable=False, server_default="none"))
        table.add_column(sa.Column("triaged_us", sa.BigInteger))
        table.add_column(sa.Column("triaged_by", sa.String(128)))
        table.add_column(sa.Column("status", sa.String(16), nullable=False, server_default="open"))
        table.add_column(sa.Column("title", sa.Text, nullable=False, server_default=""))
        table.add_column(sa.Column("more", sa.LargeBinary))
    op.execute("UPDATE threats SET status = state, subject = fingerprint, title = type")
    for rank, severity in enumerate(("low", "medium", "high", "critical"), start=1):
        op.execute(
            sa.text("UPDATE threats SET rank = :rank WHERE severity = :severity").bindparams(
                rank=rank, severity=severity
            )
        )
    op.create_index("ix_threats_newest", "threats", ["status", "opened_us", "key"])
    op.create_index("ix_threats_worst", "threats", ["status", "rank", "opened_us", "key"])
    op.create_index("ix_threats_alike", "threats", ["type", "subject", "status"])
    op.create_table(
        "threat_log",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("threat_key", sa.Integer, sa.ForeignKey("threats.key"), nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(128)),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
    )
    op.create_index("ix_threat_log_threat", "threat_log", ["threat_key", "key"])
    op.create_index("ix_threat_log_pending", "threat_log", ["pending", "key"])
    op.create_table(
        "silences",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key")),
        sa.Column("fingerprint", sa.String(128)),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("label_name", sa.String(256)),
        sa.Column("label_value", sa.String(256)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("until_us", sa.BigInteger),
        sa.Column("until_cleared", sa.Integer, nullable=False),
        sa.Column("ended_us", sa.BigInteger),
    )
    op.create_index("ix_silences_ended", "silences", ["ended_us"])
    op.create_index("ix_silences_agent", "silences", ["agent_key", "fingerprint"])
    op.create_index("ix_events_time", "events", ["time_us", "agent_key", "tag"])
    op.create_index("ix_events_kind", "events", ["kind", "time_us", "agent_key", "tag"])
