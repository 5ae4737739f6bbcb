"""Events of the whole fleet in the order of their time: what agents and the center itself told, threats among it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import literal, select, tuple_
from sqlalchemy.engine import Connection

from nerve_center.store.tables import agents, events, streams

PAGE_BYTES = 8 * 1024 * 1024
Cursor = tuple[int, int, bytes]
"""Time, the agent's key and the tag of the last event of the page before."""


@dataclass(frozen=True)
class Event:
    """A stored event; `json` is its data as it came. `by_center`: the center told it, not the agent."""

    time_us: int
    agent_key: int
    agent_id: str
    hostname: str
    tag: bytes
    kind: str
    by_center: bool
    received_us: int
    json: bytes

    @property
    def cursor(self) -> Cursor:
        return (self.time_us, self.agent_key, self.tag)


@dataclass(frozen=True)
class Filter:
    """Which events; `since_us` is included and `until_us` is not."""

    agent_keys: Sequence[int] | None = None
    kind: str | None = None
    since_us: int | None = None
    until_us: int | None = None


def page(
    connection: Connection, wanted: Filter, limit: int, after: Cursor | None = None
) -> tuple[list[Event], Cursor | None]:
    """Up to `limit` events, the newest first, and the cursor of the next page. 8 MiB end a page as well."""
    query = (
        select(events, agents.c.id, agents.c.hostname, streams.c.stream)
        .join(agents, agents.c.key == events.c.agent_key)
        .join(streams, streams.c.key == events.c.stream_key)
    )
    if wanted.agent_keys is not None:
        # Of one agent they come in order from the primary key.
        (*others, key) = wanted.agent_keys or (-1,)
        of_agent = events.c.agent_key.in_(wanted.agent_keys) if others else events.c.agent_key == key
        query = query.where(of_agent)
    if wanted.kind is not None:
        query = query.where(events.c.kind == wanted.kind)
    if wanted.since_us is not None:
        query = query.where(events.c.time_us >= wanted.since_us)
    if wanted.until_us is not None:
        query = query.where(events.c.time_us < wanted.until_us)
    order = (events.c.time_us, events.c.agent_key, events.c.tag)
    if after is not None:
        query = query.where(tuple_(*order) < tuple_(*(literal(value) for value in after)))
    query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)
    found: list[Event] = []
    size = 0
    for row in connection.execute(query):
        if len(found) == limit or size >= PAGE_BYTES:
            return found, found[-1].cursor
        text = zlib.decompress(row.data)
        size += len(text)
        found.append(
            Event(
                row.time_us,
                row.agent_key,
                row.id,
                row.hostname,
                row.tag,
                row.kind,
                row.stream == "center",
                row.received_us,
                text,
            )
        )
    return found, None
