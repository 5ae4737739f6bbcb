"""Which of two processes that claim one identity is the host: told apart without ever mixing their data.

A process start of an agent is a run; it says in which place it runs (a hash of boot and state folder). A new run
of an identity that was heard a moment ago is one of two things: a restart, or a second host with a copy.

    the same place                      a restart: accepted at once
    another place                       in doubt: it waits (409 `instance-in-doubt`) and nothing of it is stored
      the other one is heard after 5 s  both are alive: a clone (409 `instance-cloned`, or kept apart)
      the other one stays silent        it is dead: accepted
    an earlier run comes back           two runs take turns: both are alive, the younger one is the clone

The doubt lasts until the other one is overdue, a minute at most.
"""

from __future__ import annotations

import math
from enum import Enum

from sqlalchemy.engine import Connection

from nerve_center.errors import Refused
from nerve_center.store import runs
from nerve_center.store.agents import Instance

OVERDUE_INTERVALS = 1.5
GRACE_S = 2.0
MOST_DOUBT_S = 60.0
UNDER_WAY_S = 5.0
"""What a host had sent before its power went may be read this much after its next start asked: by a nerve center that
was frozen, or waited for its database. It is no sign of life."""


class Claim(Enum):
    """What became of a run's claim."""

    ACCEPTED = "accepted"
    IN_DOUBT = "in doubt"
    CLONED = "cloned"
    TAKES_TURNS = "takes turns"


def claim(connection: Connection, holder: Instance, run_id: str, place: str | None, now_us: int) -> Claim:
    """Judge a run that claims what `holder` reports as; doubts are written down.

    TAKES_TURNS: accepted, and the holder's present run was found to be the clone.
    """
    known = runs.get(connection, run_id)
    if known is not None and known.cloned_us is not None:
        return Claim.CLONED
    if run_id == holder.run_id or place is None or not in_use(holder, now_us):
        return Claim.ACCEPTED
    current = runs.get(connection, holder.run_id)
    if current is not None and current.place == place:
        return Claim.ACCEPTED
    if known is not None and known.accepted_us is not None:
        runs.cloned(connection, holder.run_id, now_us)
        return Claim.TAKES_TURNS
    if known is None:
        runs.doubted(connection, run_id, holder.instance_id, place, now_us)
        return Claim.IN_DOUBT
    if holder.last_seen_us > known.first_us + round(UNDER_WAY_S * 1e6):
        runs.cloned(connection, run_id, now_us)
        return Claim.CLONED
    return Claim.IN_DOUBT


def in_use(holder: Instance, now_us: int) -> bool:
    """Whether an instance was heard so lately that it may be alive."""
    if holder.revoked or holder.superseded or holder.goodbye_us is not None:
        return False
    return now_us - holder.last_seen_us <= overdue_us(holder)


def overdue_us(holder: Instance) -> int:
    """Microseconds after which an instance that was not heard again counts as gone."""
    return round(min(OVERDUE_INTERVALS * holder.interval_s + GRACE_S, MOST_DOUBT_S) * 1_000_000)


def in_doubt(holder: Instance, now_us: int) -> Refused:
    """The answer to a run in doubt: when to ask again."""
    left_s = (holder.last_seen_us + overdue_us(holder) - now_us) / 1e6
    return Refused(
        409,
        "instance-in-doubt",
        "This identity was heard from elsewhere a moment ago.",
        "The nerve center waits which of the two is alive. Ask again.",
        headers={"Retry-After": str(max(1, min(15, math.ceil(left_s))))},
    )


def is_cloned() -> Refused:
    """The answer to a run that is a clone: make a new instance."""
    return Refused(
        409,
        "instance-cloned",
        "Another live host reports with this identity.",
        "Enroll as a new instance, and give the host a machine id of its own.",
    )


def check_run(holder: Instance, run_id: str, cloned: bool) -> Refused | None:
    """Why a report of a run, which was found to be `cloned`, cannot be taken; None where it is the present one."""
    if cloned:
        return is_cloned()
    if run_id == holder.run_id:
        return None
    return Refused(
        409, "run-not-current", "Another start of this agent has registered since.", "Register again."
    )
