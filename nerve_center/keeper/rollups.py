"""Rollups: hours that are over, and hours whose samples came late, are gathered; see `store.rollups`.

Reading and gathering happen outside any transaction that writes; what is made of one hour is stored in one short
one. Small pauses leave room for reports.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy.engine import Connection

from nerve_center.keeper.task import Desk, Task
from nerve_center.store import rollups

EVERY_S = 10.0
LATENESS_S = 90
"""An hour is begun this long after its end: then the last samples of most agents are there."""
_CLAIMS = 50
_BATCH = 100
_PAUSE_S = 0.005


def step(desk: Desk) -> str:
    """Gather whatever is due; how many hours that were."""
    _claim(desk, (desk.clock.now_us() // 1_000_000 - LATENESS_S) // rollups.HOUR_S)
    made, after = 0, (-1, 0)
    while True:
        with desk.reading() as connection:
            found = rollups.dirty(connection, after, _BATCH)
        for item in found:
            with desk.reading() as connection:
                result = rollups.make(connection, item)
            desk.write(partial(rollups.put, made=result))
            desk.pause(_PAUSE_S)
            made += 1
        if len(found) < _BATCH:
            return f"{made} hours gathered" if made else ""
        after = (found[-1].agent_key, found[-1].hour)


def _claim(desk: Desk, hour: int) -> None:
    while True:
        with desk.reading() as connection:
            keys = rollups.unclaimed(connection, hour, _CLAIMS)
        if not keys:
            return
        desk.write(partial(_claim_all, keys=keys, hour=hour))
        desk.pause(_PAUSE_S)


def _claim_all(connection: Connection, keys: list[int], hour: int) -> None:
    for key in keys:
        rollups.claim(connection, key, hour)


TASK = Task("rollups", EVERY_S, step)
