"""What retention removes besides samples, and how the space comes back."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.engine import Connection

from nerve_center.store.tables import agent_states, agents, minutes, quarters

_SPARE_PAGES = 4096
"""Free pages that stay in the file for what comes next: 16 MiB."""
_WAL_BYTES = 64 * 1024 * 1024


def agent_keys(connection: Connection, after: int, limit: int) -> list[int]:
    """Up to `limit` agents behind `after`."""
    query = select(agents.c.key).where(agents.c.key > after).order_by(agents.c.key).limit(limit)
    return [row.key for row in connection.execute(query)]


def remove_rollups(connection: Connection, agent_key: int, before_hour: int, before_day: int) -> int:
    """Remove an agent's minutes and quarters from before an hour and a day; how many rows."""
    done = connection.execute(
        minutes.delete().where(minutes.c.agent_key == agent_key, minutes.c.hour < before_hour)
    ).rowcount
    done += connection.execute(
        quarters.delete().where(quarters.c.agent_key == agent_key, quarters.c.day < before_day)
    ).rowcount
    return int(done)


def remove_states(connection: Connection, agent_key: int, before_us: int, limit: int) -> int:
    """Remove up to `limit` states of an agent that were over before a time; how many."""
    old = (
        select(agent_states.c.key)
        .where(agent_states.c.agent_key == agent_key, agent_states.c.since_us < before_us)
        .where(agent_states.c.until_us < before_us)
        .limit(limit)
    )
    return int(connection.execute(agent_states.delete().where(agent_states.c.key.in_(old))).rowcount)


def free_pages(connection: Connection) -> int:
    """How many pages of an SQLite file could be given back; 0 elsewhere."""
    if connection.dialect.name != "sqlite":
        return 0
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
    return max(0, int(free) - _SPARE_PAGES)


def give_back(connection: Connection, pages: int) -> None:
    """Give up to `pages` free pages back to the file system, at this transaction's commit."""
    # The driver takes one step of a statement that has no columns, and a step of this one gives back one page.
    cursor = connection.connection.cursor()
    for _ in range(pages):
        cursor.execute("PRAGMA incremental_vacuum(1)")


def wal_is_large(database: Path) -> bool:
    """Whether the write-ahead log of an SQLite database has outgrown its bound."""
    try:
        return database.with_name(database.name + "-wal").stat().st_size > _WAL_BYTES
    except FileNotFoundError:
        return False
