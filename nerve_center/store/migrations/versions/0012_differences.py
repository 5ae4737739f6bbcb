"""Samples are kept by what differs from one of their hour: versions before this one cannot read them."""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: what is stored stays as it is, and is read as before."""
