"""An announced change window: what changes in it is recorded and not told.

It is kept in the state folder, so that a restart of the agent in the middle of an upgrade does not end it.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.files import replace_file

MOST_S = 86400.0
SLACK_S = 5.0
"""What is noticed so long after the end changed before it."""


class ChangeWindow:
    """The window in force, if any. May be used from any thread.

    Args:
        path: its file in the state folder.
        clock: for its bounds.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._span: tuple[float, float, str] | None = None
        self.accept_asked = False
        """Whether all that differs now is to be taken as well; the detectors' thread does it."""
        self._load()

    def begin(self, for_s: float, reason: str) -> dict[str, Any]:
        """Open it for so many seconds. Raises OSError when it cannot be kept; it is not open then."""
        now = self._clock.now().timestamp()
        span = (now, now + min(for_s, MOST_S), reason)
        replace_file(self._path, json.dumps(span).encode("ascii"), 0o600)
        with self._lock:
            self._span = span
        return self.document() or {}

    def end(self) -> bool:
        """Close it; whether it was open."""
        with self._lock:
            now = self._clock.now().timestamp()
            was = self._span is not None and now < self._span[1]
            if self._span is not None:
                self._span = (self._span[0], min(now, self._span[1]), self._span[2])
        self._path.unlink(missing_ok=True)
        return was

    def document(self) -> dict[str, Any] | None:
        """When it began and ends, and why; None when it is not open."""
        with self._lock:
            span = self._span
        now = self._clock.now()
        if span is None or not span[0] - SLACK_S <= now.timestamp() < span[1]:
            return None
        moment = type(now).fromtimestamp(span[1], now.tzinfo)
        return {"until": rfc3339(moment), "reason": span[2]}

    def covers(self, moment: float) -> bool:
        """Whether a moment of the wall clock, in seconds, lies in it."""
        with self._lock:
            span = self._span
        return span is not None and span[0] <= moment <= span[1] + SLACK_S

    def open(self) -> bool:
        """Whether it is open now."""
        return self.covers(self._clock.now().timestamp())

    def _load(self) -> None:
        try:
            start, end, reason = json.loads(self._path.read_bytes()[:4096])
        except (OSError, ValueError, TypeError, RecursionError):
            return
        numbers = isinstance(start, (int, float)) and isinstance(end, (int, float))
        if numbers and isinstance(reason, str) and end - start <= MOST_S:
            self._span = (float(start), float(end), reason)
