"""Partitions of the samples, on PostgreSQL: those that are wanted are made, and those of days that are over go."""

from __future__ import annotations

from functools import partial

from nerve_center.keeper.task import Desk, Task
from nerve_center.store import partitions, retiring

EVERY_S = 60.0
_AGENTS = 50
_PAUSE_S = 0.05
_DAY_US = partitions.DAY_US
_HOUR_US = 3_600_000_000


def step(desk: Desk) -> str:
    """Make and take away what is due; how many of each."""
    now_us = desk.clock.now_us()
    first = (now_us - desk.settings.retention.raw_h * _HOUR_US) // _DAY_US
    with desk.reading() as connection:
        begun = retiring.now(connection)
    gone = 0 if begun is None else _account(desk, begun)
    with desk.reading() as connection:
        wanted = partitions.missing(connection, first, now_us // _DAY_US)
        over = [day for day in partitions.days(connection) if day < first]
    for day in wanted:
        desk.write(partial(partitions.make, day=day))
    for day in over:
        if not desk.write(partial(retiring.begin, day=day)):
            break  # an older one goes first, and this waits for its rollups
        gone += _account(desk, retiring.Retiring(day, -1))
    return f"{len(wanted)} partitions made, {gone} dropped" if wanted or gone else ""


def _account(desk: Desk, begun: retiring.Retiring) -> int:
    """Account for what a day's partition holds, and drop it."""
    at: retiring.Retiring | None = begun
    while at is not None:
        at = desk.write(partial(retiring.account, at=at, most=_AGENTS))
        desk.pause(_PAUSE_S)
    desk.write(partial(retiring.finish, day=begun.day))
    return 1


TASK = Task("partitions", EVERY_S, step)
