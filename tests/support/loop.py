"""What the main thread's loop is tried with: a part without work, and an inbox in which nothing comes for a while."""

from __future__ import annotations

import signal

from dio_daemon import daemon
from tests.support.clock import FakeClock


class Idle:
    """A worker without work, that never beats."""

    stopping = True

    def step(self) -> str:
        return ""

    def stop(self) -> None:
        return


class QuietInbox(daemon.Inbox):
    """Nothing comes until a time (monotonic seconds), then SIGTERM; waiting lets the time pass."""

    def __init__(self, clock: FakeClock, until: float) -> None:
        super().__init__()
        self._clock = clock
        self._until = until
        self.asked = 0

    def get(self, timeout_s: float) -> object | None:
        self.asked += 1
        assert self.asked < 1000, "main goes round and round"
        self._clock.advance(timeout_s)
        return signal.SIGTERM if self._clock.monotonic() >= self._until else None
