"""The findings of changed files, however many: so many as they are, the rest as one that counts them.

Whoever may write below a watched folder (a user's own units, say) can make tens of thousands of files there. With its
evidence each finding takes some ten kilobytes, and a host is told of no more than a few of them anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice

from dio_daemon.detect.finding import Finding, level
from dio_daemon.detect.integrity.state import FileState
from dio_daemon.text import safe

MOST_WHOLE = 1000
AT_ONCE = 200
MOST_NAMED = 50
SUBJECT = "more files"


def by_turns(paths: Collection[str], most: int) -> list[str]:
    """So many of these paths at most, the first ones, but no folder has more than a fifth while others wait: thousands
    of files in one folder must not hold up a change in another."""
    if len(paths) <= most:
        return list(paths)
    counts: Counter[str] = Counter()
    chosen: dict[str, None] = {}
    for path in paths:
        folder = path.rpartition("/")[0]
        counts[folder] += 1
        if counts[folder] <= most // 5:
            chosen[path] = None
            if len(chosen) == most:
                return list(chosen)
    rest = (path for path in paths if path not in chosen)
    return [*chosen, *islice(rest, most - len(chosen))]


class Crowd:
    """Findings by their paths, and the state that each is about. Belongs to one thread."""

    def __init__(self) -> None:
        self._whole: dict[str, tuple[FileState | None, Finding]] = {}
        self._counted: dict[str, FileState | None] = {}
        self._worst: Finding | None = None
        """Of those that are counted only."""
        self._summed: Finding | None = None

    def __contains__(self, path: str) -> bool:
        return path in self._whole or path in self._counted

    def __iter__(self) -> Iterator[str]:
        yield from (*self._whole, *self._counted)

    def __len__(self) -> int:
        return len(self._whole) + len(self._counted)

    def is_told(self, path: str, state: FileState) -> bool:
        """Whether what is told of a file is that it is so."""
        if path in self._whole:
            told = self._whole[path][0]
        elif path in self._counted:
            told = self._counted[path]
        else:
            return False
        return told is not None and state.same(told)

    def put(self, path: str, state: FileState | None, finding: Finding) -> None:
        """This is found of a file."""
        if path in self._whole or len(self._whole) < MOST_WHOLE:
            self._counted.pop(path, None)
            self._whole[path] = (state, finding)
        else:
            self._counted[path] = state
            if self._worst is None or level(finding.severity) > level(self._worst.severity):
                self._worst = finding
        self._summed = None

    def drop(self, path: str) -> None:
        """Nothing is found of a file any more."""
        self._whole.pop(path, None)
        self._counted.pop(path, None)
        self._summed = None

    def take(self) -> list[tuple[str, FileState | None]]:
        """All of them, which are here no longer."""
        taken = [(path, state) for path, (state, _) in self._whole.items()]
        taken += self._counted.items()
        self._whole, self._counted, self._worst, self._summed = {}, {}, None, None
        return taken

    def has_room(self) -> list[str]:
        """Of those that are counted only, some that may be looked at anew, since others are over."""
        if len(self._whole) > MOST_WHOLE - AT_ONCE:
            return []
        return list(islice(self._counted, AT_ONCE))

    def findings(self) -> list[Finding]:
        """What is told."""
        if not self._counted:
            self._worst = None
            return [finding for _, finding in self._whole.values()]
        if self._summed is None and self._worst is not None:
            self._summed = self._sum(self._worst)
        return [*(finding for _, finding in self._whole.values()), *([self._summed] if self._summed else [])]

    def _sum(self, worst: Finding) -> Finding:
        return Finding(
            type=worst.type,
            severity=worst.severity,
            confidence=worst.confidence,
            subject=SUBJECT,
            summary=f"{len(self._counted)} further watched files changed, among them: {worst.summary}",
            why=worst.why,
            next=worst.next,
            technique=worst.technique,
            title=worst.title,
            evidence={
                "more": len(self._counted),
                "paths": [safe(path, 300) for path in islice(self._counted, MOST_NAMED)],
            },
        )
