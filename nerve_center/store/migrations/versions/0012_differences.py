"""Samples may be kept by what differs from one of their hour, where no version before this one reads them."""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: what is stored stays as it is, and is read as before."""
