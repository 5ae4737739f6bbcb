"""The nerve centers that an agent may report to: several faces of one database, one of them in use.

The first of the list is preferred. One that cannot be reached is left for the next, and a while later the preferred
one is asked for its health again. Both come with jitter, so that the agents of a center that died do not all
arrive at the next one in the same moment, nor all go back in one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from dio_daemon.center import Center
from dio_daemon.errors import CenterError, Rejected

FAIL_OVER_S = 1.0
"""The next center is tried after up to this long."""
FALL_BACK_S = 300.0
"""The preferred center is asked for its health again after half to one and a half times this."""


class Centers:
    """The centers of one configuration.

    Args:
        centers: at least one; the first is preferred.
        rng: source of the jitter.
    """

    def __init__(self, centers: Sequence[Center], rng: random.Random) -> None:
        self._centers = tuple(centers)
        self._rng = rng
        self._at = 0
        self._failed = 0
        self._fall_back_at: float | None = None

    @property
    def current(self) -> Center:
        """The one in use."""
        return self._centers[self._at]

    def __len__(self) -> int:
        return len(self._centers)

    def find_healthy(self, now: float) -> None:
        """Ask for health, the one in use first, and use the first that is well.

        Raises:
            CenterError: what the one in use said, when none is well.
        """
        first: CenterError | None = None
        for step in range(len(self._centers)):
            at = (self._at + step) % len(self._centers)
            try:
                self._centers[at].check_health()
            except CenterError as error:
                first = first or error
            else:
                self._use(at, now)
                return
        assert first is not None  # noqa: S101 - there is at least one center
        raise first

    def fail_over(self, error: CenterError, now: float) -> float | None:
        """Use the next center after an exchange failed; seconds until it is to be tried.

        None where there is none left to try, or where the center's word holds for all of them, for they share one
        database. That it cannot work now, as when it is cut off from the database or stops, is its own word alone; that
        it has too much to do is no reason to go to another.
        """
        if isinstance(error, Rejected) and error.code and not _speaks_for_itself(error):
            return None
        self._failed += 1
        if self._failed >= len(self._centers):
            self._failed = 0
            self._use((self._at + 1) % len(self._centers), now)
            return None
        self._use((self._at + 1) % len(self._centers), now)
        return FAIL_OVER_S * self._rng.random()

    def acknowledged(self) -> None:
        """The one in use works."""
        self._failed = 0

    def fall_back(self, now: float) -> bool:
        """Go back to the preferred center when it is time and it is well; whether that was done."""
        if self._fall_back_at is None or now < self._fall_back_at:
            return False
        try:
            self._centers[0].check_health()
        except CenterError:  # it is asked again; that another one is in use stands in the status
            self._plan(now)
            return False
        self._use(0, now)
        return True

    def fall_back_due(self, now: float) -> bool:
        """Whether `fall_back` would ask the preferred center."""
        return self._fall_back_at is not None and now >= self._fall_back_at

    def _use(self, at: int, now: float) -> None:
        if at == 0:
            self._fall_back_at = None
        elif self._at == 0 or self._fall_back_at is None:
            self._plan(now)
        self._at = at

    def _plan(self, now: float) -> None:
        self._fall_back_at = now + FALL_BACK_S * (0.5 + self._rng.random())


def _speaks_for_itself(error: Rejected) -> bool:
    return (error.status or 0) >= 500 and error.code != "overloaded"
