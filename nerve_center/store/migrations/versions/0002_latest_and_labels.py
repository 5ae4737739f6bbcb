"""The newest figures of each agent and its labels in tables of their own, for pages about the whole fleet."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both, with a row for every agent that is there; the figures come with its next report."""
    op.create_table(
        "latest",
        sa.Column(
            "agent_key", sa.Integer, sa.ForeignKey("agents.key"), primary_key=True, autoincrement=False
        ),
        sa.Column("time_us", sa.BigInteger),
        sa.Column("cpu_percent", sa.Float, index=True),
        sa.Column("memory_percent", sa.Float, index=True),
        sa.Column("disk_percent", sa.Float, index=True),
        sa.Column("disk_mount", sa.String(255)),
        sa.Column("load_1m", sa.Float),
        sa.Column("course", sa.Text, nullable=False),
    )
    op.create_table(
        "labels",
        sa.Column(
            "agent_key", sa.Integer, sa.ForeignKey("agents.key"), primary_key=True, autoincrement=False
        ),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_labels_name", "labels", ["name", "value", "agent_key"])
    op.create_index("ix_agents_hostname", "agents", ["hostname", "id"])
    op.create_index(
        "ix_agents_presence", "agents", ["goodbye_us", "last_report_us", "interval_s", "maintenance_until_us"]
    )
    op.execute("INSERT INTO latest (agent_key, course) SELECT key, '' FROM agents")
    connection = op.get_bind()
    for key, text in connection.execute(sa.text("SELECT key, labels FROM agents")).fetchall():
        for name, value in json.loads(text).items():
            connection.execute(
                sa.text("INSERT INTO labels (agent_key, name, value) VALUES (:key, :name, :value)"),
                {"key": key, "name": name, "value": value},
            )
