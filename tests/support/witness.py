"""What an agent under test appended, told by a witness that neither a full disk nor a kill can silence.

Its place is made beforehand and it is written through memory: no limit on files stops it, and what a process wrote
there outlives it. A record is noted before it is committed and again when the agent says that it is; one that has only
its first note was in hand when the process was killed, and may be there or not.
"""

import mmap
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

_BYTES = 4 << 20


class Witness:
    """The agent's side.

    Args:
        path: of the file that `prepare` made.
    """

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._pages = mmap.mmap(file, _BYTES)
        finally:
            os.close(file)
        self._end = self._pages.find(b"\0")
        self._lock = threading.Lock()

    def note(self, word: str, stream: str, tag: str) -> None:
        """Write a line, of its own also behind one that a kill cut off."""
        line = f"\n{word} {stream} {tag}\n".encode()
        with self._lock:
            self._pages[self._end : self._end + len(line)] = line
            self._end += len(line)


@dataclass(frozen=True)
class Testimony:
    """Tags of the samples that were committed, and of those that were only begun."""

    committed: frozenset[str]
    in_hand: frozenset[str]


def prepare(path: Path) -> None:
    """Make the file, with all the place that it will take."""
    with path.open("xb") as file:
        os.posix_fallocate(file.fileno(), 0, _BYTES)


def read(path: Path) -> Testimony:
    """What was noted so far."""
    text = path.read_bytes().rstrip(b"\0").decode() if path.exists() else ""
    committed = frozenset(re.findall(r"^committed samples ([0-9a-f]{16})$", text, re.MULTILINE))
    begun = frozenset(re.findall(r"^begun samples ([0-9a-f]{16})$", text, re.MULTILINE))
    return Testimony(committed, begun - committed)
