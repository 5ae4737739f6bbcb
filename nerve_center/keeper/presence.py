"""Presence: what changed since the last look is written down as history.

While no center listens nobody can be heard, so nothing is called late or offline then.
"""

from __future__ import annotations

from functools import partial

from nerve_center.keeper.task import Desk, Task
from nerve_center.store import states

EVERY_S = 3.0
_BATCH = 200


def step(desk: Desk) -> str:
    """Note every change of state; how many there were."""
    heard_us = desk.steady.now_us()
    with desk.reading() as connection:
        if not states.is_listening(connection, heard_us):
            return "the nerve center is not listening; all states are kept"
        found = states.changes(connection, heard_us)
    for start in range(0, len(found), _BATCH):
        batch = found[start : start + _BATCH]
        now_us = desk.clock.now_us()
        desk.write(partial(states.note_changes, found=batch, now_us=now_us))
        desk.pause(0.01)
    return f"{len(found)} changes of state" if found else ""


TASK = Task("presence", EVERY_S, step)
