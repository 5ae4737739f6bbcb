"""Removing records on purpose, so that the continuity report stays exact.

Each record that is removed leaves its seq in `removed`, as ranges: a range that follows another one, or goes before
one, is joined with it, so that a history of years is one row where nothing else was in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.engine import Connection

from nerve_center.store.engine import is_postgresql
from nerve_center.store.tables import agents, dirty_hours, events, gaps, removed, samples

HOUR_US = 3_600_000_000


def first_hour(connection: Connection, agent_key: int) -> int | None:
    """The hour of an agent's oldest sample; on PostgreSQL of those without a partition, which goes as a whole."""
    of: Any = text("SELECT min(time_us) FROM samples_rest WHERE agent_key = :agent_key")
    if not is_postgresql(connection):
        of = select(func.min(samples.c.time_us)).where(samples.c.agent_key == bindparam("agent_key"))
    time_us = connection.execute(of, {"agent_key": agent_key}).scalar()
    return None if time_us is None else int(time_us) // HOUR_US


def seal_hour(connection: Connection, agent_key: int, hour: int) -> int | None:
    """Remove an hour's samples; how many, None where its rollups are still to be made."""
    waits = connection.execute(
        select(dirty_hours.c.mark).where(dirty_hours.c.agent_key == agent_key, dirty_hours.c.hour == hour)
    ).first()
    rolled, raw = connection.execute(
        select(agents.c.rolled_hour, agents.c.raw_hour)
        .where(agents.c.key == agent_key)
        .with_for_update(key_share=True)
    ).one()
    if waits is not None or hour >= rolled:
        return None
    within = (
        samples.c.agent_key == agent_key,
        samples.c.time_us >= hour * HOUR_US,
        samples.c.time_us < (hour + 1) * HOUR_US,
    )
    rows = connection.execute(select(samples.c.stream_key, samples.c.seq).where(*within)).all()
    connection.execute(samples.delete().where(*within))
    note(connection, [(row.stream_key, row.seq, row.seq) for row in rows])
    connection.execute(update(agents).where(agents.c.key == agent_key).values(raw_hour=max(raw, hour + 1)))
    return len(rows)


def remove_samples(
    connection: Connection, agent_key: int, keys: Sequence[tuple[int, bytes, int, int]]
) -> None:
    """Remove samples by (time, tag); what follows in the key is their stream and seq."""
    for time_us, tag, _, _ in keys:
        connection.execute(
            samples.delete().where(
                samples.c.agent_key == agent_key, samples.c.time_us == time_us, samples.c.tag == tag
            )
        )
    note(connection, [(stream, seq, seq) for _, _, stream, seq in keys])


def remove_ahead(connection: Connection, agent_key: int, after_us: int, received_us: int, limit: int) -> int:
    """Remove up to `limit` of an agent's samples that are dated after a time and were received before one; how many."""
    rows = connection.execute(
        select(samples.c.time_us, samples.c.tag, samples.c.stream_key, samples.c.seq)
        .where(samples.c.agent_key == agent_key, samples.c.time_us > after_us)
        .where(samples.c.received_us < received_us)
        .limit(limit)
    ).all()
    remove_samples(connection, agent_key, [(*row,) for row in rows])
    return len(rows)


def remove_before(connection: Connection, agent_key: int, name: str, time_us: int, limit: int) -> int:
    """Remove up to `limit` of an agent's `events` or `gaps` from before a time; how many."""
    table: Any = {"events": events, "gaps": gaps}[name]
    from_seq = table.c.seq if name == "events" else table.c.from_seq
    rows = connection.execute(
        select(table.c.time_us, table.c.tag, table.c.stream_key, from_seq.label("from_seq"), table.c.seq)
        .where(table.c.agent_key == agent_key, table.c.time_us < time_us)
        .order_by(table.c.time_us, table.c.tag)
        .limit(limit)
    ).all()
    for row in rows:
        connection.execute(
            table.delete().where(
                table.c.agent_key == agent_key, table.c.time_us == row.time_us, table.c.tag == row.tag
            )
        )
    note(connection, [(row.stream_key, row.from_seq, row.seq) for row in rows])
    return len(rows)


def note(connection: Connection, found: Iterable[tuple[int, int, int]]) -> None:
    """Write down ranges (stream, from_seq, seq) of records that were removed in this transaction."""
    joined: list[list[int]] = []
    for stream, first, last in sorted(found):
        if joined and joined[-1][0] == stream and joined[-1][2] == first - 1:
            joined[-1][2] = last
        else:
            joined.append([stream, first, last])
    for stream, first, last in joined:
        _join(connection, stream, first, last)


def _join(connection: Connection, stream: int, first: int, last: int) -> None:
    of_stream = removed.c.stream_key == stream
    after = connection.execute(
        select(removed.c.seq).where(of_stream, removed.c.from_seq == last + 1)
    ).scalar()
    if after is not None:
        connection.execute(removed.delete().where(of_stream, removed.c.from_seq == last + 1))
        last = int(after)
    before = connection.execute(
        select(removed.c.from_seq, removed.c.seq)
        .where(of_stream, removed.c.from_seq < first)
        .order_by(removed.c.from_seq.desc())
        .limit(1)
    ).first()
    if before is not None and before.seq == first - 1:
        connection.execute(
            update(removed).where(of_stream, removed.c.from_seq == before.from_seq).values(seq=last)
        )
    else:
        connection.execute(removed.insert().values(stream_key=stream, from_seq=first, seq=last))
