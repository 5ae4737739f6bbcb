"""Waiting for signals that are blocked, in the main thread."""

from __future__ import annotations

import signal
from collections.abc import Collection


def take(signals: Collection[int], seconds: float) -> int | None:
    """Wait for one of these signals; None where none came in time.

    Where a process is stopped and continued, and its time is over by then, CPython 3.11 to 3.13 tells of a signal that
    never was: what is not in `signals` counts as none.
    """
    found = signal.sigtimedwait(signals, seconds)
    return found.si_signo if found is not None and found.si_signo in signals else None
