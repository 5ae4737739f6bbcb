"""Who is let in while the center is under pressure.

A center that comes back to thousands of agents would be asked by all of them at once. What one process has in
hand is bounded: beyond it, a request that would write is answered at once, before anything of it is read, with
503 and a Retry-After that is spread, so that the herd comes back as a stream. Asking for health is always let in.
"""

from __future__ import annotations

import random
from collections import deque
from types import TracebackType

from nerve_center.errors import DatabaseUnavailable

MOST_AT_ONCE = 64
"""Requests that one process works on; at a few milliseconds each, `/health` waits a fraction of a second."""
RETRY_AFTER_S = 3
"""The least that is asked for; the answer spreads it up to three times that."""


class Admission:
    """A number of places, in a `with` block each. Raises DatabaseUnavailable (kind `busy`) when none is free."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._free = deque(range(most))  # taking one and giving it back are single steps; a lock costs more
        self.refused = 0

    def __enter__(self) -> None:
        try:
            self._free.pop()
        except IndexError:
            self.refused += 1
            raise DatabaseUnavailable("busy", "too many agents at once", RETRY_AFTER_S) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free.append(0)


def spread(least_s: int, rng: random.Random) -> int:
    """A Retry-After between `least_s` and three times that, whole seconds."""
    return rng.randint(least_s, 3 * least_s)
