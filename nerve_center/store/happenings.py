"""What the records of one host tell besides samples: events, gaps, samples that came late. By the primary key."""

from __future__ import annotations

import json
import zlib
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.engine import Connection

from nerve_center.store.tables import events, gaps, samples


class Told(NamedTuple):
    """An event or a threat record."""

    time_us: int
    kind: str
    data: dict[str, Any]


class Missing(NamedTuple):
    """A gap: records that are known to be missing."""

    time_us: int
    records: int
    reason: str


def told(
    connection: Connection, agent_key: int, since_us: int | None, until_us: int | None, limit: int
) -> list[Told]:
    """Up to `limit` events and threat records, the newest first."""
    query = select(events.c.time_us, events.c.kind, events.c.data)
    rows = connection.execute(_newest(query, events, agent_key, since_us, until_us, limit))
    return [Told(row.time_us, row.kind, json.loads(zlib.decompress(row.data))) for row in rows]


def missing(
    connection: Connection, agent_key: int, since_us: int | None, until_us: int | None, limit: int
) -> list[Missing]:
    """Up to `limit` gaps, the newest first."""
    query = select(gaps.c.time_us, gaps.c["count"].label("missing"), gaps.c.reason)
    rows = connection.execute(_newest(query, gaps, agent_key, since_us, until_us, limit))
    return [Missing(row.time_us, row.missing, row.reason) for row in rows]


def late(
    connection: Connection, agent_key: int, since_us: int, until_us: int, least_us: int, limit: int
) -> list[int]:
    """The times of up to `limit` samples, oldest first, that came `least_us` or more after they were taken.

    Known as long as the samples themselves are kept.
    """
    query = (
        select(samples.c.time_us)
        .where(
            samples.c.agent_key == agent_key,
            samples.c.time_us >= since_us,
            samples.c.time_us < until_us,
            samples.c.received_us - samples.c.time_us >= least_us,
        )
        .order_by(samples.c.time_us)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def _newest(
    query: Any, table: Any, agent_key: int, since_us: int | None, until_us: int | None, limit: int
) -> Any:
    query = query.where(table.c.agent_key == agent_key)
    if since_us is not None:
        query = query.where(table.c.time_us >= since_us)
    if until_us is not None:
        query = query.where(table.c.time_us < until_us)
    return query.order_by(table.c.time_us.desc()).limit(limit)
