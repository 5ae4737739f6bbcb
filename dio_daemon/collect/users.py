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
MOST_ASKED = 8
"""Names that one sample asks the name service for; it may be hanging, and each is a thread then."""


class Users:
    """Tells the names of uids."""

    def __init__(self, clock: Clock, roots: Roots, timeout_s: float) -> None:
        self._clock = clock
        self._roots = roots
        self._apart = Apart(timeout_s, MOST_ASKED)
        self._names: dict[int, str] = {}
        self._read_at: float | None = None

    def names(self, uids: set[int]) -> dict[int, str]:
        """Return each user's name, or the uid itself when it has none that can be had in time.

        Takes no longer than the time limit, however many there are.
        """
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at > KEEP_S or len(self._names) > MOST_NAMES:
            self._names = self._passwd()
            self._read_at = now
        unknown = sorted(uids - self._names.keys())[:MOST_ASKED]
        try:
            answers = self._apart.run({b"%d" % uid: partial(_ask, uid) for uid in unknown})
        except OSError:  # no thread to be had
            answers = {}
        for uid in unknown:
            answer = answers.get(b"%d" % uid)
            self._names[uid] = answer if isinstance(answer, str) else str(uid)
        return {uid: self._names.get(uid, str(uid)) for uid in uids}

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
