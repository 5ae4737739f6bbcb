"""Who has anything that retention removes, asked for many agents at once.

To ask each for itself took a transaction that writes, with eight statements, for every agent every five minutes: for
10,000 of them most of what the keeper took, and the lock that reports wait for. Nearly all have nothing that is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import column, exists, or_, select, table
from sqlalchemy.engine import Connection

from nerve_center.store.engine import is_postgresql
from nerve_center.store.removal import HOUR_US
from nerve_center.store.tables import (
    agent_states,
    agents,
    dictionaries,
    events,
    gaps,
    minutes,
    quarters,
    samples,
)

_REST = table("samples_rest", column("agent_key"), column("time_us"))


@dataclass(frozen=True)
class Bounds:
    """What is over: times in microseconds, hours and days since 1970."""

    samples_hour: int
    """Samples of the hours before it."""
    received_us: int
    """Samples that are dated after `ahead_us` and were received before this; dictionaries of the hours before it."""
    ahead_us: int
    events_us: int
    """Events, and states that were over, before this."""
    gaps_us: int
    minutes_hour: int
    quarters_day: int


def agents_due(connection: Connection, first: int, last: int, over: Bounds) -> list[int]:
    """The agents from `first` to `last` that may have something that is over. All that have are among them."""
    raw: Any = _REST if is_postgresql(connection) else samples  # the rest goes as a whole there
    each = (
        (raw, raw.c.time_us < over.samples_hour * HOUR_US),
        (samples, (samples.c.time_us > over.ahead_us) & (samples.c.received_us < over.received_us)),
        (dictionaries, dictionaries.c.hour < over.received_us // HOUR_US),
        (minutes, minutes.c.hour < over.minutes_hour),
        (quarters, quarters.c.day < over.quarters_day),
        (events, events.c.time_us < over.events_us),
        (gaps, gaps.c.time_us < over.gaps_us),
        (
            agent_states,
            (agent_states.c.since_us < over.events_us) & (agent_states.c.until_us < over.events_us),
        ),
    )
    some = [
        exists().select_from(of).where(of.c.agent_key == agents.c.key, is_over).correlate(agents)
        for of, is_over in each
    ]
    found = connection.execute(
        select(agents.c.key).where(agents.c.key.between(first, last), or_(*some)).order_by(agents.c.key)
    )
    return list(found.scalars())
