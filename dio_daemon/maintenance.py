"""A maintenance window: reporting pauses until a moment that was announced, sampling goes on.

The window is kept in the state folder, so that a restart does not end it. Its end is counted on the clock since
boot; after a reboot on the wall clock, the only one that is left then. A wall clock that is wrong can make the
window no longer than it was when it was announced.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.files import replace_file

log = logging.getLogger(__name__)

MAX_S = 7 * 86400.0
"""No window is longer: a host that is forgotten in maintenance is not under watch."""


@dataclass(frozen=True)
class Window:
    """When reporting begins again: seconds since boot, and the time of day."""

    boot_id: str
    until_boottime_s: float
    until: str
    for_s: float
    reason: str


class Maintenance:
    """The window in force, if any. May be used from any thread.

    Args:
        path: its file in the state folder.
        clock: for its end.
        boot_id: whether the clock since boot is still the one that the window was made on.
    """

    def __init__(self, path: Path, clock: Clock, boot_id: str | None) -> None:
        self._path = path
        self._clock = clock
        self._boot_id = boot_id or ""
        self._window = self._read()

    @property
    def window(self) -> Window | None:
        """The window in force."""
        window = self._window
        if window is not None and self._clock.boottime() >= window.until_boottime_s:
            return None
        return window

    def left_s(self) -> float:
        """Seconds until reporting begins again; 0 when it is not paused."""
        window = self.window
        return 0.0 if window is None else window.until_boottime_s - self._clock.boottime()

    def begin(self, for_s: float, reason: str) -> Window:
        """Pause reporting for so many seconds."""
        until = rfc3339(self._clock.now() + timedelta(seconds=for_s))
        window = Window(self._boot_id, self._clock.boottime() + for_s, until, for_s, reason)
        self._window = window
        try:
            replace_file(self._path, json.dumps(asdict(window)).encode(), 0o600)
        except OSError as error:
            log.warning(
                "Cannot write %s, a restart would end the maintenance: %s", self._path, error.strerror
            )
        return window

    def end(self) -> bool:
        """End the window; whether there was one."""
        was, self._window = self.window, None
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("Cannot remove %s: %s", self._path, error.strerror)
        return was is not None

    def _read(self) -> Window | None:
        try:
            found = json.loads(self._path.read_bytes())
            for_s = min(float(found["for_s"]), MAX_S)
            until = datetime.fromisoformat(found["until"].replace("Z", "+00:00")).astimezone(UTC)
            ends, boot_id, reason = float(found["until_boottime_s"]), found["boot_id"], str(found["reason"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None  # no window, or none that can be trusted: the host is watched
        now = self._clock.boottime()
        if not boot_id or boot_id != self._boot_id:
            ends = now + (until - self._clock.now()).total_seconds()
        return Window(self._boot_id, min(ends, now + for_s), found["until"], for_s, reason)
