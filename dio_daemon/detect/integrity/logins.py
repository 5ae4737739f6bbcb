"""The detector of guessed passwords: many failed logins from one place or by one user, and a success after them."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.follow import Line
from dio_daemon.detect.integrity.told import Told
from dio_daemon.text import safe

BURST = 6
"""Failures within `WINDOW_S` that are no typing mistakes any more."""
MANY = 60
WINDOW_S = 300.0
LASTS_S = 600.0
"""A burst is over when nothing failed for so long."""
AFTER_S = 900.0
"""A success so long after the last failure of a burst belongs to it."""
MOST_SOURCES = 2000
MOST_USERS = 20

_SSH_FAILED = (
    re.compile(
        r"Failed (?P<how>password|keyboard-interactive/pam|none) for (?:invalid user )?(?P<user>.*) "
        r"from (?P<from>\S+) port (?P<port>\d+)"
    ),
    re.compile(r"error: (?P<how>PAM): .* for (?:illegal user )?(?P<user>.*) from (?P<from>\S+)"),
    re.compile(
        r"Connection (?P<how>closed|reset) by (?:authenticating|invalid) user (?P<user>.*) (?P<from>\S+) "
        r"port (?P<port>\d+) \[preauth\]"
    ),
    re.compile(r"Invalid user (?P<user>.*) from (?P<from>\S+) port"),
)
_SSH_ACCEPTED = re.compile(r"Accepted (?P<how>\S+) for (?P<user>\S+) from (?P<from>\S+) port")
_REPEATED = re.compile(r"message repeated (\d{1,4}) times: \[ (.*)\]$")
_PAM_FAILED = re.compile(
    r"pam_unix\((?P<service>sudo|sudo-i|su|su-l|login|gdm-password|polkit-1|cockpit)[:-]auth\): authentication failure;"
    r".*?\bruser=(?P<ruser>\S*).*?\brhost=(?P<from>\S*)(?:.*?\buser=(?P<user>\S+))?"
)
_PAM_OPENED = re.compile(
    r"pam_unix\((?P<service>sudo|sudo-i|su|su-l|login):session\): session opened for user (?P<user>[^\s(]+)\S*"
    r"(?: by (?P<ruser>[^\s(]*))?"
)


@dataclass
class _Source:
    """Where wrong passwords come from."""

    service: str
    where: str
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=MANY * 4))
    users: OrderedDict[str, int] = field(default_factory=OrderedDict)
    total: int = 0
    ports: deque[str] = field(default_factory=lambda: deque(maxlen=MANY))
    """Whose connections have had a wrong password: that they end as well is no further failure."""
    asked_by_pam: bool = False
    """Whether PAM was the last to say that a password was wrong: sshd may say the same again."""
    burst_at: float | None = None


class LoginWatch:
    """Watches logins. Belongs to one thread.

    Args:
        told: tells of those that succeeded after a burst.
    """

    def __init__(self, told: Told) -> None:
        self._told = told
        self._sources: OrderedDict[tuple[str, str], _Source] = OrderedDict()

    def take(self, lines: Iterable[Line], now: float) -> None:
        """What was said. `now` is monotonic seconds."""
        for line in lines:
            repeated = _REPEATED.match(line.text)
            times, text = (min(int(repeated[1]), 500), repeated[2]) if repeated else (1, line.text)
            if line.by.startswith("sshd"):
                self._ssh(text, times, now)
            else:
                self._pam(text, now)

    def look(self, now: float) -> list[Finding]:
        """What is the case."""
        found = []
        for key, source in list(self._sources.items()):
            last = source.failures[-1] if source.failures else float("-inf")
            if source.burst_at is not None and now - last >= LASTS_S:
                source.burst_at = None
            if source.burst_at is not None:
                found.append(_burst(source))
            elif now - last >= AFTER_S:
                del self._sources[key]
        return [*found, *self._told.findings()]

    def _ssh(self, text: str, times: int, now: float) -> None:
        for pattern in _SSH_FAILED:
            failed = pattern.search(text)
            if failed is not None:
                # sshd says of an unknown user both that it is unknown and that its password was wrong
                if not text.startswith("Invalid user"):
                    self._ssh_failed(failed.groupdict(), times, now)
                return
        accepted = _SSH_ACCEPTED.search(text)
        if accepted is not None:
            self._succeeded("ssh", accepted["from"], accepted["user"], accepted["how"], now)

    def _ssh_failed(self, said: dict[str, str | None], times: int, now: float) -> None:
        """A wrong password is one failure, in however many ways sshd says so."""
        where, how, port = said["from"] or "?", said["how"], said.get("port")
        source = self._sources.get(("ssh", where[:100]))
        after_pam = source is not None and source.asked_by_pam and how != "password"
        ended = source is not None and how in ("closed", "reset") and port in source.ports
        if how == "PAM" or not (after_pam or ended):
            self._failed("ssh", where, said["user"] or "?", times, now)
        source = self._sources.get(("ssh", where[:100]))
        if source is not None:
            source.asked_by_pam = how == "PAM"
            if port is not None and how not in ("closed", "reset"):
                source.ports.append(port)

    def _pam(self, text: str, now: float) -> None:
        failed = _PAM_FAILED.search(text)
        if failed is not None:
            where = failed["from"] or failed["ruser"] or failed["user"] or "?"
            self._failed(
                failed["service"].removesuffix("-i").removesuffix("-l"), where, failed["user"] or "?", 1, now
            )
            return
        opened = _PAM_OPENED.search(text)
        if opened is not None:
            service = opened["service"].removesuffix("-i").removesuffix("-l")
            self._succeeded(service, opened["ruser"] or opened["user"], opened["user"], "a password", now)

    def _failed(self, service: str, where: str, user: str, times: int, now: float) -> None:
        key = (service, where[:100])
        source = self._sources.get(key)
        if source is None:
            while len(self._sources) >= MOST_SOURCES:
                self._sources.popitem(last=False)
            source = self._sources[key] = _Source(service, where[:100])
        source.failures.extend([now] * times)
        source.total += times
        name = user[:64]
        if name in source.users or len(source.users) < MOST_USERS:
            source.users[name] = source.users.get(name, 0) + times
        if sum(now - at <= WINDOW_S for at in source.failures) >= BURST:
            source.burst_at = now

    def _succeeded(self, service: str, where: str, user: str, how: str, now: float) -> None:
        source = self._sources.get((service, where[:100]))
        if source is None or not source.failures or source.burst_at is None or how == "publickey":
            return
        if now - source.failures[-1] < AFTER_S:
            broken = _broken(source, user[:64], how[:32])
            self._told.say(broken.subject, broken)


def _who(source: _Source) -> str:
    if len(source.users) == 1:
        return safe(next(iter(source.users)), 64)
    return f"{len(source.users)}{'+' if len(source.users) == MOST_USERS else ''} users"


def _evidence(source: _Source) -> dict[str, object]:
    users = {safe(user, 64): count for user, count in source.users.items()}
    return {
        "service": source.service,
        "from": safe(source.where, 100),
        "failures": source.total,
        "users": users,
    }


def _burst(source: _Source) -> Finding:
    many = len(source.failures) >= MANY
    remote = source.service == "ssh"
    return Finding(
        type="failed_logins",
        severity="medium" if many or not remote else "low",
        confidence=0.8,
        subject=f"{source.service} from {source.where}",
        summary=f"{BURST} or more failed logins by {source.service} from {safe(source.where, 100)} as {_who(source)} "
        f"within {WINDOW_S / 60:.0f} minutes",
        why="Somebody guesses passwords, or a program goes on with one that is no longer right.",
        next="journalctl -t sshd -t sshd-session -t sudo -t su --since -1h shows each; let keys alone log in, and "
        "limit who reaches the port.",
        technique="T1110.001" if len(source.users) <= 1 else "T1110.003",
        title="Failed logins",
        evidence=_evidence(source) | {"threshold": BURST, "window_s": WINDOW_S},
    )


def _broken(source: _Source, user: str, how: str) -> Finding:
    return Finding(
        type="login_after_failures",
        severity="high",
        confidence=0.75,
        subject=f"{source.service} as {user} from {source.where}",
        summary=f"Login as {safe(user, 64)} by {source.service} from {safe(source.where, 100)} succeeded after "
        "many failures",
        why="This is what a guessed password looks like.",
        next=f"Ask the user of {safe(user, 64)}. If it was nobody known: passwd -l and loginctl terminate-user, "
        "then see what changed: dioctl threats.",
        technique="T1078",
        title="Login after many failures",
        evidence=_evidence(source) | {"user": safe(user, 64), "method": safe(how, 32)},
    )
