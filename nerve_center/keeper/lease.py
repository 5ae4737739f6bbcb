"""One keeper works, however many run.

    renew every   lease_s / 10
    hold for      lease_s * 0.6 from the moment before a renewal began; past that the work stops by itself
    take over     when the same beat was seen for lease_s * 0.6, or the holder let go

So another is at work within `lease_s` of the holder's end (0.1 to notice, 0.6 to be sure, 0.1 to act), and never
while the holder still believes in its lease: its own clock began to run before the beat that the others count from.
"""

from __future__ import annotations

import logging

from sqlalchemy.engine import Engine

from nerve_center.clock import Clock
from nerve_center.errors import DatabaseUnavailable
from nerve_center.store import leases
from nerve_center.store.engine import reading
from nerve_center.store.writer import Writer

_log = logging.getLogger(__name__)

_RENEW_SHARE = 0.1
_HOLD_SHARE = 0.6


class Lease:
    """This process's hold on the keeper's lease. One thread calls `step`; any may ask `held`.

    Args:
        holder: what this process is known by; other than every other's.
        lease_s: within how many seconds another keeper takes over.
    """

    def __init__(self, engine: Engine, writer: Writer, clock: Clock, holder: str, lease_s: float) -> None:
        self.holder = holder
        self.every_s = lease_s * _RENEW_SHARE
        self._hold_s = lease_s * _HOLD_SHARE
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._until: float | None = None
        self._seen: leases.Row | None = None
        self._seen_since = 0.0

    @property
    def held(self) -> bool:
        """Whether this keeper is the one that works."""
        until = self._until
        return until is not None and self._clock.monotonic() < until

    @property
    def other(self) -> str | None:
        """Who has it, as far as is known; None where nobody else has."""
        seen = self._seen
        return seen.holder if seen is not None and seen.holder not in ("", self.holder) else None

    def step(self) -> str:
        """Renew the lease, or take it where it is free; what came of it, in a sentence."""
        before, had = self._clock.monotonic(), self.held
        try:
            row = self._look()
            taken = self._free(row) and self._take(row)
        except DatabaseUnavailable as exc:
            return f"the lease cannot be renewed: {exc.full}"
        if taken:
            self._until = before + self._hold_s
            if not had:
                _log.info("this keeper is active (%s)", self.holder)
            return "active"
        self._until = None
        if had:
            _log.warning("another keeper has taken the lease: %s", self.other)
        return f"waiting, {self.other} is active" if self.other else "waiting for the lease"

    def release(self) -> None:
        """Hand it over at once. What goes wrong is left to time."""
        self._until = None
        try:
            self._writer.submit(lambda connection: leases.release(connection, leases.KEEPER, self.holder))
        except DatabaseUnavailable as exc:
            _log.debug("the lease could not be released: %s", exc.reason)

    def _look(self) -> leases.Row:
        with reading(self._engine) as connection:
            row = leases.read(connection, leases.KEEPER)
        if row != self._seen:
            self._seen, self._seen_since = row, self._clock.monotonic()
        return row

    def _free(self, row: leases.Row) -> bool:
        if row.holder in ("", self.holder):
            return True
        return self._clock.monotonic() - self._seen_since >= self._hold_s

    def _take(self, row: leases.Row) -> bool:
        return self._writer.submit(
            lambda connection: leases.take(connection, leases.KEEPER, self.holder, row.beat),
            patience_s=self._hold_s / 2,
        )
