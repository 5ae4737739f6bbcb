"""The built packages on a host: the ones under test, and the same tree as the next version."""

from __future__ import annotations

import shutil
from pathlib import Path

from .host import Host
from .roots import packages

_SCRIPTS = "/usr/lib/python3/dist-packages/nerve_center/store/migrations/versions"
_MIGRATION = '''"""What the next version adds."""

import sqlalchemy as sa
from alembic import op

revision = "{number:04d}"
down_revision = "{before:04d}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column and a table."""
    op.add_column("agents", sa.Column("of_the_next_version", sa.Text))
    op.create_table("of_the_next_version", sa.Column("key", sa.Integer, primary_key=True))
'''


def bring(host: Host, folder: str = "deb") -> str:
    """Copy the built packages onto a host; returns where they are."""
    to = Path(f"/proc/{host.leader}/root/srv/{folder}")
    to.mkdir(parents=True, exist_ok=True)
    for deb in packages(folder):
        shutil.copy(deb, to)
    return f"/srv/{folder}"


def upgrade_center(host: Host) -> str:
    """Upgrade a nerve center to the next version, whose tables are newer; returns their number."""
    newest = int(host.run(f"ls {_SCRIPTS} | grep '^[0-9]' | sort | tail -n 1")[:4])
    number = f"{newest + 1:04d}"
    # The running one has read its scripts already; the package leaves this one alone.
    host.write(f"{_SCRIPTS}/{number}_next.py", _MIGRATION.format(number=newest + 1, before=newest))
    host.run(f"dpkg -i {bring(host, 'deb-next')}/dio-nerve-center_*.deb")
    return number
