"""Connections that cannot be taken, for want of descriptors or memory: one line a minute, not a traceback each.

gevent tries again by itself, ten times a second at first, and its hub would print every failure. What else goes
wrong there is still printed.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Any, Protocol

log = logging.getLogger(__name__)

QUIET_S = 60.0
_SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Monotonic(Protocol):
    """What this needs of a clock."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps."""


HandleError = Callable[[Any, Any, Any, Any], None]


class Refusals:
    """Stands before the hub's `handle_error`.

    Args:
        otherwise: the hub's own, for everything else.
        clock: for the minute.
    """

    def __init__(self, otherwise: HandleError, clock: Monotonic) -> None:
        self._otherwise = otherwise
        self._clock = clock
        self._told_s: float | None = None
        self._untold = 0

    def __call__(self, context: Any, type_: Any, value: Any, traceback: Any) -> None:
        """Take one error, as the hub's handler does. Raises what that one raises, and nothing of its own."""
        if not hasattr(context, "do_read") or getattr(value, "errno", None) not in _SHORT_OF:
            self._otherwise(context, type_, value, traceback)
            return
        now = self._clock.monotonic()
        if self._told_s is not None and now - self._told_s < QUIET_S:
            self._untold += 1
            return
        more = f" ({self._untold} more times in the last minute or so)" if self._untold else ""
        self._told_s, self._untold = now, 0
        log.warning(
            "This worker cannot take more connections for now: %s%s. They wait; if it lasts, raise LimitNOFILE= "
            "of the unit or look for who holds so many",
            value.strerror,
            more,
        )
