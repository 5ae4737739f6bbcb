"""Time that never steps, for who was heard when.

The wall clock of a center may jump by hours (NTP, a dead battery), and nobody must be called offline, or alive, for
that. So agents, instances and runs are stamped with steady time: the clock that counts since boot, plus an offset
that is chosen once a boot and kept in the database, so that all processes agree. It begins at the wall clock's time
and never goes back. `shown` turns a stamp into the wall clock's time as the wall clock is now.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection, Engine

from nerve_center.clock import Clock
from nerve_center.store.engine import reading
from nerve_center.store.tables import instances, meta

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
                self._offset_us = offset_us(connection)
        return self._clock.boottime_us() + self._offset_us

    def shown(self, stamp_us: int) -> int:
        """The time of day of a stamp, in microseconds since 1970."""
        return stamp_us - self.now_us() + self._clock.now_us()


def settle(connection: Connection, clock: Clock) -> None:
    """Choose the offset when this is the first start since the machine booted."""
    boot = _boot_id()
    row = connection.execute(select(meta.c.value).where(meta.c.name == _NAME)).scalar()
    latest = _latest_us(connection)
    named, _, before = str(row or "").partition(" ")
    # In the service's sandbox the boot has no name (ProcSubset=pid). A clock behind its own stamps began anew.
    if named == boot and clock.boottime_us() + int(before) >= latest:
        return
    offset = max(clock.now_us(), int(latest)) - clock.boottime_us()
    connection.execute(
        text("INSERT OR REPLACE INTO meta (name, value) VALUES (:name, :value)"),
        {"name": _NAME, "value": f"{boot} {offset}"},
    )


def _latest_us(connection: Connection) -> int:
    """The newest stamp: when an agent was last heard, or the center's last pulse (`store.states`)."""
    heard = connection.execute(select(func.max(instances.c.last_seen_us))).scalar() or 0
    pulse = connection.execute(select(meta.c.value).where(meta.c.name == LISTENING)).scalar() or 0
    return max(int(heard), int(pulse))


def offset_us(connection: Connection) -> int:
    """What steady time is ahead of the clock that counts since boot."""
    row = connection.execute(select(meta.c.value).where(meta.c.name == _NAME)).scalar_one()
    return int(str(row).partition(" ")[2])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"
