"""What is remembered from one start to the next while starting fails.

systemd starts an agent that gave up again and again. Without a memory every cycle would fill the journal with
the same lines, and an agent that was refused would knock every second. So the state folder keeps how often the
start failed in this boot and why; later cycles are quiet but for one line in five minutes, and a refused agent
waits longer each time. With another token or configuration it is a new beginning: what is wrong then is news.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dio_daemon.clock import Clock
from dio_daemon.files import replace_file

log = logging.getLogger(__name__)

QUIET_S = 300.0
"""One line in this time while nothing changes."""
FORGET_S = 600.0
"""A start this long after the last failure is a new one, not the next of a row."""
MAX_REFUSED_WAIT_S = 30.0


@dataclass(frozen=True)
class Failures:
    """Failed starts in a row: how many, how many of them refusals, and when (seconds since boot)."""

    boot_id: str = ""
    count: int = 0
    refusals: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    logged_s: float = 0.0
    credentials: str = ""
    reason: str = ""


class StartHistory:
    """The failed starts of this boot.

    Args:
        path: the file in the state folder.
        clock: its boot time orders starts of one boot.
        boot_id: a reboot begins a new row.
        credentials: `credentials_stamp` of now; what failed with another one is another row.
    """

    def __init__(self, path: Path, clock: Clock, boot_id: str | None, credentials: str) -> None:
        self._path = path
        self._clock = clock
        self._boot_id = boot_id or ""
        self.failures = self._read(credentials)

    @property
    def quiet(self) -> bool:
        """Whether this start is the next of a row that was reported already."""
        return self.failures.count > 0

    def may_speak(self) -> bool:
        """True once in `QUIET_S` while quiet; always when not."""
        now = self._clock.boottime()
        if self.quiet and now - self.failures.logged_s < QUIET_S:
            return False
        self.failures = replace(self.failures, logged_s=now)
        return True

    def refused_wait_s(self, credentials: str) -> float:
        """Seconds to hold back after refusals; 0 when the credentials are not those that were refused."""
        if not self.failures.refusals or credentials != self.failures.credentials:
            return 0.0
        return min(2.0 ** min(self.failures.refusals, 10), MAX_REFUSED_WAIT_S)

    def failed(self, refused: bool, credentials: str, reason: str) -> None:
        """Write down that this start failed, and why."""
        now = self._clock.boottime()
        known = self.failures
        same = credentials == known.credentials
        self.failures = replace(
            known,
            boot_id=self._boot_id,
            count=known.count + 1,
            refusals=(known.refusals if same else 0) + 1 if refused else 0,
            first_s=known.first_s if known.count else now,
            last_s=now,
            logged_s=known.logged_s or now,
            credentials=credentials,
            reason=reason,
        )
        try:
            replace_file(self._path, json.dumps(asdict(self.failures)).encode(), 0o600)
        except OSError as error:
            log.debug("Cannot write %s: %s", self._path, error.strerror)

    def succeeded(self) -> None:
        """Forget the row."""
        self.failures = Failures()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.debug("Cannot remove %s: %s", self._path, error.strerror)

    def _read(self, credentials: str) -> Failures:
        try:
            known = Failures(**json.loads(self._path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return Failures()  # nothing known is a fresh row, the harmless reading of a lost file
        if (known.boot_id, known.credentials) != (self._boot_id, credentials):
            return Failures()
        return Failures() if self._clock.boottime() - known.last_s > FORGET_S else known


def credentials_stamp(token_file: Path, configuration: Path) -> str:
    """A stamp of the files that decide whether a start goes well, another one when any of them is another one."""
    folder = configuration.with_name(configuration.name + ".d")
    parts = []
    for path in (token_file, configuration, folder, *sorted(folder.glob("*.toml"))):
        try:
            found = path.stat()
            parts.append(f"{found.st_ino}:{found.st_mtime_ns}:{found.st_size}")
        except OSError:
            parts.append("-")
    return "/".join(parts)
