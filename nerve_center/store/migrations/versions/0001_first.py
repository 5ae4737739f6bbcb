"""The first tables: agents and their instances, streams with their marks, records, threats, API tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; what they hold is told in `store.tables`."""
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "agents",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("agent_version", sa.String(64), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("interval_s", sa.Float, nullable=False),
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("boot_id", sa.String(64)),
        sa.Column("registered_us", sa.BigInteger, nullable=False),
        sa.Column("last_registered_us", sa.BigInteger, nullable=False),
        sa.Column("last_report_us", sa.BigInteger),
        sa.Column("goodbye_us", sa.BigInteger),
        sa.Column("maintenance_until_us", sa.BigInteger),
        sa.Column("clock_skew_s", sa.Float),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("gaps", sa.Integer, nullable=False),
    )
    op.create_table(
        "instances",
        sa.Column("instance_id", sa.String(32), primary_key=True),
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), nullable=False, index=True),
        sa.Column("claimed_id", sa.String(64), nullable=False),
        sa.Column("credential_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("enrolled_us", sa.BigInteger, nullable=False),
        sa.Column("last_seen_us", sa.BigInteger, nullable=False),
        sa.Column("last_report_us", sa.BigInteger),
        sa.Column("goodbye_us", sa.BigInteger),
        sa.Column("superseded_us", sa.BigInteger),
        sa.Column("revoked_us", sa.BigInteger),
    )
    op.create_table(
        "streams",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), nullable=False),
        sa.Column("epoch", sa.LargeBinary(8), nullable=False),
        sa.Column("stream", sa.String(16), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("tag", sa.LargeBinary(8), nullable=False),
        sa.Column("duplicates", sa.BigInteger, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("agent_key", "epoch", "stream"),
    )
    # On PostgreSQL the keeper makes a partition for each day (`store.partitions`); the rest is for what is of no day.
    _record_table(
        "samples",
        sa.Column("data", sa.LargeBinary, nullable=False),
        postgresql_partition_by="RANGE (time_us)",
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE samples_rest PARTITION OF samples DEFAULT")
    _record_table(
        "events",
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    _record_table(
        "gaps",
        sa.Column("from_seq", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
    )
    op.create_table(
        "skipped",
        sa.Column("stream_key", sa.Integer, sa.ForeignKey("streams.key"), primary_key=True),
        sa.Column("from_seq", sa.BigInteger, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(32), primary_key=True),
        sa.Column("instance_id", sa.String(32), nullable=False, index=True),
        sa.Column("place", sa.String(32)),
        sa.Column("first_us", sa.BigInteger, nullable=False),
        sa.Column("accepted_us", sa.BigInteger),
        sa.Column("cloned_us", sa.BigInteger),
    )
    op.create_table(
        "threats",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), nullable=False),
        sa.Column("fingerprint", sa.String(128), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("evidence", sa.LargeBinary, nullable=False),
        sa.Column("opened_us", sa.BigInteger, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sa.Column("cleared_us", sa.BigInteger),
        sa.Column("times_opened", sa.Integer, nullable=False),
        sa.UniqueConstraint("agent_key", "fingerprint"),
    )
    op.create_index("ix_threats_state", "threats", ["state"])
    op.create_table(
        "api_tokens",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )


def _record_table(
    name: str, *columns: "sa.Column[bytes] | sa.Column[str] | sa.Column[int]", **options: str
) -> None:
    op.create_table(
        name,
        sa.Column("agent_key", sa.Integer, sa.ForeignKey("agents.key"), primary_key=True),
        sa.Column("time_us", sa.BigInteger, primary_key=True),
        sa.Column("tag", sa.LargeBinary(8), primary_key=True),
        sa.Column("stream_key", sa.Integer, sa.ForeignKey("streams.key"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("received_us", sa.BigInteger, nullable=False),
        *columns,
        sqlite_with_rowid=False,
        **options,
    )
