"""A day's samples go as a whole, on PostgreSQL: its partition is dropped. No row is deleted, and nothing is vacuumed.

What retention removes has to stand in `removed`, by seq, and a day of a large fleet is too much for one transaction:

1. `begin`: once all its rollups are made, the partition is taken out of `samples`, in one short transaction; from then
   on an agent's hours in it count as removed (`agents.raw_hour`). What comes late for them goes to the rest.
2. `account`: agent by agent, what it holds is written into `removed`. `meta` says how far that is: up to there an
   agent's samples are removed ones, behind it the continuity report still finds them by `seqs`.
3. `finish`: the table is dropped.

One day at a time, by the keeper, and safe to go on with after an end anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import exists, select, text
from sqlalchemy.engine import Connection

from nerve_center.store import removal, settings
from nerve_center.store.engine import is_postgresql
from nerve_center.store.partitions import be_brief, table_of
from nerve_center.store.tables import agents, dirty_hours, meta

_NAME = "retiring"
_HOURS = 24
_SEAL = """
    UPDATE agents SET raw_hour = held.hour FROM (
        SELECT key, (SELECT max(time_us) FROM {0} WHERE agent_key = agents.key) / {1} + 1 AS hour
        FROM agents
    ) AS held WHERE held.key = agents.key AND held.hour > agents.raw_hour
"""
# Step by step along the index: a plain DISTINCT would read every row.
_AGENTS = """
    WITH RECURSIVE held AS (
        (SELECT agent_key FROM {0} WHERE agent_key > :after ORDER BY agent_key LIMIT 1)
        UNION ALL
        SELECT (SELECT min(agent_key) FROM {0} WHERE agent_key > held.agent_key)
        FROM held WHERE held.agent_key IS NOT NULL
    )
    SELECT agent_key FROM held WHERE agent_key IS NOT NULL LIMIT :most
"""
_RANGES = """
    SELECT stream_key, min(seq), max(seq) FROM (
        SELECT stream_key, seq, seq - row_number() OVER (PARTITION BY stream_key ORDER BY seq) AS run
        FROM {0} WHERE agent_key > :after AND agent_key <= :last
    ) AS numbered GROUP BY stream_key, run
"""


class Retiring(NamedTuple):
    """The day (since 1970) that is being taken away, and the last agent whose samples of it are accounted for."""

    day: int
    after: int


def now(connection: Connection) -> Retiring | None:
    """What is being taken away; None where nothing is, as on SQLite always."""
    found = settings.get(connection, _NAME) if is_postgresql(connection) else None
    return None if found is None else Retiring(*(int(word) for word in found.split()))


def begin(connection: Connection, day: int) -> bool:
    """Take a day's partition out; False where rollups of it are still to be made. In a transaction that is alone."""
    end = (day + 1) * _HOURS
    waits = exists().where(dirty_hours.c.hour < end), exists().where(agents.c.rolled_hour < end)
    if connection.execute(select(*waits)).one() != (False, False):
        return False
    be_brief(connection)
    connection.exec_driver_sql(f"ALTER TABLE samples DETACH PARTITION {table_of(day)}")
    connection.exec_driver_sql(_SEAL.format(table_of(day), removal.HOUR_US))
    settings.put(connection, _NAME, f"{day} -1")
    return True


def account(connection: Connection, at: Retiring, most: int) -> Retiring | None:
    """Write down what was removed of the next `most` agents; how far it is now, None where that were all."""
    name = table_of(at.day)
    keys = list(connection.execute(text(_AGENTS.format(name)), {"after": at.after, "most": most}).scalars())
    if not keys:
        return None
    found = connection.execute(text(_RANGES.format(name)), {"after": at.after, "last": keys[-1]})
    removal.note(connection, [(stream, first, last) for stream, first, last in found])
    settings.put(connection, _NAME, f"{at.day} {keys[-1]}")
    return at._replace(after=keys[-1])


def finish(connection: Connection, day: int) -> None:
    """Drop what is accounted for. In a transaction that is alone."""
    be_brief(connection)
    connection.exec_driver_sql(f"DROP TABLE {table_of(day)}")
    connection.execute(meta.delete().where(meta.c.name == _NAME))


def seqs(connection: Connection, agent_key: int) -> Iterator[tuple[int, int]]:
    """Stream and seq of an agent's samples that are neither in `samples` any more nor in `removed` yet."""
    at = now(connection)
    if at is None or agent_key <= at.after:
        return
    query = text(f"SELECT stream_key, seq FROM {table_of(at.day)} WHERE agent_key = :agent_key")  # noqa: S608 ours
    yield from ((stream, seq) for stream, seq in connection.execute(query, {"agent_key": agent_key}))
