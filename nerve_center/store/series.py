"""Figures of one agent over a span of time, at the resolution that fits the span.

The grid's step is chosen so that there are about `points` steps at most, and is not finer than the agent's own
samples can fill. What the step allows decides what is read: samples below a minute, then rollups of 1 minute, 15
minutes, 6 hours. Hours whose rollups are not made yet are read from the samples, so the grid is always up to date.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection, Row

from nerve_center.config import Retention
from nerve_center.figures import Chunk, Clock, Wanted, figures, lateness, unpack
from nerve_center.means import Means
from nerve_center.store import rollups
from nerve_center.store.deflation import Deflation
from nerve_center.store.tables import agents, dirty_hours, minutes, quarters, samples
from nerve_center.turns import breathe

STEPS_S = (
    *(1, 2, 5, 10, 15, 20, 30),
    *(60, 120, 180, 300, 600),
    *(900, 1800, 3600, 7200, 10800),
    *(21600, 43200, 86400, 172800, 604800, 1209600, 2592000),
)
MOST_POINTS = 2000
_SECOND_US = 1_000_000
_SAMPLES_A_BREATH = 32


@dataclass(frozen=True)
class Kept:
    """How long back what is kept: samples, minutes; in seconds."""

    raw_s: int
    minutes_s: int


def kept(retention: Retention) -> Kept:
    """As the configuration has it."""
    return Kept(retention.raw_h * rollups.HOUR_S, retention.minutes_days * rollups.DAY_S)


def grid(
    connection: Connection,
    agent: Row[Any],
    from_s: int,
    to_s: int,
    points: int,
    now_s: int,
    keeping: Kept,
    only: Wanted | None = None,
) -> Chunk:
    """The figures of an agent (a row of `agents`) over a span; its ends are moved outwards to full steps."""
    found = Chunk(*_extent(agent, from_s, to_s, points, now_s, keeping))
    fill(connection, agent.key, found, clock_of(agent), only)
    return found


def means(
    connection: Connection,
    agent: Row[Any],
    from_s: int,
    to_s: int,
    points: int,
    now_s: int,
    keeping: Kept,
    only: Wanted | None = None,
) -> Means:
    """The same where only the means are asked for, in less time."""
    found = Means(*_extent(agent, from_s, to_s, points, now_s, keeping))
    fill(connection, agent.key, found, clock_of(agent), only)
    return found


def _extent(
    agent: Row[Any], from_s: int, to_s: int, points: int, now_s: int, keeping: Kept
) -> tuple[int, int, int]:
    """Where the grid begins, its step, and how many steps it has."""
    step_s = step_for(from_s, to_s, points, agent.interval_s, now_s - from_s, keeping)
    begin_s, end_s = from_s // step_s * step_s, -(-to_s // step_s) * step_s
    return begin_s, step_s, max(1, (end_s - begin_s) // step_s)


def clock_of(agent: Row[Any]) -> Clock:
    """What the times of an agent (a row of `agents`) are measured by."""
    return Clock(agent.interval_s, agent.clock_skew_s or 0.0)


def step_for(from_s: int, to_s: int, points: int, interval_s: float, age_s: int, kept: Kept) -> int:
    """The grid's step in seconds. `age_s` is how long ago the span begins."""
    least: float = max((to_s - from_s) / points, 2 * interval_s)
    if age_s > kept.minutes_s:
        least = max(least, rollups.QUARTER_S)
    elif age_s > kept.raw_s:
        least = max(least, rollups.MINUTE_S)
    return next((step for step in STEPS_S if step >= least), STEPS_S[-1])


def fill(
    connection: Connection, agent_key: int, found: Chunk | Means, clock: Clock, only: Wanted | None = None
) -> None:
    """Fill a grid; with `only` just the figures that it says yes to."""
    from_s, to_s = found.start_s, found.end_s
    if found.size_s < rollups.MINUTE_S:
        _samples(connection, agent_key, from_s, to_s, found, clock, only)
        return
    fresh = _fresh_hours(connection, agent_key, from_s, to_s)
    if found.size_s < rollups.QUARTER_S:
        _minutes(connection, agent_key, found, only, fresh)
    else:
        _quarters(connection, agent_key, found, only, fresh)
    for hour in sorted(fresh):
        begin, end = max(hour * rollups.HOUR_S, from_s), (hour + 1) * rollups.HOUR_S
        _samples(connection, agent_key, begin, end, found, clock, only)


def _fresh_hours(connection: Connection, agent_key: int, from_s: int, to_s: int) -> set[int]:
    """Hours of the span whose rollups are not to be used: not made yet, or to be made again."""
    rolled, raw = connection.execute(
        select(agents.c.rolled_hour, agents.c.raw_hour).where(agents.c.key == agent_key)
    ).one()
    first, last = from_s // rollups.HOUR_S, (to_s - 1) // rollups.HOUR_S
    found: set[int] = set()
    at = max(first, rolled)
    while at <= last:
        time_us = connection.execute(
            select(samples.c.time_us)
            .where(
                samples.c.agent_key == agent_key,
                samples.c.time_us >= at * rollups.HOUR_US,
                samples.c.time_us < to_s * _SECOND_US,
            )
            .order_by(samples.c.time_us)
            .limit(1)
        ).scalar()
        if time_us is None:
            break
        hour = int(time_us) // rollups.HOUR_US
        found.add(hour)
        at = hour + 1
    rows = connection.execute(
        select(dirty_hours.c.hour).where(
            dirty_hours.c.agent_key == agent_key,
            dirty_hours.c.hour >= max(first, raw),
            dirty_hours.c.hour <= last,
        )
    )
    found.update(row.hour for row in rows)
    return found


def _minutes(
    connection: Connection, agent_key: int, grid: Chunk | Means, only: Wanted | None, fresh: set[int]
) -> None:
    first, last = grid.start_s // rollups.HOUR_S, (grid.end_s - 1) // rollups.HOUR_S
    query = select(minutes.c.hour, minutes.c.data).where(
        minutes.c.agent_key == agent_key, minutes.c.hour >= first, minutes.c.hour <= last
    )
    for row in connection.execute(query):
        if row.hour not in fresh:
            breathe()
            grid.absorb_packed(row.data, row.hour * rollups.HOUR_S, rollups.MINUTE_S, 60, only)


def _quarters(
    connection: Connection, agent_key: int, grid: Chunk | Means, only: Wanted | None, fresh: set[int]
) -> None:
    """Whole days in buckets of 6 hours where the grid is that coarse, but no day that has fresh hours."""
    first, last = grid.start_s // rollups.DAY_S, (grid.end_s - 1) // rollups.DAY_S
    of_days = (quarters.c.agent_key == agent_key, quarters.c.day >= first, quarters.c.day <= last)
    days = {hour // 24 for hour in fresh}
    query = select(quarters.c.day, quarters.c.data).where(*of_days)
    if grid.size_s >= rollups.COARSE_S:
        for row in connection.execute(select(quarters.c.day, quarters.c.coarse).where(*of_days)):
            if row.day not in days:
                breathe()
                grid.absorb_packed(row.coarse, row.day * rollups.DAY_S, rollups.COARSE_S, 4, only)
        query = query.where(quarters.c.day.in_(days))
    for row in connection.execute(query):
        breathe()
        if row.day not in days:
            grid.absorb_packed(row.data, row.day * rollups.DAY_S, rollups.QUARTER_S, 96, only)
            continue
        chunk = unpack(row.data, row.day * rollups.DAY_S, rollups.QUARTER_S, 96)
        for hour in fresh:
            if hour // 24 == row.day:
                chunk.replace(Chunk(hour * rollups.HOUR_S, rollups.QUARTER_S, 4))
        grid.absorb(chunk, only)


def _samples(
    connection: Connection,
    agent_key: int,
    from_s: int,
    to_s: int,
    grid: Chunk | Means,
    clock: Clock,
    only: Wanted | None,
) -> None:
    rows = connection.execute(
        select(samples.c.time_us, samples.c.received_us, samples.c.data).where(
            samples.c.agent_key == agent_key,
            samples.c.time_us >= from_s * _SECOND_US,
            samples.c.time_us < to_s * _SECOND_US,
        )
    )
    deflation = Deflation(connection, agent_key)
    for number, row in enumerate(rows):
        if not number % _SAMPLES_A_BREATH:
            breathe()
        found = figures(json.loads(deflation.inflate(row.time_us, row.data)))
        found.update(lateness(row.time_us, row.received_us, clock))
        grid.add(
            row.time_us,
            found if only is None else {name: value for name, value in found.items() if only(name)},
        )
