"""Moments at which something is cut off, kept by one thread that waits for other things anyway.

    deadline = deadlines.set(30.0, cut)      from any thread; `cut` is called once, unless it is cancelled before
    deadline.cancel()

    wait_s = deadlines.keep()                the keeper: cuts what is due, and says when to look again

A thread or a timer for each deadline would cost more than what it guards. Nothing wakes the keeper for a deadline that
comes later than its next look, and nothing wakes it for one that is cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from dio_daemon.clock import Clock

LOOK_S = 30.0
"""The keeper looks this often when nothing is due before."""


class Deadline:
    """One of them; `cut` may not block."""

    def __init__(self, deadlines: Deadlines, at: float, cut: Callable[[], None]) -> None:
        self.at = at
        self.cut = cut
        self._deadlines = deadlines

    def cancel(self) -> None:
        """It is kept no more; one whose time has come may be cut at this very moment."""
        self._deadlines.forget(self)


class Deadlines:
    """All of them. `set` and `cancel` may be called from any thread, `keep` belongs to the keeper.

    Args:
        clock: for the moments.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: set[Deadline] = set()
        self._next_look = clock.monotonic()
        self.wake: Callable[[], None] = lambda: None
        """Ends the keeper's waiting, for a deadline that comes before its next look."""

    def set(self, seconds: float, cut: Callable[[], None]) -> Deadline:
        """Call `cut` in so many seconds."""
        deadline = Deadline(self, self._clock.monotonic() + seconds, cut)
        with self._lock:
            self._kept.add(deadline)
            too_late = deadline.at < self._next_look
        if too_late:
            self.wake()
        return deadline

    def keep(self) -> float:
        """Cut what is due; seconds until the next look, `LOOK_S` at most."""
        now = self._clock.monotonic()
        with self._lock:
            due = [deadline for deadline in self._kept if deadline.at <= now]
            self._kept.difference_update(due)
            self._next_look = min([now + LOOK_S, *(deadline.at for deadline in self._kept)])
            wait_s = self._next_look - now
        for deadline in sorted(due, key=lambda one: one.at):
            deadline.cut()
        return wait_s

    def forget(self, deadline: Deadline) -> None:
        """Keep it no more."""
        with self._lock:
            self._kept.discard(deadline)
