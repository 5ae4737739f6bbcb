"""The detector of files that are taken hostage: many are replaced by encrypted ones, as by ransomware.

The sign is not one name but what happens: within two minutes many files appear that are called like ones that were
there, with the same further ending (`report.odt.locked`), those are gone, and what is in the new ones looks like
noise. Compressing does the same under endings that everybody knows; these are passed over. Of a file's content only
how even its bytes are is looked at.
"""

from __future__ import annotations

import math
import os
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.state import read_start
from dio_daemon.detect.integrity.told import Told
from dio_daemon.text import safe

LEAST_FILES = 20
WITHIN_S = 120.0
MOST_ENDINGS = 64
MOST_FILES = 500
MOST_ENDING = 32
LOOKED_INTO = 5
"""Files of an ending whose content is looked at."""
GONE = 0.8
"""Share of the originals that must be gone."""
LEAST_BYTES = 256
NOISE_BITS = 7.0
"""Of 8 bits a byte; encrypted text has more than this in 1,024 bytes, and text and programs have 4 to 6.5."""
READ_BYTES = 4096
_HARMLESS = frozenset(
    (
        *("gz", "bz2", "xz", "zst", "lz4", "lzma", "lzo", "z", "br", "zip", "7z", "rar", "tgz"),
        *("gpg", "asc", "age", "sig", "part", "tmp", "crdownload", "map", "bak", "old", "orig", "save"),
    )
)
"""Endings of what is compressed, encrypted on purpose, under way, or set aside."""


class HostageWatch:
    """Counts names as they appear. Belongs to one thread.

    Args:
        host: whose.
        told: tells what was found.
    """

    def __init__(self, host: Host, told: Told) -> None:
        self._host = host
        self._seen: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()
        self._told = told

    def appeared(self, path: str, now: float) -> None:
        """A file was made, or renamed to this. `now` is monotonic seconds."""
        stem, dot, ending = path.rpartition(".")
        name = stem.rpartition("/")[2]
        if not dot or "." not in name[1:] or len(ending) > MOST_ENDING or ending.lower() in _HARMLESS:
            return
        known = self._seen.setdefault(ending, deque(maxlen=MOST_FILES))
        self._seen.move_to_end(ending)
        known.append((now, path))
        while len(self._seen) > MOST_ENDINGS:
            self._seen.popitem(last=False)

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        self._seen.clear()
        return self._told.accept()

    def look(self, now: float) -> list[Finding]:
        """What is the case."""
        for ending, known in list(self._seen.items()):
            while known and now - known[0][0] > WITHIN_S:
                known.popleft()
            paths = list(dict.fromkeys(path for _, path in known))
            if not known:
                del self._seen[ending]
            elif ending not in self._told and len(paths) >= LEAST_FILES and self._taken(paths, ending):
                self._told.say(ending, _finding(paths, ending))
        return self._told.findings()

    def _taken(self, paths: Sequence[str], ending: str) -> bool:
        there = [path for path in paths if os.path.lexists(self._host.at(path))]
        gone = sum(not os.path.lexists(self._host.at(path.removesuffix(f".{ending}"))) for path in there)
        if len(there) < LEAST_FILES or gone < GONE * len(there):
            return False
        apart = max(1, len(there) // LOOKED_INTO)
        contents = [read_start(self._host.at(path), READ_BYTES) for path in there[::apart][:LOOKED_INTO]]
        long = [content for content in contents if len(content) >= LEAST_BYTES]
        return len(long) > LOOKED_INTO // 2 and all(noise_bits(content) >= NOISE_BITS for content in long)


def noise_bits(content: bytes) -> float:
    """How even the bytes of a content are (Shannon's entropy): 0 to 8 bits a byte."""
    length = len(content)
    return 0.0 - sum(count / length * math.log2(count / length) for count in Counter(content).values())


def _finding(paths: Sequence[str], ending: str) -> Finding:
    shown = safe(ending, MOST_ENDING)
    folders = Counter(os.path.dirname(path) for path in paths)
    first = safe(folders.most_common(1)[0][0], 300)
    return Finding(
        type="files_encrypted",
        severity="critical",
        confidence=0.85,
        subject=ending,
        summary=f"Within {WITHIN_S / 60:.0f} minutes {len(paths)} or more files were replaced by ones that end in "
        f".{shown} and look encrypted, most of them in {first}",
        why="This is how ransomware takes files hostage; it goes on until it is stopped or all are taken.",
        next="Find who writes there (dioctl top, lsof) and stop it; kill -STOP keeps its key in memory. Cut this "
        "host off from shares and backups.",
        technique="T1486",
        title="Files are being encrypted",
        evidence={
            "ending": shown,
            "files": len(paths),
            "threshold": LEAST_FILES,
            "window_s": WITHIN_S,
            "folders": {safe(folder, 300): count for folder, count in folders.most_common(10)},
            "some": [safe(path, 300) for path in paths[:20]],
        },
    )
