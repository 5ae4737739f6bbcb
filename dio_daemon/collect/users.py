"""Names of users.

/etc/passwd comes first: it never hangs. Only a uid that is not in it is asked of the name service, which may
go over the network, so that runs apart with a time limit. Answers are kept for a while.
"""

import pwd
from functools import partial

from dio_daemon.clock import Clock
from dio_daemon.collect.apart import Apart
from dio_daemon.collect.procfs import Roots, read
from dio_daemon.text import safe

KEEP_S = 600.0
MOST_NAMES = 1024


class Users:
    """Tells the name of a uid."""

    def __init__(self, clock: Clock, roots: Roots, apart: Apart) -> None:
        self._clock = clock
        self._roots = roots
        self._apart = apart
        self._names: dict[int, str] = {}
        self._read_at: float | None = None

    def name(self, uid: int) -> str:
        """Return the user's name, or the uid itself when it has none that can be had in time."""
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at > KEEP_S or len(self._names) > MOST_NAMES:
            self._names = self._passwd()
            self._read_at = now
        if uid not in self._names:
            answer = self._apart.run({b"uid %d" % uid: partial(_ask, uid)})[b"uid %d" % uid]
            self._names[uid] = str(uid) if isinstance(answer, Exception) else answer
        return self._names[uid]

    def _passwd(self) -> dict[int, str]:
        names: dict[int, str] = {}
        try:
            text = read(f"{self._roots.etc}/passwd", 1 << 20)
        except OSError:
            return names
        for line in text.split(b"\n"):
            fields = line.split(b":")
            if len(fields) > 2 and fields[2].isdigit() and len(names) < MOST_NAMES:
                names.setdefault(int(fields[2]), safe(fields[0], 255))
        return names


def _ask(uid: int) -> str:
    try:
        return safe(pwd.getpwuid(uid).pw_name, 255)
    except (KeyError, OverflowError) as error:
        raise ValueError(f"no user has the uid {uid}") from error
