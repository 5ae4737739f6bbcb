"""A clock that tests move. Whoever waits on it moves it, so nothing ever waits in real time."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Waiting moves this clock at once; `on_wait` may do something meanwhile (set an event, advance a server)."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self.waits: list[float] = []
        self.on_wait: Callable[[threading.Event, float], None] | None = None

    def monotonic(self) -> float:
        return self.time_s

    def boottime(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.time_s += seconds
        self.wall += timedelta(seconds=seconds)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        if self.on_wait is not None:
            self.on_wait(event, timeout_s)
        if event.is_set():
            return True
        self.waits.append(timeout_s)
        self.advance(max(0.0, timeout_s))
        return False
