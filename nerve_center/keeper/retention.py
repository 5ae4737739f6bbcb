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

from nerve_center.config import Retention
from nerve_center.keeper.task import Desk, Task
from nerve_center.store import aging, deflation, partitions, removal
from nerve_center.store.engine import is_postgresql
from nerve_center.store.sqlite import checkpoint

EVERY_S = 300.0
_AGENTS = 100
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
        for key in keys:
            removed += _of_agent(desk, key, before_hour)
        if len(keys) < _AGENTS:
            break
        after = keys[-1]
    freed = _give_back(desk)
    place = desk.settings.database.place
    if isinstance(place, Path) and aging.wal_is_large(place):
        checkpoint(place)
    return f"{removed} rows removed, {freed} pages given back" if removed or freed else ""


def _first_hour_by_the_day(connection: Connection) -> int | None:
    """Where samples go by the day: an agent's hours have to go in their order."""
    found = partitions.days(connection) if is_postgresql(connection) else []
    return found[0] * 24 if found else None


def _of_agent(desk: Desk, key: int, before_hour: int | None) -> int:
    keep = desk.settings.retention
    now_s = desk.clock.now_us() // 1_000_000
    over = (now_s - keep.raw_h * _HOUR_S) // _HOUR_S
    removed = _samples(desk, key, over if before_hour is None else min(over, before_hour))
    while True:
        done = desk.write(partial(_rest, key=key, keep=keep, now_s=now_s))
        removed += sum(done)
        if max(done) < _ROWS:
            return removed
        desk.pause(_PAUSE_S)


def _rest(connection: Connection, key: int, keep: Retention, now_s: int) -> list[int]:
    """Remove what else of an agent is over; how many rows of each kind, of which there may be more at `_ROWS`."""
    raw_us = (now_s - keep.raw_h * _HOUR_S) * 1_000_000
    events_us = (now_s - keep.events_days * _DAY_S) * 1_000_000
    gaps_us = (now_s - keep.quarters_days * _DAY_S) * 1_000_000
    ahead = removal.remove_ahead(connection, key, (now_s + _DAY_S) * 1_000_000, raw_us, _ROWS)
    deflation.remove_unused(connection, key, raw_us // removal.HOUR_US)
    return [
        ahead,
        aging.remove_rollups(
            connection,
            key,
            before_hour=(now_s - keep.minutes_days * _DAY_S) // _HOUR_S,
            before_day=(now_s - keep.quarters_days * _DAY_S) // _DAY_S,
        ),
        removal.remove_before(connection, key, "events", events_us, _ROWS),
        removal.remove_before(connection, key, "gaps", gaps_us, _ROWS),
        aging.remove_states(connection, key, events_us, _ROWS),
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
