"""How long to wait between attempts: the one place that knows."""

from __future__ import annotations

import random
from collections.abc import Sequence


class Backoff:
    """Waits that grow along a list and stay at its last value, each with jitter on top.

    Args:
        waits_s: seconds, in order; the last one repeats for ever.
        jitter: share of the wait that is added at random, 0.15 for up to 15 %, so that a fleet which lost
            its nerve center at one moment does not return at one moment.
        rng: source of the jitter.
    """

    def __init__(self, waits_s: Sequence[float], jitter: float, rng: random.Random) -> None:
        self._waits_s = tuple(waits_s)
        self._jitter = jitter
        self._rng = rng
        self.attempt = 0

    def next(self) -> tuple[float, float]:
        """Count an attempt; the nominal wait and the real one with its jitter, in seconds."""
        nominal = self._waits_s[min(self.attempt, len(self._waits_s) - 1)]
        self.attempt += 1
        return nominal, self.spread(nominal)

    def spread(self, wait_s: float) -> float:
        """A wait that somebody else chose, with this back-off's jitter added."""
        return wait_s * (1.0 + self._jitter * self._rng.random())

    def reset(self) -> None:
        """Begin again with the first wait."""
        self.attempt = 0
