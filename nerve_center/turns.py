"""Readers take turns, so that people who look at pages do not keep agents waiting.

A page of a large fleet, or a chart of a year, takes a worker tens of milliseconds in which nothing else runs in that
process. So one of them is made at once, the others wait; and whoever has a turn calls `breathe` between two
pieces of its work, which lets everything else run that is ready: above all, reports of agents. Outside of a turn
`breathe` does nothing, and agents never take one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from nerve_center.errors import DatabaseUnavailable

AT_ONCE = 1
MOST_WAITING = 64
PATIENCE_S = 20.0
_RETRY_AFTER_S = 5

_mine = threading.local()


class Turns:
    """Gives turns to readers. `give_way` lets whatever else is ready run; by itself it does nothing."""

    def __init__(self, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        self.give_way: Callable[[], None] = _stay
        self._places = threading.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._waiting = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Wait for a turn. Raises DatabaseUnavailable (kind `busy`) where too many wait, or for too long."""
        with self._lock:
            if self._waiting >= self._most_waiting:
                raise _too_many()
            self._waiting += 1
        try:
            if not self._places.acquire(timeout=PATIENCE_S):
                raise _too_many()
        finally:
            with self._lock:
                self._waiting -= 1
        _mine.give_way = self.give_way

    def leave(self) -> None:
        """End the turn; nothing where there is none."""
        if getattr(_mine, "give_way", None) is not None:
            _mine.give_way = None
            self._places.release()


def breathe() -> None:
    """Let others run, where this is a reader's turn."""
    give_way = getattr(_mine, "give_way", None)
    if give_way is not None:
        give_way()


def _stay() -> None:
    pass


def _too_many() -> DatabaseUnavailable:
    return DatabaseUnavailable("busy", "too many readers at once", _RETRY_AFTER_S)
