"""How the host's files are when all is well; kept on disk, so that changes made while the agent was down are found.

`integrity.jsonl.gz` in the state folder: a line of JSON with what the other detectors remember, then one for each
watched file, with its state and, where it is a small text without secrets, its content (for diffs). It is written
whole, a while after a change. Lines, for all files as one document would take megabytes for a moment, and the process
would keep most of them.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.integrity.state import FileState, from_kept
from dio_daemon.files import replace_file

log = logging.getLogger(__name__)

VERSION = 2
MOST_FILES = 30_000
MOST_TEXT_BYTES = 24 * 1024
"""Of a larger file no copy is kept, and so no diff is shown."""
MOST_TEXTS_BYTES = 3 << 20
"""Of all copies together, compressed."""
MOST_DISK_BYTES = 64 << 20
SAVE_AFTER_S = 30.0
_GZIP = 31  # zlib's name for the format of a .gz file


class Baseline:
    """What is taken as well. Belongs to one thread.

    Args:
        path: its file.
        clock: for how long a change may wait to be written.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self.files: dict[str, FileState] = {}
        self._texts: dict[str, bytes] = {}
        self._texts_bytes = 0
        self.memory: dict[str, Any] = {}
        """What other detectors remember, as JSON, by their names."""
        self.complete = False
        """Whether every watched file has been looked at once: what appears after that is new."""
        self.saved_at: float | None = None
        """When it was written by the run before, as wall clock seconds; None when there was none."""
        self.problem = ""
        self._dirty_since: float | None = None
        self._load()

    def set(self, path: str, state: FileState | None, text: bytes | None) -> None:
        """This is how a file is when all is well; None when there is none."""
        self._drop_text(path)
        if state is None:
            self.files.pop(path, None)
        elif path in self.files or len(self.files) < MOST_FILES:
            self.files[path] = state
            if text is not None and len(text) <= MOST_TEXT_BYTES:
                packed = zlib.compress(text, 6)
                if self._texts_bytes + len(packed) <= MOST_TEXTS_BYTES:
                    self._texts[path] = packed
                    self._texts_bytes += len(packed)
        self.changed()

    def text(self, path: str) -> bytes | None:
        """The content that a file had; empty when it was not there, None when no copy was kept."""
        packed = self._texts.get(path)
        if packed is not None:
            return zlib.decompress(packed)
        return None if path in self.files else b""

    def changed(self) -> None:
        """Something is to be written."""
        if self._dirty_since is None:
            self._dirty_since = self._clock.monotonic()

    def save(self, at_once: bool = False) -> None:
        """Write what changed, when it has waited long enough. A disk that takes nothing is tried again."""
        now = self._clock.monotonic()
        if self._dirty_since is None or not (at_once or now - self._dirty_since >= SAVE_AFTER_S):
            return
        try:
            replace_file(self._path, b"".join(self._packed()), 0o600)
        except OSError as error:
            self.problem = f"Cannot write {self._path}: {error.strerror}"
            self._dirty_since = now
            return
        self._dirty_since, self.problem = None, ""

    def _packed(self) -> Iterator[bytes]:
        """The lines, compressed."""
        packer = zlib.compressobj(3, wbits=_GZIP)
        for value in self._lines():
            yield packer.compress(json.dumps(value).encode("ascii") + b"\n")
        yield packer.flush()

    def _lines(self) -> Iterator[Any]:
        yield {
            "version": VERSION,
            "complete": self.complete,
            "saved_at": self._clock.now().timestamp(),
            "files": len(self.files),
            "memory": self.memory,
        }
        for path, state in self.files.items():
            text = self._texts.get(path)
            yield [path, state.kept(), None if text is None else base64.b64encode(text).decode("ascii")]

    def _drop_text(self, path: str) -> None:
        packed = self._texts.pop(path, None)
        if packed is not None:
            self._texts_bytes -= len(packed)

    def _load(self) -> None:
        files: dict[str, FileState] = {}
        texts: dict[str, bytes] = {}
        try:
            lines = _lines_of(self._path.read_bytes())
            head: Any = next(lines, {})
            if head["version"] != VERSION:
                raise ValueError("it is of another version")
            memory, complete = head["memory"], head["complete"]
            saved_at = float(head["saved_at"])
            if not isinstance(memory, dict) or not isinstance(complete, bool):
                raise ValueError("it is no baseline")
            for path, state, text in lines:
                if not isinstance(path, str):
                    raise ValueError("a file without a name")
                files[path] = from_kept(state)
                if text is not None:
                    texts[path] = base64.b64decode(text)
            if len(files) != head["files"]:
                raise ValueError("it is cut short")
        except FileNotFoundError:
            return
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            zlib.error,
        ) as error:
            log.warning(
                "Cannot read %s (%s): how this host is now is taken as well, what changed before is not seen",
                self._path,
                error,
            )
            return
        self.files, self._texts, self.memory, self.complete = files, texts, memory, complete
        self.saved_at = saved_at
        self._texts_bytes = sum(len(text) for text in texts.values())


def _lines_of(raw: bytes) -> Iterator[Any]:
    """What stands on each line. Raises ValueError, EOFError, OSError, zlib.error."""
    left = MOST_DISK_BYTES
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
        while line := stream.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise ValueError("it is too large")
            yield json.loads(line)
