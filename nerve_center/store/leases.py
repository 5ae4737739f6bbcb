"""Who of several processes does what only one may do: a row with its holder and a count of the holder's beats.

Nobody compares clocks. The holder counts `beat` up; whoever waits takes over when it has seen the same beat for long
enough on its own clock, and the take-over succeeds only where the beat is still the one that was seen.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from nerve_center.store.tables import leases

KEEPER = "keeper"


class Row(NamedTuple):
    """A lease as it stands; the holder is "" where nobody has it."""

    holder: str
    beat: int


def read(connection: Connection, name: str) -> Row:
    row = connection.execute(select(leases.c.holder, leases.c.beat).where(leases.c.name == name)).one()
    return Row(row.holder, row.beat)


def take(connection: Connection, name: str, holder: str, seen_beat: int) -> bool:
    """Take or renew a lease whose beat is still the one that was seen; whether that succeeded."""
    done = connection.execute(
        update(leases)
        .where(leases.c.name == name, leases.c.beat == seen_beat)
        .values(holder=holder, beat=seen_beat + 1)
    )
    return bool(done.rowcount)


def release(connection: Connection, name: str, holder: str) -> None:
    """Let go of it, so that another can take it at once."""
    connection.execute(
        update(leases)
        .where(leases.c.name == name, leases.c.holder == holder)
        .values(holder="", beat=leases.c.beat + 1)
    )


def is_held(connection: Connection, name: str, holder: str) -> bool:
    """Whether it is this holder's, and stays so until the transaction's end."""
    found = connection.execute(
        select(leases.c.holder).where(leases.c.name == name).with_for_update(read=True)
    ).scalar()
    return found == holder
