"""Time that never steps, for who was heard when.

The wall clock of a center may jump by hours (NTP, a dead battery), and nobody must be called offline, or alive, for
that. So agents, instances and runs are stamped with steady time: the clock that counts since boot, plus an offset
that is chosen once a boot and kept in the database, so that all processes agree. It begins at the wall clock's time
(where several machines share a database: at the database's, so that these agree as well) and never goes back.
The database's clock may step between two machines' starts: who finds the pulse of another ahead of itself follows it.
`shown` turns a stamp into the wall clock's time as the wall clock is now.
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection, Engine

from nerve_center.clock import Clock
from nerve_center.store import settings
from nerve_center.store.engine import is_postgresql, reading
from nerve_center.store.tables import instances

_NAME = "steady"
LISTENING = "listening"
"""Where the center's pulse stands."""


class Steady:
    """Steady time of one process; reads the offset at its first use.

    Args:
        engine: for reading.
        clock: the machine's clocks.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._offset_us: int | None = None

    def now_us(self) -> int:
        """Microseconds; comparable with the stamps in the database. Raises DatabaseUnavailable."""
        if self._offset_us is None:
            with reading(self._engine) as connection:
                self._offset_us = offset_us(connection, self._clock)
        return self._clock.boottime_us() + self._offset_us

    def follow(self, stamp_us: int) -> None:
        """Go on from another machine's time where that is ahead of ours. Raises DatabaseUnavailable."""
        ahead_us = stamp_us - self.now_us()
        if ahead_us > 0 and self._offset_us is not None:
            self._offset_us += ahead_us

    def shown(self, stamp_us: int) -> int:
        """The time of day of a stamp, in microseconds since 1970."""
        return stamp_us - self.now_us() + self._clock.now_us()


def settle(connection: Connection, clock: Clock) -> None:
    """Choose the offset when this is the first start since the machine booted."""
    boot = _boot_id()
    latest = _latest_us(connection)
    named, _, before = (settings.get(connection, _name(connection)) or "").partition(" ")
    # In the service's sandbox the boot has no name (ProcSubset=pid). A clock behind its own stamps began anew.
    if named == boot and clock.boottime_us() + int(before) >= latest:
        return
    offset = max(_now_us(connection, clock), latest) - clock.boottime_us()
    settings.put(connection, _name(connection), f"{boot} {offset}")


def _name(connection: Connection) -> str:
    """Each machine that shares a database has an offset of its own: each counts from its own boot."""
    if not is_postgresql(connection):
        return _NAME
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except OSError:
        machine = ""
    named = hashlib.sha256(f"{machine} {socket.gethostname()}".encode()).hexdigest()[:16]
    return f"{_NAME} {named}"


def _now_us(connection: Connection, clock: Clock) -> int:
    """The time of day: by the database's clock where several machines have to agree on it."""
    if not is_postgresql(connection):
        return clock.now_us()
    found = connection.execute(text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"))
    return int(found.scalar_one())


def _latest_us(connection: Connection) -> int:
    """The newest stamp: when an agent was last heard, or the center's last pulse (`store.states`)."""
    heard = connection.execute(select(func.max(instances.c.last_seen_us))).scalar() or 0
    return max(int(heard), int(settings.get(connection, LISTENING) or 0))


def offset_us(connection: Connection, clock: Clock) -> int:
    """What steady time is ahead of the clock that counts since boot."""
    row = settings.get(connection, _name(connection))
    if row is None:  # a machine that runs no nerve center and only asks
        return max(_now_us(connection, clock), _latest_us(connection)) - clock.boottime_us()
    return int(row.partition(" ")[2])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"
