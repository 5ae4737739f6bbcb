"""Who was on this host when a change was noticed. Nobody records who made it: this is who could have.

Sessions are logind's (`/run/systemd/sessions`), the uses of sudo and su what the journal says; of a command run by sudo
only the program, for arguments hold passwords.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from typing import Any

from dio_daemon.detect.integrity.follow import Line
from dio_daemon.detect.integrity.host import Host
from dio_daemon.text import safe

SESSIONS = "/run/systemd/sessions"
RECENT_S = 300.0
MOST_SESSIONS = 8
MOST_USES = 5
_SUDO = re.compile(
    r"\s*(?P<by>\S+) : .*?\bTTY=(?P<terminal>\S+) ;.*?\bUSER=(?P<to>\S+) ;.*?\bCOMMAND=(?P<program>\S+)"
)
_SU = re.compile(r"\(to (?P<to>\S+)\) (?P<by>\S+) on (?P<terminal>\S+)")
_WANTED = {"NAME": "user", "TTY": "terminal", "REMOTE_HOST": "from", "SERVICE": "by"}


class People:
    """Knows who is logged in and who became somebody else of late. Belongs to one thread.

    Args:
        host: whose.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._uses: deque[tuple[float, dict[str, str]]] = deque(maxlen=MOST_USES)

    def take(self, lines: Iterable[Line], now: float) -> None:
        """What was said about sudo and su. `now` is monotonic seconds."""
        for line in lines:
            if line.by in ("sudo", "su"):
                found = (_SUDO.match if line.by == "sudo" else _SU.search)(line.text)
                if found is not None and "command not allowed" not in line.text:
                    use = {name: safe(value, 128) for name, value in found.groupdict().items()}
                    self._uses.append((now, {"with": line.by} | use))

    def present(self, now: float) -> dict[str, Any]:
        """For evidence: who is logged in, and who used sudo or su within `RECENT_S`. `now` is monotonic seconds."""
        uses = [use | {"seconds_ago": round(now - at)} for at, use in self._uses if now - at <= RECENT_S]
        return {"logged_in": self._sessions(), "became_another": uses}

    def _sessions(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        try:
            names = sorted(os.listdir(self._host.at(SESSIONS)))
        except OSError:
            return []
        for name in names:
            if name.endswith(".ref") or len(found) >= MOST_SESSIONS:
                continue
            try:
                text = self._host.read(f"{SESSIONS}/{name}", 8192)
            except OSError:
                continue
            session = _session(text)
            if session is not None:
                found.append(session)
        return found


def _session(text: bytes) -> dict[str, str] | None:
    """A person's session; None for one of the system's own."""
    fields = dict(
        line.split("=", 1) for line in text.decode("utf-8", "replace").splitlines() if line.count("=") > 0
    )
    if fields.get("CLASS", "user").partition("-")[0] not in ("user", "greeter"):
        return None
    if fields.get("STATE") == "closing":
        return None
    return {shown: safe(fields[name], 128) for name, shown in _WANTED.items() if fields.get(name)} or None
