"""The detector of changed accounts: what changed in passwd, shadow, group and gshadow, told once an account.

A new user changes four files; that is one finding with the user's name. What is compared is what the lines mean, and
of a password only whether it is set, locked, empty, or another one than before: a salted hash of the field stays here.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.state import read_regular
from dio_daemon.text import safe

FILES = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")
SECRET = ("/etc/shadow", "/etc/gshadow")
POWERFUL = frozenset(("root", "sudo", "wheel", "admin", "shadow", "disk", "docker", "lxd", "incus"))
"""Groups whose members may become root in one step."""
PRIVILEGED = POWERFUL | {"adm", "libvirt", "kvm", "systemd-journal", "dio"}
"""Groups whose members may become root or read what only root should."""
MOST_ACCOUNTS = 20_000
SETTLE_S = 1.5
"""useradd writes one file after the other."""
EMPTY = "empty"
_LOCKED_OUT = "T1531"
NO_LOGIN = ("nologin", "false", "sync")

Accounts = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _Stamp:
    """What tells that a file changed."""

    inode: int
    mtime_ns: int
    ctime_ns: int
    mode: int


def parse(passwd: bytes, shadow: bytes, group: bytes, salt: str) -> Accounts:
    """What the files mean: for `user NAME` and `group NAME` its attributes."""
    found: Accounts = {}
    secrets_ = {fields[0]: fields for fields in _lines(shadow, 2)}
    for fields in _lines(passwd, 7):
        name = fields[0]
        hidden = secrets_.get(name, ["", fields[1]])
        found.setdefault(
            f"user {name}",
            {
                "uid": fields[2],
                "gid": fields[3],
                "home": fields[5],
                "shell": fields[6],
                "password": _kind(hidden[1]),
                "secret": hashlib.sha256(
                    f"{salt}:{name}:{hidden[1]}".encode("utf-8", "surrogateescape")
                ).hexdigest()[:16],
                "expires": hidden[7] if len(hidden) > 7 else "",
                "groups": [],
            },
        )
    for fields in _lines(group, 4):
        found.setdefault(f"group {fields[0]}", {"gid": fields[2]})
        for member in fields[3].split(","):
            user = found.get(f"user {member}")
            if user is not None and fields[0] not in user["groups"]:
                user["groups"].append(fields[0])
    for account in found.values():
        if "groups" in account:
            account["groups"].sort()
    return found


def _lines(text: bytes, least: int) -> list[list[str]]:
    found = []
    for line in text.split(b"\n")[:MOST_ACCOUNTS]:
        fields = os.fsdecode(line).split(":")
        if len(fields) >= least and fields[0] and not fields[0].startswith(("#", "+", "-")):
            found.append(fields)
    return found


def _is_system(uid: int) -> bool:
    """Whether it is a number that packages use for users of their own, as Debian's policy shares them out."""
    return 0 < uid < 1000 or 60_000 <= uid < 65_000 or uid >= 65_534


def _kind(field: str) -> str:
    if field == "":
        return EMPTY
    if field.startswith(("!", "*")):
        return "locked"
    return "elsewhere" if field == "x" else "set"


class AccountWatch:
    """Watches accounts. Belongs to one thread.

    Args:
        host: whose.
        runs: when the package manager was at work: system users that its scripts make are recorded only.
        baseline: remembers the accounts.
        announced: whether a moment of the wall clock lies in a change window.
        clock: for settling.
        record: where what is known is recorded.
    """

    def __init__(
        self,
        host: Host,
        runs: Runs,
        baseline: Baseline,
        announced: Callable[[float], bool],
        clock: Clock,
        record: Callable[[str, str, dict[str, Any]], None],
    ) -> None:
        self._host = host
        self._runs = runs
        self._baseline = baseline
        self._announced = announced
        self._clock = clock
        self._record = record
        self._stamps: list[_Stamp | None] | None = None
        self._changed_at: float | None = None
        self._now: Accounts = {}
        self._findings: list[Finding] = []
        memory = baseline.memory.get("accounts")
        self._memory: dict[str, Any] = memory if isinstance(memory, dict) and _usable(memory) else {}

    def look(self) -> list[Finding]:
        """One look; what is the case."""
        stamps = [self._stamp(path) for path in FILES]
        now = self._clock.monotonic()
        if stamps != self._stamps:
            first = self._stamps is None
            self._stamps, self._changed_at = stamps, now - SETTLE_S if first else now
        if self._changed_at is None or now - self._changed_at < SETTLE_S:
            return self._findings
        if self._runs.busy(self._clock.now().timestamp()):
            return self._findings
        self._changed_at = None
        self._read()
        return self._findings

    def accept(self) -> int:
        """Take the accounts as they are as well; how many differed."""
        count = len(self._findings)
        if self._now:
            self._remember(self._now)
        self._findings = []
        return count

    @property
    def settling(self) -> bool:
        """Whether a change is about to be judged."""
        return self._changed_at is not None

    def _stamp(self, path: str) -> _Stamp | None:
        try:
            seen = os.stat(self._host.at(path))
        except OSError:
            return None
        return _Stamp(seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns, stat.S_IMODE(seen.st_mode))

    def _read(self) -> None:
        contents = [read_regular(self._host.at(path)) for path in FILES[:3]]
        if not contents[0]:  # gone for a moment, or unreadable: nothing can be said
            return
        salt = self._memory.get("salt") or secrets.token_hex(16)
        self._memory["salt"] = salt
        self._now = parse(contents[0], contents[1] or b"", contents[2] or b"", salt)
        before: Accounts | None = self._memory.get("accounts")
        if before is None:
            self._remember(self._now)
            return
        noticed = self._clock.now().timestamp()
        self._findings = [
            _open_file(path, stamp)
            for path, stamp in zip(FILES, self._stamps or [], strict=True)
            if stamp is not None and _is_open(path, stamp)
        ]
        known = []
        for name in sorted(before.keys() | self._now.keys()):
            old, new = before.get(name), self._now.get(name)
            if old == new:
                continue
            if self._known(name, old, new, noticed):
                known.append(name)
                continue
            finding = self._finding(name, old, new, before)
            if finding is not None:
                self._findings.append(finding)
        if known:
            kept = dict(before)
            for name in known:
                kept.pop(name, None)
                if name in self._now:
                    kept[name] = self._now[name]
            self._remember(kept)
            self._record(
                "known_changes",
                f"{len(known)} accounts changed (the package manager's work or announced)",
                {"count": len(known), "accounts": [safe(name, 80) for name in known[:50]]},
            )

    def _known(
        self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None, noticed: float
    ) -> bool:
        if self._announced(noticed):
            return True
        changed = max((stamp.ctime_ns for stamp in self._stamps or [] if stamp is not None), default=0) / 1e9
        if not self._runs.during(changed):
            return False
        account = new or old or {}
        number = str(account.get("uid", account.get("gid", "")))
        return bool(number.isdigit() and _is_system(int(number))) or (
            name.startswith("group ") and number != "0"
        )

    def _finding(
        self, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None, before: Accounts
    ) -> Finding | None:
        kind, _, plain = name.partition(" ")
        shown = safe(plain, 64)
        files = ["/etc/passwd", "/etc/shadow", "/etc/group"] if kind == "user" else ["/etc/group"]
        evidence = {
            "account": shown,
            "before": _shown(old),
            "after": _shown(new),
            "files": files,
        }
        if kind == "group":
            alike = f"user {plain}" in self._now.keys() ^ before.keys()
            if alike or (old is not None and new is not None and plain not in PRIVILEGED):
                return None  # told with its user
            if (new is not None and new["gid"] == "0") or plain in POWERFUL:
                return _say("group_changed", "high", name, f"Group {shown} changed", evidence)
            return _say("group_changed", "low", name, f"Group {shown} was {_verb(old, new)}", evidence)
        if new is None:
            return _say("account_removed", "low", name, f"User {shown} was removed", evidence, _LOCKED_OUT)
        root = new["uid"] == "0" and plain != "root"
        powers = sorted(_powers(new, self._now) - (_powers(old, before) if old else set()))
        strong = bool(set(powers) & POWERFUL)
        no_password = new["password"] == EMPTY
        if old is None:
            login = not new["shell"].endswith(NO_LOGIN)
            severity = "medium" if login else "low"
            if strong or no_password:
                severity = "high"
            if root:
                severity = "critical"
            words = f"A new user {shown}"
            words += " with root's uid 0" if root else f" (uid {safe(new['uid'], 12)})"
            words += f", member of {', '.join(powers)}" if powers else ""
            return _say("account_added", severity, name, words, evidence)
        changes = [key for key in ("uid", "gid", "home", "shell", "expires") if old[key] != new[key]]
        words_of = [
            f"{key} {safe(str(old[key]), 60) or 'none'} to {safe(str(new[key]), 60) or 'none'}"
            for key in changes
        ]
        if old["secret"] != new["secret"]:
            words_of.append(_PASSWORD.get((old["password"], new["password"]), "the password was changed"))
        gained = sorted(set(new["groups"]) - set(old["groups"]))
        lost = sorted(set(old["groups"]) - set(new["groups"]))
        words_of += [f"joined group {safe(group, 32)}" for group in gained] + [
            f"left group {safe(group, 32)}" for group in lost
        ]
        if not words_of:
            return None
        severity = "low"
        if old["secret"] != new["secret"] or "shell" in changes or "home" in changes or powers:
            severity = "medium"
        new_secret = old["secret"] != new["secret"]
        if strong or (no_password and new_secret) or (plain == "root" and new_secret):
            severity = "high"
        if root and old["uid"] != "0":
            severity = "critical"
        locked = (old["password"], new["password"]) == ("set", "locked") or changes == ["expires"]
        technique = _LOCKED_OUT if locked and not gained else None
        words = f"User {shown} changed: {'; '.join(words_of[:6])}"
        return _say("account_changed", severity, name, words, evidence, technique)

    def _remember(self, accounts: Accounts) -> None:
        self._memory["accounts"] = accounts
        self._baseline.memory["accounts"] = self._memory
        self._baseline.changed()


def _powers(account: dict[str, Any], accounts: Accounts) -> set[str]:
    """The groups of a user that count, whether as a member or as the own group."""
    own = {
        name.removeprefix("group ")
        for name, each in accounts.items()
        if name.startswith("group ") and each["gid"] == account["gid"]
    }
    return (own | set(account["groups"])) & PRIVILEGED


_PASSWORD = {
    ("locked", "set"): "a password was set where there was none",
    ("set", "locked"): "the password was locked",
    ("locked", "empty"): "it needs no password any more",
    ("set", "empty"): "it needs no password any more",
}


def _is_open(path: str, stamp: _Stamp) -> bool:
    """Whether others than root may write it, or read what only root should."""
    return bool(stamp.mode & 0o022 or (path in SECRET and stamp.mode & 0o007))


def _open_file(path: str, stamp: _Stamp) -> Finding:
    return Finding(
        type="account_file_open",
        severity="critical",
        confidence=0.95,
        subject=path,
        summary=f"{path} may be changed or read by others than root (mode {stamp.mode:04o})",
        why="Whoever may write it makes accounts with root's rights; who reads shadow guesses passwords at leisure.",
        next=f"chown root {path}; chmod {'640' if path in SECRET else '644'} {path}; then look who was logged in.",
        technique="T1222.002",
        title="Account file is open to others",
        evidence={"path": path, "mode": f"{stamp.mode:04o}"},
    )


def _verb(old: dict[str, Any] | None, new: dict[str, Any] | None) -> str:
    return "added" if old is None else "removed" if new is None else "changed"


def _shown(account: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if account is None else {key: value for key, value in account.items() if key != "secret"}


def _usable(memory: dict[str, Any]) -> bool:
    return (
        isinstance(memory, dict)
        and isinstance(memory.get("accounts"), dict)
        and isinstance(memory.get("salt"), str)
    )


def _say(
    type_: str,
    severity: str,
    subject: str,
    summary: str,
    evidence: dict[str, Any],
    technique: str | None = None,
) -> Finding:
    return Finding(
        type=type_,
        severity=severity,
        confidence=0.5 if severity == "low" else 0.85,
        subject=subject,
        summary=summary,
        why="An account is a lasting way in; one that an intruder makes or changes survives every other repair.",
        next="Ask who administers accounts here. What was done: journalctl -t useradd -t usermod -t passwd; "
        "who was logged in: journalctl -t systemd-logind, and present, in the evidence.",
        technique=technique or ("T1136.001" if type_ == "account_added" else "T1098"),
        title=type_.replace("_", " ").capitalize(),
        evidence=evidence,
        version=summary,
    )
