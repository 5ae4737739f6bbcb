"""Rollups: samples gathered to one minute, to 15 minutes and to 6 hours.

    minutes     one row an agent and hour: 60 buckets
    quarters    one row an agent and day: 96 buckets of 15 minutes, and beside them 4 of 6 hours
    dirty_hours the hours that have to be made, again or for the first time

An hour is made once it is over: `claim` moves an agent's `rolled_hour` up and marks the hours that it passes; a
report with a sample of an hour before `rolled_hour` marks it again, in its own transaction (`mark`). The keeper
makes what is marked and takes the mark away only if it is the one that it saw before it read the samples. So no
sample is left out, whenever it comes and whoever ends where; making an hour twice gives the same.

An hour whose samples retention has removed (before `agents.raw_hour`) cannot be made anew: late samples are counted
in to what is there and removed in the same transaction.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text, update
from sqlalchemy.engine import Connection

from nerve_center.figures import Chunk, Clock, figures, lateness, unpack
from nerve_center.store import removal
from nerve_center.store.deflation import Deflation
from nerve_center.store.records import Record
from nerve_center.store.tables import agents, dirty_hours, minutes, quarters, samples

HOUR_S = 3600
DAY_S = 86400
HOUR_US = HOUR_S * 1_000_000
MINUTE_S, QUARTER_S, COARSE_S = 60, 900, 21600
_MARK_BITS = 62

_PUT_DIRTY = text(
    "INSERT INTO dirty_hours (agent_key, hour, mark) VALUES (:agent_key, :hour, :mark)"
    " ON CONFLICT (agent_key, hour) DO UPDATE SET mark = excluded.mark"
)
_PUT_MINUTES = text(
    "INSERT INTO minutes (agent_key, hour, data) VALUES (:agent_key, :hour, :data)"
    " ON CONFLICT (agent_key, hour) DO UPDATE SET data = excluded.data"
)
_PUT_QUARTERS = text(
    "INSERT INTO quarters (agent_key, day, coarse, data) VALUES (:agent_key, :day, :coarse, :data)"
    " ON CONFLICT (agent_key, day) DO UPDATE SET coarse = excluded.coarse, data = excluded.data"
)


@dataclass(frozen=True)
class Dirty:
    """An hour of an agent that is to be made; `sealed` where its samples were removed before."""

    agent_key: int
    hour: int
    mark: int
    sealed: bool
    clock: Clock


@dataclass(frozen=True)
class Made:
    """What becomes of a dirty hour: the packed rows, None where there is nothing to keep."""

    dirty: Dirty
    minutes: bytes | None
    day: int
    coarse: bytes | None
    quarters: bytes | None
    late: Sequence[tuple[int, bytes, int, int]]


def mark(connection: Connection, agent_key: int, rolled_hour: int, records: Sequence[Record]) -> None:
    """A report has brought these records: mark the hours of its samples that were passed already."""
    hours = {record.time_us // HOUR_US for record in records if record.kind == "sample"}
    _put_dirty(connection, agent_key, [hour for hour in hours if hour < rolled_hour])


def _put_dirty(connection: Connection, agent_key: int, hours: Sequence[int]) -> None:
    if hours:
        connection.execute(
            _PUT_DIRTY,
            [
                {"agent_key": agent_key, "hour": hour, "mark": secrets.randbits(_MARK_BITS)}
                for hour in sorted(hours)
            ],
        )


def unclaimed(connection: Connection, hour: int, limit: int) -> list[int]:
    """Agents that have to pass hours up to `hour` yet, or went too far (the clock went back)."""
    query = select(agents.c.key).where(agents.c.rolled_hour != hour).order_by(agents.c.key).limit(limit)
    return [row.key for row in connection.execute(query)]


def claim(connection: Connection, agent_key: int, hour: int) -> int:
    """Pass all hours before `hour`; how many of them were marked, because they have samples."""
    rolled = connection.execute(
        select(agents.c.rolled_hour).where(agents.c.key == agent_key).with_for_update(key_share=True)
    ).scalar_one()
    found: list[int] = []
    at = rolled * HOUR_US if rolled else None
    while True:
        first = select(func.min(samples.c.time_us)).where(
            samples.c.agent_key == agent_key, samples.c.time_us < hour * HOUR_US
        )
        if at is not None:
            first = first.where(samples.c.time_us >= at)
        time_us = connection.execute(first).scalar()
        if time_us is None:
            break
        found.append(int(time_us) // HOUR_US)
        at = (found[-1] + 1) * HOUR_US
    _put_dirty(connection, agent_key, found)
    connection.execute(update(agents).where(agents.c.key == agent_key).values(rolled_hour=hour))
    return len(found)


def dirty(connection: Connection, after: tuple[int, int], limit: int) -> list[Dirty]:
    """Hours to be made, by agent and hour, behind `after`."""
    rows = connection.execute(
        select(dirty_hours, agents.c.raw_hour, agents.c.interval_s, agents.c.clock_skew_s)
        .join(agents, agents.c.key == dirty_hours.c.agent_key)
        .where(
            (dirty_hours.c.agent_key > after[0])
            | ((dirty_hours.c.agent_key == after[0]) & (dirty_hours.c.hour > after[1]))
        )
        .order_by(dirty_hours.c.agent_key, dirty_hours.c.hour)
        .limit(limit)
    )
    return [
        Dirty(
            row.agent_key,
            row.hour,
            row.mark,
            row.hour < row.raw_hour,
            Clock(row.interval_s, row.clock_skew_s or 0.0),
        )
        for row in rows
    ]


def _gathered(
    connection: Connection, agent_key: int, hour: int, clock: Clock
) -> tuple[Chunk, list[tuple[int, bytes, int, int]]]:
    """An hour's samples by the minute, and the time, tag, stream and seq of each."""
    chunk = Chunk(hour * HOUR_S, MINUTE_S, HOUR_S // MINUTE_S)
    keys: list[tuple[int, bytes, int, int]] = []
    rows = connection.execute(
        select(samples).where(
            samples.c.agent_key == agent_key,
            samples.c.time_us >= hour * HOUR_US,
            samples.c.time_us < (hour + 1) * HOUR_US,
        )
    )
    deflation = Deflation(connection, agent_key)
    for row in rows:
        late = lateness(row.time_us, row.received_us, clock)
        chunk.add(row.time_us, {**figures(json.loads(deflation.inflate(row.time_us, row.data))), **late})
        keys.append((row.time_us, row.tag, row.stream_key, row.seq))
    return chunk, keys


def minutes_of(connection: Connection, agent_key: int, hour: int) -> Chunk | None:
    """The stored minutes of an hour."""
    data = connection.execute(
        select(minutes.c.data).where(minutes.c.agent_key == agent_key, minutes.c.hour == hour)
    ).scalar()
    return None if data is None else unpack(data, hour * HOUR_S, MINUTE_S, 60)


def make(connection: Connection, item: Dirty) -> Made:
    """Make one hour from what is stored."""
    chunk, keys = _gathered(connection, item.agent_key, item.hour, item.clock)
    quarter = Chunk(item.hour * HOUR_S, QUARTER_S, HOUR_S // QUARTER_S)
    quarter.absorb(chunk)
    before = minutes_of(connection, item.agent_key, item.hour) if item.sealed else None
    if before is not None:
        chunk.absorb(before)
    day = item.hour // 24
    data = connection.execute(
        select(quarters.c.data).where(quarters.c.agent_key == item.agent_key, quarters.c.day == day)
    ).scalar()
    whole = Chunk(day * DAY_S, QUARTER_S, 96) if data is None else unpack(data, day * DAY_S, QUARTER_S, 96)
    if item.sealed:
        whole.absorb(quarter)
    else:
        whole.replace(quarter)
    coarse = Chunk(day * DAY_S, COARSE_S, 4)
    coarse.absorb(whole)
    return Made(
        item,
        None if chunk.empty else chunk.pack(),
        day,
        None if whole.empty else coarse.pack(),
        None if whole.empty else whole.pack(),
        keys if item.sealed else (),
    )


def put(connection: Connection, made: Made) -> None:
    """Store a made hour, and take its mark away unless it was marked again meanwhile."""
    key, hour = made.dirty.agent_key, made.dirty.hour
    if made.late:
        removal.remove_samples(connection, key, made.late)
    if made.minutes is None:
        connection.execute(minutes.delete().where(minutes.c.agent_key == key, minutes.c.hour == hour))
    else:
        connection.execute(_PUT_MINUTES, {"agent_key": key, "hour": hour, "data": made.minutes})
    if made.quarters is None:
        connection.execute(quarters.delete().where(quarters.c.agent_key == key, quarters.c.day == made.day))
    else:
        connection.execute(
            _PUT_QUARTERS,
            {"agent_key": key, "day": made.day, "coarse": made.coarse, "data": made.quarters},
        )
    connection.execute(
        dirty_hours.delete().where(
            dirty_hours.c.agent_key == key,
            dirty_hours.c.hour == hour,
            dirty_hours.c.mark == made.dirty.mark,
        )
    )
