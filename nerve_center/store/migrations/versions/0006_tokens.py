"""Tokens with a purpose and an end: API tokens get a scope, enrollment tokens a table and labels to give."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """API tokens that are there go on reading; hosts that are there were given no labels."""
    op.add_column("api_tokens", sa.Column("scope", sa.String(16), nullable=False, server_default="read"))
    op.add_column("api_tokens", sa.Column("expires_us", sa.BigInteger))
    op.add_column("agents", sa.Column("given_labels", sa.Text, nullable=False, server_default="{}"))
    op.create_table(
        "enrollment_tokens",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(96), nullable=False),
        sa.Column("expires_us", sa.BigInteger),
        sa.Column("uses_left", sa.Integer),
        sa.Column("used", sa.Integer, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
    )
