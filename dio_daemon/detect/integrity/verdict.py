"""Whether a change of a watched file is somebody's work that is known, and the words for one that is not.

Known is what the package manager did (the file is as its package has it, or it changed while dpkg was at work), what
was announced (`dioctl change begin`), a unit of a package that was enabled or disabled, and a new home as /etc/skel
has it. Everything else is a finding, for as long as the file differs from the baseline.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dio_daemon.detect.finding import SEVERITIES, Finding, level
from dio_daemon.detect.integrity import words
from dio_daemon.detect.integrity.dpkg import Owner, Packages, aliases
from dio_daemon.detect.integrity.facts import user_name
from dio_daemon.detect.integrity.group import Group
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.quick import OPEN
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.state import FileState, md5_of, read_regular
from dio_daemon.detect.integrity.suspicious import MOST_BYTES, SIGNS, lengthens_path, only_paths, signs
from dio_daemon.text import for_shell, safe

_UNIT_LINK = re.compile(
    r"(/etc/systemd/(system|user)|(/[^/]+)+/\.config/systemd/user)/([^/]+\.(wants|requires|upholds)/)?[^/]+"
)
_UNIT_FOLDERS = ("/usr/lib/systemd/", "/lib/systemd/")
_COMMANDS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
UNSUSPICIOUS = "unsuspicious"
"""Of a change that would be told only with a sign of an intruder's hand: it is not worth an event either."""
FIRST_LOOK_S = 300.0
"""What is found so long after a start went before it: the first look takes its time on a host that boots."""
_PROGRAMS = ("binaries", "libraries")
_TEMPORARY = tuple(f"{folder}/" for folder in OPEN)
_HOME_FILE = re.compile(r"/home/[^/]+/\.[^/]+")


@dataclass(frozen=True)
class Change:
    """A file that is not as the baseline has it."""

    path: str
    group: Group
    before: FileState | None
    after: FileState | None
    noticed_at: float
    """Wall clock, in seconds."""
    since: float
    """It happened after this, as far as the kernel told; else the moment when it was noticed."""

    @property
    def what(self) -> str:
        """In one word."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before.sha256 is not None and self.after.sha256 is not None:
            same = self.before.sha256 == self.after.sha256
        else:
            same = (self.before.size, self.before.mtime_ns) == (self.after.size, self.after.mtime_ns)
        return "attributes" if same and self.before.kind == self.after.kind else "changed"


class Verdict:
    """Judges changes.

    Args:
        host: whose files.
        packages, runs: what the package manager says.
        announced: whether a moment lies in a change window.
        away: the span in which nobody looked, as wall clock seconds: from the last time that nothing was waiting to be
            judged to this start.
    """

    def __init__(
        self,
        host: Host,
        packages: Packages,
        runs: Runs,
        announced: Callable[[float], bool],
        away: tuple[float, float],
    ) -> None:
        self._host = host
        self._packages = packages
        self._runs = runs
        self._announced = announced
        self._away = away

    def version(self) -> object:
        """Another one when what was judged may be judged differently: after a run of dpkg."""
        return self._packages.version()

    def expect(self, paths: Sequence[str]) -> None:
        """Look up whose these files are, all at once: each by itself takes as long as all of them together."""
        if paths:
            self._packages.owners(list(paths))

    def known(self, change: Change, text_before: bytes | None = None) -> str | None:
        """By whose work it is, in a few words; None when that is not known."""
        if self._announced(change.noticed_at):
            return "announced"
        if change.group.only_with and not signs(self._content(change), text_before, change.group.only_with):
            return UNSUSPICIOUS
        if change.group.name == "local_commands" and (change.after is None or not self._shadows(change.path)):
            return "local command"
        if change.path.endswith(".pth") and change.after is not None and only_paths(self._content(change)):
            return "path"
        if change.group.name == "user_shell" and lengthens_path(self._content(change), text_before):
            return "search path"
        owner = self._packages.owner(change.path)
        if change.after is None:
            return self._known_removal(change, owner)
        by_dpkg = self._runs.during(change.after.ctime_ns / 1e9)
        if change.after.kind == "link":
            if by_dpkg or self._is_unit_link(change.path, change.after.target):
                return "package" if by_dpkg else "unit"
            return None
        if change.after.kind != "file":
            return None
        if change.what == "attributes":
            return "package" if by_dpkg else None
        if owner is not None and owner.md5 is not None:
            as_packaged = md5_of(self._host.at(change.path)) == owner.md5
            if as_packaged and not change.after.mode & 0o002:
                return "package"
            if not owner.conffile:
                return None
        if by_dpkg:
            return "package"
        return "skel" if change.before is None and self._as_skel(change.path, change.after) else None

    def finding(self, change: Change, text_before: bytes | None) -> Finding:
        """The words for a change that is nobody's known work."""
        owner = self._packages.owner(change.path)
        group, path = change.group, safe(change.path, 300)
        content = self._content(change)
        found = signs(content, text_before, group.only_with or SIGNS)
        if change.after is not None and (change.after.target or "").startswith(_TEMPORARY):
            found = ["it leads into a temporary folder"]
        replaced = (
            owner is not None and owner.md5 is not None and not owner.conffile and change.what == "changed"
        )
        severity = _severity(change, bool(found), replaced)
        verb = {
            "added": "A new",
            "removed": "A",
            "attributes": "Owner or mode changed of a",
            "changed": "A",
        }[change.what]
        end = {"removed": " was removed", "changed": " was changed"}.get(change.what, "")
        summary = f"{verb} {group.noun}{end}: {path}"
        summary += self._more(change)
        if replaced and owner is not None:
            summary += f", and is not what its package {owner.package} installed"
        if found:
            summary += f" ({found[0]})"
        evidence: dict[str, object] = {
            "path": path,
            "change": change.what,
            "group": group.name,
            "before": change.before.shown() if change.before else None,
            "after": change.after.shown() if change.after else None,
            "package": owner.package if owner else None,
        }
        if found:
            evidence["signs"] = found
        if group.shows != "nothing" and change.what != "attributes":
            after = b"" if change.after is None else content
            evidence["diff"] = words.diff(text_before, after, keys=group.shows == "keys")
        return Finding(
            type="package_file_changed" if replaced and group.name in _PROGRAMS else group.type,
            severity=severity,
            confidence=0.95 if found or replaced else 0.5 if severity == "low" else 0.8,
            subject=change.path,
            summary=summary,
            why=group.why,
            next=_next(group.next, change.path),
            technique="T1053.006" if change.path.endswith(".timer") else group.technique,
            title=f"{group.noun[:1].upper()}{group.noun[1:]} {_WORDS[change.what]}",
            evidence=evidence,
            version=repr(change.after.shown()) if change.after is not None else "removed",
        )

    def _more(self, change: Change) -> str:
        """What the path alone does not say: where a link leads, and whose it is."""
        after = change.after
        if after is None:
            return ""
        if after.kind == "link" and after.target is not None:
            return f", a link to {safe(after.target, 300)}"
        home = change.path.startswith(("/home/", "/run/user/"))
        user = user_name(self._host, after.uid) if after.uid != 0 and not home else ""
        return f", of user {user}" if user and user not in change.path else ""

    def _content(self, change: Change) -> bytes | None:
        """What is in it now, where that may be looked at."""
        wanted = change.group.shows != "nothing" or change.group.only_with
        if change.after is None or change.after.kind != "file" or not wanted:
            return None
        most = MOST_BYTES if change.group.only_with else words.MOST_COMPARED_BYTES
        return read_regular(self._host.at(change.path), most)

    def _shadows(self, path: str) -> bool:
        """Whether the system has a command of the same name."""
        name = posixpath.basename(path)
        return any(os.path.lexists(self._host.at(f"{folder}/{name}")) for folder in _COMMANDS)

    def _known_removal(self, change: Change, owner: Owner | None) -> str | None:
        if change.path.startswith("/run/"):  # a reboot empties it
            return "runtime"
        start, end = self._away
        told = self._runs.during(change.noticed_at) or self._runs.between(change.since, change.noticed_at)
        if told or (change.noticed_at <= end + FIRST_LOOK_S and self._runs.between(start, end)):
            # A package's file that is gone after a run that left the package in place was not removed by it;
            # removed conffiles and what scripts clear away are nobody's any more.
            return "package" if owner is None or owner.conffile or owner.md5 is None else None
        if change.before is not None and change.before.kind == "link":
            return "unit" if self._is_unit_link(change.path, change.before.target) else None
        home = _HOME_FILE.match(change.path)
        if home is not None and read_folder_gone(self._host, posixpath.dirname(change.path)):
            return "home removed"
        return None

    def _is_unit_link(self, path: str, target: str | None) -> bool:
        if target is None or not _UNIT_LINK.fullmatch(path):
            return False
        where = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if where == "/dev/null":
            return True
        if not where.startswith(_UNIT_FOLDERS):
            return False
        owner = self._packages.owner(where)
        if owner is None or owner.md5 is None:
            return False
        return any(md5_of(self._host.at(path)) == owner.md5 for path in aliases(where))

    def _as_skel(self, path: str, after: FileState) -> bool:
        if not _HOME_FILE.fullmatch(path):
            return False
        skel = read_regular(self._host.at(f"/etc/skel/{posixpath.basename(path)}"), words.MOST_COMPARED_BYTES)
        return skel is not None and skel == read_regular(self._host.at(path), words.MOST_COMPARED_BYTES)


def _next(words_: str, path: str) -> str:
    """What to look at, with the file itself in place of what stands for it."""
    name = for_shell(posixpath.basename(path), 300)
    return words_.replace("PATH", for_shell(path, 300)).replace("NAME", name)


_WORDS = {
    "added": "added",
    "removed": "removed",
    "attributes": "has another owner or mode",
    "changed": "changed",
}


def _severity(change: Change, signs_found: bool, replaced: bool) -> str:
    base = level(change.group.severity)
    if change.what == "removed":
        base = 1 if change.group.name in ("agent", "pam_modules") else 0
    elif change.what == "attributes" and change.after is not None:
        loose = change.after.mode & 0o022 or (
            change.after.uid != 0 and change.path.startswith(("/etc/", "/usr/"))
        )
        base = base if loose else 0
    elif change.group.name in _PROGRAMS and not replaced:
        base = level("medium")
    if signs_found and not change.group.only_with:
        base += 1
    return SEVERITIES[min(base, 3)]


def read_folder_gone(host: Host, folder: str) -> bool:
    """Whether a folder is no longer there."""
    return not os.path.lexists(host.at(folder))


def known_work(known: str, paths: list[str]) -> tuple[str, dict[str, Any]]:
    """Message and data of the event for files that changed by known work, as `Verdict.known` names it."""
    shown = [safe(path, 300) for path in paths[:50]]
    return (
        f"{len(paths)} watched files changed ({_REASONS[known]})",
        {"reason": known, "count": len(paths), "paths": shown},
    )


_REASONS = {
    "package": "the package manager's work",
    "announced": "in an announced change window",
    "unit": "a unit of a package was enabled or disabled",
    "skel": "a new home as /etc/skel has it",
    "home removed": "a home was removed",
    "runtime": "what was made for this boot only is gone",
    "path": "folders for Python, and no code",
    "search path": "folders at the end of a user's PATH",
    "local command": "a command of this host's own that the system has none of",
}
