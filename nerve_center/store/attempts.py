"""Attempts to log in, counted in the database so that all workers share the count.

An attempt is counted before the password is looked at: guesses that come at the same moment count one by one.
"""

from __future__ import annotations

from sqlalchemy import delete, select, text, update
from sqlalchemy.engine import Connection

from nerve_center.store.people_tables import login_attempts

_ADD = text(
    "INSERT INTO login_attempts (subject, count, until_us) VALUES (:subject, 0, :until) "
    "ON CONFLICT (subject) DO NOTHING"
)


def count(connection: Connection, subject: str, now_us: int, window_us: int) -> tuple[int, int]:
    """Count one attempt; the number of attempts in its window, and when that ends (steady time)."""
    forget_old(connection, now_us)
    connection.execute(_ADD, {"subject": subject, "until": now_us + window_us})
    mine = login_attempts.c.subject == subject
    connection.execute(update(login_attempts).where(mine).values(count=login_attempts.c.count + 1))
    wanted = select(login_attempts.c.count, login_attempts.c.until_us).where(mine)
    number, until_us = connection.execute(wanted).one()
    return int(number), int(until_us)


def forgive(connection: Connection, subject: str) -> None:
    """Take one attempt back: it was right."""
    connection.execute(
        update(login_attempts)
        .where(login_attempts.c.subject == subject, login_attempts.c.count > 0)
        .values(count=login_attempts.c.count - 1)
    )


def forget_old(connection: Connection, now_us: int) -> None:
    """Remove counts whose window has ended."""
    connection.execute(delete(login_attempts).where(login_attempts.c.until_us <= now_us))
