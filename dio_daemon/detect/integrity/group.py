"""A group of watched files: how severe a change is, what technique it serves, and the words for it.

A pattern is an absolute path or one below every home (`~/`). Each part may hold `*` and `?`; a last part `**` is
everything below, `MOST_DEPTH` folders deep.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from dio_daemon.detect.integrity.suspicious import Signs

MOST_DEPTH = 4

Shows = Literal["text", "keys", "nothing"]
"""What evidence may show of a file's content: a diff, its keys' fingerprints, or nothing at all."""


@dataclass(frozen=True)
class Group:
    """Files of one purpose.

    Args:
        name: in a baseline and in configuration.
        type: of the threat that a change is.
        severity: of a new or changed file; one that was removed is `low`.
        technique: of ATT&CK.
        noun: what such a file is, in a sentence.
        why: why a change matters.
        next: what to look at; `PATH` and `NAME` become the file's, as one word for a shell.
        patterns: where they are.
        shows: what evidence may show.
        ignored: paths among them that are not watched here.
        only_with: a change is told only where the new content has one of these signs; for what people and programs
            change every day. Empty: every change is told.
        hashed: whether contents are hashed from the start. Where not, a change is one of size or times.
    """

    name: str
    type: str
    severity: str
    technique: str
    noun: str
    why: str
    next: str
    patterns: tuple[str, ...]
    shows: Shows = "text"
    only_with: Signs = ()
    hashed: bool = True
    ignored: tuple[re.Pattern[str], ...] = ()

    def digest(self) -> str:
        """Another one for other patterns."""
        return hashlib.sha256(repr(self.patterns).encode()).hexdigest()[:16]
