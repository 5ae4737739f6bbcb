"""A worker's sign of life, on a clock that never steps.

gunicorn before 22 compares the time of day with the time at which a file was changed: a clock that is set an hour
ahead, or a machine that was suspended, would have it kill every worker as hung.
"""

from __future__ import annotations

import os
import time
from typing import Any

import gunicorn
from gunicorn.workers.workertmp import WorkerTmp

_TIME_OF_DAY = gunicorn.version_info < (22,)


class Pulse(WorkerTmp):  # type: ignore[misc]  # gunicorn has no types
    """What master and worker share in place of gunicorn's own.

    Args:
        cfg: gunicorn's settings.
        time_of_day: whether gunicorn compares `last_update` with the time of day, as it did before 22.
    """

    def __init__(self, cfg: Any, time_of_day: bool = _TIME_OF_DAY) -> None:
        super().__init__(cfg)
        self._time_of_day = time_of_day
        self.notify()

    def notify(self) -> None:
        """The worker lives."""
        now_ns = time.monotonic_ns()
        os.utime(self.fileno(), ns=(now_ns, now_ns))

    def last_update(self) -> float:
        """When it lived last, in seconds of the clock that gunicorn compares this with."""
        beat_s = os.fstat(self.fileno()).st_mtime
        return time.time() - (time.monotonic() - beat_s) if self._time_of_day else beat_s
