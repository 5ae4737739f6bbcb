"""Starts of agents' processes: which one an instance reports from, and which came before or are in doubt."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from nerve_center.store.prepared import Prepared
from nerve_center.store.tables import runs

_GET = Prepared(select(runs).where(runs.c.run_id == bindparam("of_run")))
_KEPT = 50
"""Earlier runs of an instance that are remembered: a twin takes turns at once, not after fifty restarts."""


@dataclass(frozen=True)
class Run:
    """One start. `accepted_us` is None while it is in doubt; `cloned_us` says that it was found to be a twin."""

    run_id: str
    instance_id: str
    place: str | None
    first_us: int
    accepted_us: int | None
    cloned_us: int | None


def get(connection: Connection, run_id: str) -> Run | None:
    row = _GET.first(connection, {"of_run": run_id})
    return None if row is None else Run(*row)


def doubted(connection: Connection, run_id: str, instance_id: str, place: str | None, now_us: int) -> Run:
    """Note that a run claims an identity that is in use; it keeps the moment at which it first did."""
    connection.execute(
        insert(runs).values(run_id=run_id, instance_id=instance_id, place=place, first_us=now_us)
    )
    return Run(run_id, instance_id, place, now_us, None, None)


def accepted(connection: Connection, run_id: str, instance_id: str, place: str | None, now_us: int) -> None:
    """This is the run that the instance reports from; a clone is none any more once it has an instance of its own."""
    if get(connection, run_id) is None:
        doubted(connection, run_id, instance_id, place, now_us)
        _forget_old(connection, instance_id)
    connection.execute(
        update(runs)
        .where(runs.c.run_id == run_id)
        .values(instance_id=instance_id, accepted_us=now_us, cloned_us=None)
    )


def cloned(connection: Connection, run_id: str, now_us: int) -> None:
    """Another run of the same instance is alive too, and is the older one."""
    connection.execute(update(runs).where(runs.c.run_id == run_id).values(cloned_us=now_us))


def _forget_old(connection: Connection, instance_id: str) -> None:
    newest = (
        select(runs.c.run_id)
        .where(runs.c.instance_id == instance_id)
        .order_by(runs.c.first_us.desc())
        .limit(_KEPT)
    )
    connection.execute(
        delete(runs).where(runs.c.instance_id == instance_id, runs.c.run_id.not_in(newest.scalar_subquery()))
    )
