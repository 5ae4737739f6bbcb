"""The folders that hold watched files, as they are now.

Expanding the patterns also tells which names, when they appear in a folder, make another expansion worth while: a
`~/.config/systemd/user` that is made step by step is watched from its first file on.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from dio_daemon.detect.integrity.group import MOST_DEPTH, Group
from dio_daemon.detect.integrity.host import OUT_OF_BREATH, Host

MOST_FOLDERS = 6000
MOST_ENTRIES = 20_000
"""Entries of one folder that are looked at."""

NOT_LOADED = re.compile(
    r"(\..*\.sw[a-z]|.*~|#.*#|4913|.*\.(dpkg|ucf)-[a-z-]+|sed[A-Za-z0-9]{6}|tmp\.[A-Za-z0-9]{6,}|\.#.*)"
)
"""Names that editors and dpkg use for a moment, and that nothing loads."""


@dataclass
class Folder:
    """One folder: which of its names are watched, and which would be folders to watch."""

    names: list[tuple[re.Pattern[str], Group]] = field(default_factory=list)
    inner: list[re.Pattern[str]] = field(default_factory=list)
    recursive: bool = False
    _any: re.Pattern[str] | None = None

    def watch(self, pattern: re.Pattern[str], group: Group) -> None:
        """Watch what is called so."""
        self.names.append((pattern, group))
        self._any = None

    def group(self, name: str) -> Group | None:
        """The first group that a name is watched for."""
        if self._any is None:  # one question for the many names that none is watched for
            self._any = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in self.names) or "(?!)")
        if not self._any.fullmatch(name) or NOT_LOADED.fullmatch(name):
            return None
        return next((group for pattern, group in self.names if pattern.fullmatch(name)), None)

    def leads_on(self, name: str) -> bool:
        """Whether a folder of this name would be one to watch."""
        return self.recursive or any(pattern.fullmatch(name) for pattern in self.inner)


class Places:
    """Expands the groups' patterns.

    Args:
        host: whose folders.
        groups: what is watched; the first that names a file has it.
    """

    def __init__(self, host: Host, groups: Sequence[Group]) -> None:
        self._host = host
        self._groups = groups
        self.folders: dict[str, Folder] = {}

    def expand(self) -> bool:
        """Look which folders there are now. False where that could not be told: they are those of before then."""
        before = self.folders
        try:
            self._look()
        except OSError:
            self.folders = before
            return False
        return True

    def _look(self) -> None:
        self._host.remount()
        self.folders = {}
        self._is_dir: dict[str, bool] = {}
        homes = self._host.homes(services=True)
        for group in self._groups:
            for pattern in group.patterns:
                if pattern.startswith("~/"):
                    for home in homes:
                        self._expand(home, pattern[2:].split("/"), group)
                else:
                    self._expand("", pattern[1:].split("/"), group)

    def group_of(self, path: str) -> Group:
        """The group of a path whose folder may be gone."""
        for group in self._groups:
            for pattern in group.patterns:
                tail = pattern.removeprefix("~").removesuffix("*").removesuffix("*")
                if re.compile(("(/.*)?" if pattern[0] == "~" else "") + fnmatch.translate(tail + "*")).match(
                    path
                ):
                    return group
        return self._groups[0]

    def _expand(self, start: str, parts: list[str], group: Group) -> None:
        folders = [start]
        for part in parts[:-1]:
            pattern = _compiled(part)
            following = []
            for folder in folders:
                at = self._folder(folder)
                if at is None:
                    continue
                if pattern not in at.inner:
                    at.inner.append(pattern)
                names = [part] if "*" not in part and "?" not in part else self._matching(folder, pattern)
                following += [f"{folder}/{name}" for name in names if self._enters(f"{folder}/{name}")]
            folders = following
        for folder in folders:
            at = self._folder(folder)
            if at is None:
                continue
            if parts[-1] == "**":
                self._below(folder, group, MOST_DEPTH)
            else:
                at.watch(_compiled(parts[-1]), group)

    def _below(self, folder: str, group: Group, depth: int) -> None:
        at = self._folder(folder)
        if at is None:
            return
        at.recursive = depth > 1
        at.watch(_compiled("*"), group)
        if depth > 1:
            for name in self._inner(folder):
                self._below(f"{folder}/{name}", group, depth - 1)

    def _folder(self, folder: str) -> Folder | None:
        known = self.folders.get(folder)
        if known is None and len(self.folders) < MOST_FOLDERS and self._enters(folder):
            known = self.folders[folder] = Folder()
        return known

    def _enters(self, folder: str) -> bool:
        known = self._is_dir.get(folder)
        if known is None:
            known = not self._host.off_limits(folder) and os.path.isdir(self._host.at(folder or "/"))
            self._is_dir[folder] = known
        return known

    def _matching(self, folder: str, pattern: re.Pattern[str]) -> list[str]:
        try:
            with os.scandir(self._host.at(folder or "/")) as entries:
                names = [entry.name for entry, _ in zip(entries, range(MOST_ENTRIES), strict=False)]
        except OSError as error:
            if error.errno in OUT_OF_BREATH:
                raise
            return []
        return sorted(name for name in names if pattern.fullmatch(name))

    def _inner(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._host.at(folder)) as entries:
                return [
                    entry.name
                    for entry, _ in zip(entries, range(MOST_ENTRIES), strict=False)
                    if entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__"
                ]
        except OSError as error:
            if error.errno in OUT_OF_BREATH:
                raise
            return []


def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part), re.DOTALL)
