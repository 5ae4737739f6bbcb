"""What a task of the keeper is, and what it works with.

A task has a name, how often it wants its turn, and a step: a function that gets a `Desk`, does what is due, and
returns a sentence about it ("" when nothing was worth one). Steps of one task never overlap; each task has its own
thread, so one that waits for the network holds up nobody. What a step does has to be safe to do again: a keeper may
end anywhere in it.

    def step(desk: Desk) -> str:
        with desk.reading() as connection: ...     # one unchanging view of the database
        desk.write(lambda connection: ...)         # one short transaction; refused once the lease is lost
        desk.pause(0.05)                           # between batches: lets others write, and stops in time
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.engine import Connection, Engine

from nerve_center.clock import Clock
from nerve_center.config import Config
from nerve_center.errors import CenterError
from nerve_center.keeper.lease import Lease
from nerve_center.store import leases, states
from nerve_center.store.engine import reading
from nerve_center.store.steady import Steady
from nerve_center.store.writer import PATIENCE_S, Writer

T = TypeVar("T")


class NotNow(CenterError):
    """This keeper is to stop, or is no longer the active one: the step ends where it is."""


@dataclass(frozen=True)
class Task:
    """One duty. `every_s` counts from a step's end; a step that is silent for `allowed_s` counts as hung."""

    name: str
    every_s: float
    step: Callable[[Desk], str]
    allowed_s: float = 300.0


class Desk:
    """What one task works with. `beat` and `pause` also say that the step is alive."""

    def __init__(
        self,
        settings: Config,
        engine: Engine,
        writer: Writer,
        lease: Lease,
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.clock = clock
        self.steady = Steady(engine, clock)
        self.beaten = clock.monotonic()
        self._writer = writer
        self._lease = lease
        self._stopping = stopping

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection that sees the database as it is now. Raises DatabaseUnavailable."""
        return reading(self.engine)

    def follow(self) -> None:
        """Let steady time go on from where the machines that serve are. Raises DatabaseUnavailable."""
        with self.reading() as connection:
            self.steady.follow(states.listening_us(connection) or 0)

    def write(self, work: Callable[[Connection], T], patience_s: float = PATIENCE_S) -> T:
        """Run `work` in a transaction and return its result once that is committed.

        Raises NotNow where the lease is lost, DatabaseUnavailable, and whatever `work` raised.
        """
        self.check()

        def fenced(connection: Connection) -> T:
            if not leases.is_held(connection, leases.KEEPER, self._lease.holder):
                raise NotNow("another keeper has the lease")
            return work(connection)

        return self._writer.submit(fenced, patience_s)

    def pause(self, seconds: float) -> None:
        """Let others have their turn. Raises NotNow."""
        self.clock.wait(self._stopping, seconds)
        self.check()

    def check(self) -> None:
        """Raises NotNow when the step has to end."""
        self.beat()
        if self._stopping.is_set():
            raise NotNow("the keeper stops")
        if not self._lease.held:
            raise NotNow("the lease is lost")

    def beat(self) -> None:
        """Say that the step is alive, before something that may take long."""
        self.beaten = self.clock.monotonic()
