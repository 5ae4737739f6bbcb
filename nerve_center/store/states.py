"""The history of presence: which agent was in which state, from when until when; and since when the center hears.

Presence itself is computed where it is asked for (`nerve_center.presence`), from `agents.heard_us`. The keeper writes
down what changes: the open row of an agent (`until_us` is NULL) has its present state, as of the keeper's last look.
Times are those of the wall clock; `key` grows with each change, for whoever follows them.

`note_listening` is the center's own pulse, in steady time. Where it was silent, nobody could be heard: then
everybody who was not offline before is heard as if that time had not passed, and gets a while to come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import insert, or_, select, update
from sqlalchemy.engine import Connection, Row

from nerve_center import presence
from nerve_center.store import fleet, settings
from nerve_center.store.steady import LISTENING
from nerve_center.store.tables import agent_states, agents

PULSE_S = 4.0
"""The pulse is written every 4 s at the latest; who was heard after the last one was heard before the silence."""
DEAF_AFTER_S = 8.0
"""A center without a pulse for longer could not hear anybody."""
RETURN_S = 20.0
"""Agents look every 12 s whether a center that failed them is back; so much later they must have been heard."""


class Change(NamedTuple):
    """An agent that is in another state than its open row says; `row` and `since_us` are None where it has none."""

    agent_key: int
    state: str
    row: int | None
    since_us: int | None


def note_listening(connection: Connection, now_us: int) -> int:
    """The center can hear, now (steady time); the newest pulse of all machines."""
    before = listening_us(connection)
    newest_us = max(now_us, before or 0)
    settings.put(connection, LISTENING, str(newest_us))
    if before is not None and now_us - before > DEAF_AFTER_S * 1e6:
        _excuse(connection, before, now_us)
    return newest_us


def listening_us(connection: Connection) -> int | None:
    """When the center could last hear; None before its first pulse."""
    value = settings.get(connection, LISTENING)
    return None if value is None else int(value)


def is_listening(connection: Connection, now_us: int) -> bool:
    """Whether a center hears agents at this moment."""
    last_us = listening_us(connection)
    return last_us is not None and now_us - last_us <= DEAF_AFTER_S * 1e6


def _excuse(connection: Connection, deaf_from_us: int, now_us: int) -> None:
    patience_us = (presence.OFFLINE_INTERVALS * agents.c.interval_s + presence.GRACE_S) * 1_000_000
    connection.execute(
        update(agents)
        .where(
            agents.c.heard_us <= deaf_from_us + round(PULSE_S * 1e6),
            deaf_from_us - agents.c.heard_us <= patience_us,
        )
        .values(heard_us=agents.c.heard_us + (now_us - deaf_from_us + round(RETURN_S * 1e6)))
    )


def changes(connection: Connection, now_us: int) -> list[Change]:
    """Every agent whose state (at `now_us`, steady time) is not the one that its open row has."""
    state = fleet.state_of(now_us)
    rows = connection.execute(
        select(agents.c.key, state.label("state"), agent_states.c.key.label("row"), agent_states.c.since_us)
        .select_from(
            agents.outerjoin(
                agent_states,
                (agent_states.c.agent_key == agents.c.key) & agent_states.c.until_us.is_(None),
            )
        )
        .where(or_(agent_states.c.state.is_(None), agent_states.c.state != state))
        .order_by(agents.c.key)
    )
    return [Change(row.key, row.state, row.row, row.since_us) for row in rows]


def note_changes(connection: Connection, found: Sequence[Change], now_us: int) -> None:
    """Close the open rows and open new ones at `now_us` (wall clock)."""
    for change in found:
        if change.row is not None and change.since_us is not None:
            connection.execute(
                update(agent_states)
                .where(agent_states.c.key == change.row)
                .values(until_us=max(now_us, change.since_us))
            )
    connection.execute(
        insert(agent_states),
        [
            {
                "agent_key": change.agent_key,
                "state": change.state,
                "since_us": max(now_us, change.since_us or 0),
                "until_us": None,
            }
            for change in found
        ],
    )


def history(
    connection: Connection, agent_key: int, from_us: int, to_us: int, limit: int = 1000
) -> list[Row[Any]]:
    """The states of an agent that touch a span of time, oldest first; the last `limit` of them."""
    rows = connection.execute(
        select(agent_states)
        .where(
            agent_states.c.agent_key == agent_key,
            agent_states.c.since_us < to_us,
            or_(agent_states.c.until_us.is_(None), agent_states.c.until_us > from_us),
        )
        .order_by(agent_states.c.since_us.desc(), agent_states.c.key.desc())
        .limit(limit)
    )
    return list(rows)[::-1]


def following(connection: Connection, after_key: int, limit: int) -> list[Row[Any]]:
    """Changes behind `after_key`, in the order in which they were noted, with `id` and `hostname` of the agent."""
    return list(
        connection.execute(
            select(agent_states, agents.c.id, agents.c.hostname)
            .join(agents, agents.c.key == agent_states.c.agent_key)
            .where(agent_states.c.key > after_key)
            .order_by(agent_states.c.key)
            .limit(limit)
        )
    )


def newest(connection: Connection, before_key: int | None, limit: int) -> list[Row[Any]]:
    """Changes of the whole fleet, the newest first, with `id` and `hostname`; those before `before_key`."""
    query = select(agent_states, agents.c.id, agents.c.hostname).join(
        agents, agents.c.key == agent_states.c.agent_key
    )
    if before_key is not None:
        query = query.where(agent_states.c.key < before_key)
    return list(connection.execute(query.order_by(agent_states.c.key.desc()).limit(limit)))
