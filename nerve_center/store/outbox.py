"""Messages on their way, and what each route has been told: they outlive the keeper.

A row of `outbox` is one message to one address. Whoever sends it first claims it by an UPDATE that only one can win;
a claim ends by itself, so a message whose sender died is sent by the next one. That is at least once: the row's
`id` goes with the message, to tell a second copy by. Times are steady time but for `created_us`.

A row of `told` says that a route knows of a threat, and how bad it was then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection, Row

from nerve_center.store.tables import outbox, told

CLAIM_S = 60.0
"""Longer than a service takes to answer or to be given up; a message whose sender was killed waits so long."""
GIVE_UP_S = 86400.0
KEEP_S = 7 * 86400.0
_FIRST_PAUSE_S = 15.0
_MOST_PAUSE_S = 1800.0


@dataclass(frozen=True)
class Letter:
    """One message to one address. `target` is the address's id; `created_us` is steady time as well."""

    key: int
    id: str
    route: str
    target: str
    severity: str
    title: str
    body: str
    created_us: int
    attempts: int


class Told(NamedTuple):
    """What a route knows of a threat."""

    threat_key: int
    rank: int
    times_opened: int
    told_us: int


def put(
    connection: Connection,
    id_: str,
    route: str,
    target: str,
    severity: str,
    title: str,
    body: str,
    now_us: int,
) -> None:
    """Put a message on its way."""
    connection.execute(
        insert(outbox).values(
            id=id_,
            route=route,
            target=target,
            severity=severity,
            title=title,
            body=body,
            created_us=now_us,
            due_us=now_us,
            attempts=0,
            failed=0,
        )
    )


def due(connection: Connection, now_us: int, limit: int) -> list[Letter]:
    """Messages that wait, the oldest first."""
    rows = connection.execute(
        select(outbox)
        .where(
            outbox.c.done_us.is_(None),
            outbox.c.due_us <= now_us,
            or_(outbox.c.claimed_until_us.is_(None), outbox.c.claimed_until_us <= now_us),
        )
        .order_by(outbox.c.due_us, outbox.c.key)
        .limit(limit)
    )
    return [
        Letter(
            row.key,
            row.id,
            row.route,
            row.target,
            row.severity,
            row.title,
            row.body,
            row.created_us,
            row.attempts,
        )
        for row in rows
    ]


def claim(connection: Connection, letter: Letter, now_us: int) -> bool:
    """Take a message to send it; False where somebody else has."""
    done = connection.execute(
        update(outbox)
        .where(
            outbox.c.key == letter.key,
            outbox.c.done_us.is_(None),
            outbox.c.attempts == letter.attempts,
            or_(outbox.c.claimed_until_us.is_(None), outbox.c.claimed_until_us <= now_us),
        )
        .values(claimed_until_us=now_us + round(CLAIM_S * 1e6), attempts=letter.attempts + 1)
    )
    return bool(done.rowcount)


def sent(connection: Connection, letter: Letter, now_us: int) -> None:
    connection.execute(
        update(outbox).where(outbox.c.key == letter.key).values(done_us=now_us, error=None, failed=0)
    )


def not_sent(connection: Connection, letter: Letter, now_us: int, why: str) -> bool:
    """Try again later, each time after twice as long; True where it was given up after a day."""
    pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(letter.attempts, 20), _MOST_PAUSE_S)
    over = now_us - letter.created_us > GIVE_UP_S * 1e6
    connection.execute(
        update(outbox)
        .where(outbox.c.key == letter.key)
        .values(
            due_us=now_us + round(pause_s * 1e6),
            claimed_until_us=None,
            error=why[:500],
            failed=int(over),
            done_us=now_us if over else None,
        )
    )
    return over


def forget(connection: Connection, now_us: int) -> None:
    """Remove what was settled a week ago."""
    connection.execute(delete(outbox).where(outbox.c.done_us < now_us - round(KEEP_S * 1e6)))


def newest(connection: Connection, limit: int) -> list[Row[Any]]:
    """The rows of up to `limit` messages, those written last first."""
    return list(connection.execute(select(outbox).order_by(outbox.c.key.desc()).limit(limit)))


def waits_since(connection: Connection) -> int | None:
    """Since when the message that is due for longest waits to be sent; None where none does."""
    query = select(func.min(outbox.c.due_us)).where(outbox.c.done_us.is_(None))
    found: int | None = connection.execute(query).scalar()
    return found


def counts(connection: Connection) -> dict[str, int]:
    """How many messages wait, were sent and were given up, of those that are still there."""
    rows = connection.execute(
        select(outbox.c.done_us.is_not(None), outbox.c.failed, func.count()).group_by(
            outbox.c.done_us.is_not(None), outbox.c.failed
        )
    )
    found = {"waiting": 0, "sent": 0, "failed": 0}
    for done, failed, number in rows:
        found["waiting" if not done else "failed" if failed else "sent"] += int(number)
    return found


def told_of(connection: Connection, route: str) -> dict[int, Told]:
    """What a route knows, by the threat's key."""
    columns = (told.c.threat_key, told.c.rank, told.c.times_opened, told.c.told_us)
    rows = connection.execute(select(*columns).where(told.c.route == route))
    return {row[0]: Told(*row) for row in rows}


def note_told(connection: Connection, route: str, known: Sequence[Told]) -> None:
    """A route knows these, in place of what it knew of them."""
    forget_told(connection, route, [item.threat_key for item in known])
    if known:
        connection.execute(
            insert(told),
            [
                {
                    "route": route,
                    "threat_key": item.threat_key,
                    "rank": item.rank,
                    "times_opened": item.times_opened,
                    "told_us": item.told_us,
                }
                for item in known
            ],
        )


def forget_told(connection: Connection, route: str, threat_keys: Collection[int]) -> None:
    """A route need not be told any more that these are over."""
    keys = list(threat_keys)
    for start in range(0, len(keys), 500):
        connection.execute(
            delete(told).where(told.c.route == route, told.c.threat_key.in_(keys[start : start + 500]))
        )


def forget_other_routes(connection: Connection, names: Collection[str]) -> None:
    """Routes that are gone from the configuration know nothing."""
    connection.execute(delete(told).where(told.c.route.not_in(list(names))))
