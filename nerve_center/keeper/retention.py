"""Retention: what has been kept for long enough goes, in small transactions, and its space comes back.

Samples go by whole hours, each once its rollups are made; on PostgreSQL those of whole days go with their partition
(`keeper.partitions`), and only what has none by the hour. Samples of the future, whose hour may be years away, go when
they were received long enough ago. What was removed is written down by seq (`store.removal`), so that the continuity
report stays exact. In SQLite the file shrinks by steps of a few MiB, and a write-ahead log that long readers have let
grow is cut.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy.engine import Connection

from nerve_center.keeper.task import Desk, Task
from nerve_center.store import aging, deflation, partitions, removal
from nerve_center.store.due import Bounds, agents_due
from nerve_center.store.engine import is_postgresql
from nerve_center.store.sqlite import checkpoint

EVERY_S = 300.0
_AGENTS = 500
_ROWS = 500
_VACUUM_PAGES = 500
_PAUSE_S = 0.01
_HOUR_S, _DAY_S = 3600, 86400


def step(desk: Desk) -> str:
    """Remove whatever is over; how much that was."""
    removed, after = 0, -1
    with desk.reading() as connection:
        before_hour = _first_hour_by_the_day(connection)
    while True:
        with desk.reading() as connection:
            keys = aging.agent_keys(connection, after, _AGENTS)
            over = _over(desk, before_hour)
            due = agents_due(connection, keys[0], keys[-1], over) if keys else []
        for key in due:
            removed += _of_agent(desk, key, over)
        if len(keys) < _AGENTS:
            break
        after = keys[-1]
        desk.pause(_PAUSE_S)
    freed = _give_back(desk)
    place = desk.settings.database.place
    if isinstance(place, Path) and aging.wal_is_large(place):
        checkpoint(place)
    return f"{removed} rows removed, {freed} pages given back" if removed or freed else ""


def _first_hour_by_the_day(connection: Connection) -> int | None:
    """Where samples go by the day: an agent's hours have to go in their order."""
    found = partitions.days(connection) if is_postgresql(connection) else []
    return found[0] * 24 if found else None


def _over(desk: Desk, before_hour: int | None) -> Bounds:
    keep = desk.settings.retention
    now_s = desk.clock.now_us() // 1_000_000
    hour = (now_s - keep.raw_h * _HOUR_S) // _HOUR_S
    return Bounds(
        samples_hour=hour if before_hour is None else min(hour, before_hour),
        received_us=(now_s - keep.raw_h * _HOUR_S) * 1_000_000,
        ahead_us=(now_s + _DAY_S) * 1_000_000,
        events_us=(now_s - keep.events_days * _DAY_S) * 1_000_000,
        gaps_us=(now_s - keep.quarters_days * _DAY_S) * 1_000_000,
        minutes_hour=(now_s - keep.minutes_days * _DAY_S) // _HOUR_S,
        quarters_day=(now_s - keep.quarters_days * _DAY_S) // _DAY_S,
    )


def _of_agent(desk: Desk, key: int, over: Bounds) -> int:
    removed = _samples(desk, key, over.samples_hour)
    while True:
        done = desk.write(partial(_rest, key=key, over=over))
        removed += sum(done)
        if max(done) < _ROWS:
            return removed
        desk.pause(_PAUSE_S)


def _rest(connection: Connection, key: int, over: Bounds) -> list[int]:
    """Remove what else of an agent is over; how many rows of each kind, of which there may be more at `_ROWS`."""
    ahead = removal.remove_ahead(connection, key, over.ahead_us, over.received_us, _ROWS)
    deflation.remove_unused(connection, key, over.received_us // removal.HOUR_US)
    return [
        ahead,
        aging.remove_rollups(connection, key, over.minutes_hour, over.quarters_day),
        removal.remove_before(connection, key, "events", over.events_us, _ROWS),
        removal.remove_before(connection, key, "gaps", over.gaps_us, _ROWS),
        aging.remove_states(connection, key, over.events_us, _ROWS),
    ]


def _samples(desk: Desk, key: int, before_hour: int) -> int:
    removed = 0
    while True:
        with desk.reading() as connection:
            hour = removal.first_hour(connection, key)
        if hour is None or hour >= before_hour:
            return removed
        done = desk.write(partial(removal.seal_hour, agent_key=key, hour=hour))
        if done is None:
            return removed
        removed += done
        desk.pause(_PAUSE_S)


def _give_back(desk: Desk) -> int:
    with desk.reading() as connection:
        wanted = aging.free_pages(connection)
    given = 0
    while given < wanted:
        pages = min(_VACUUM_PAGES, wanted - given)
        desk.write(partial(aging.give_back, pages=pages))
        given += pages
        desk.pause(_PAUSE_S)
    return given


TASK = Task("retention", EVERY_S, step)
