"""Partitions of the samples, on PostgreSQL: those of the next days are made ahead, those that are over and empty go."""

from __future__ import annotations

from functools import partial

from nerve_center.keeper.task import Desk, Task
from nerve_center.store import partitions

EVERY_S = 600.0
_DAY_US = partitions.DAY_US


def step(desk: Desk) -> str:
    """Make and drop what is due; how many of each."""
    today = desk.clock.now_us() // _DAY_US
    with desk.reading() as connection:
        wanted = partitions.missing(connection, today)
        over = partitions.empty(connection, today - 1)
    for day in wanted:
        desk.write(partial(partitions.make, day=day))
    dropped = sum(desk.write(partial(partitions.drop, day=day)) for day in over)
    return f"{len(wanted)} partitions made, {dropped} dropped" if wanted or dropped else ""


TASK = Task("partitions", EVERY_S, step)
