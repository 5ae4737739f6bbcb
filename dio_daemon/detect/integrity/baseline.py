"""How the host's files are when all is well; kept on disk, so that changes made while the agent was down are found.

`integrity.json.gz` in the state folder: the state of every watched file, the contents of those that are small texts
without secrets (for diffs), and what the other detectors remember. It is written whole, a while after a change.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.integrity.state import FileState, from_kept
from dio_daemon.files import replace_file

log = logging.getLogger(__name__)

VERSION = 1
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
        """The document, compressed, a piece for each file: as a whole it would take megabytes for a moment, and the
        process would keep most of them."""
        head = {"version": VERSION, "complete": self.complete, "saved_at": self._clock.now().timestamp()}
        packer = zlib.compressobj(3, wbits=_GZIP)
        yield packer.compress(json.dumps(head | {"memory": self.memory})[:-1].encode("ascii"))
        for name, members in (("files", self._kept_files()), ("texts", self._kept_texts())):
            between = f', "{name}": {{'
            for path, value in members:
                yield packer.compress(f"{between}{json.dumps(path)}: {json.dumps(value)}".encode("ascii"))
                between = ", "
            yield packer.compress(b"}" if between == ", " else f"{between}}}".encode("ascii"))
        yield packer.compress(b"}")
        yield packer.flush()

    def _kept_files(self) -> Iterator[tuple[str, Any]]:
        return ((path, state.kept()) for path, state in self.files.items())

    def _kept_texts(self) -> Iterator[tuple[str, Any]]:
        return ((path, base64.b64encode(text).decode("ascii")) for path, text in self._texts.items())

    def _drop_text(self, path: str) -> None:
        packed = self._texts.pop(path, None)
        if packed is not None:
            self._texts_bytes -= len(packed)

    def _load(self) -> None:
        try:
            raw = self._path.read_bytes()
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
                text = stream.read(MOST_DISK_BYTES + 1)
            if len(text) > MOST_DISK_BYTES:
                raise ValueError("it is too large")
            document = _unpacked(text.decode("utf-8"))
            if document["version"] != VERSION:
                raise ValueError("it is of another version")
            files, texts = document["files"], document["texts"]
            memory, complete = document["memory"], document["complete"]
            saved_at = float(document["saved_at"])
            if not isinstance(memory, dict) or not isinstance(complete, bool):
                raise ValueError("it is no baseline")
        except FileNotFoundError:
            return
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
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


_Value = Callable[[str, int], tuple[Any, int]]
_decode = json.JSONDecoder().raw_decode


def _unpacked(text: str) -> dict[str, Any]:
    """The document, each file and copy made of its piece of the text at once: all pieces together would take megabytes
    for a moment, and the process would keep most of them. Raises ValueError, TypeError."""

    def state(_: str, at: int) -> tuple[FileState, int]:
        row, end = _decode(text, at)
        return from_kept(row), end

    def copy(_: str, at: int) -> tuple[bytes, int]:
        packed, end = _decode(text, at)
        return base64.b64decode(packed), end

    def member(name: str, at: int) -> tuple[Any, int]:
        value = {"files": state, "texts": copy}.get(name)
        return _decode(text, at) if value is None else _object(text, at, value)

    document, end = _object(text, 0, member)
    if text[end:].strip():
        raise ValueError("something follows it")
    return document


def _object(text: str, at: int, value: _Value) -> tuple[dict[str, Any], int]:
    """The JSON object that begins here, and where it ends. `value` makes the value of a member that begins there."""
    found: dict[str, Any] = {}
    at = _past(text, at, "{")
    while text[at : at + 1] != "}":
        if found:
            at = _past(text, at, ",")
        name, at = _decode(text, at)
        if not isinstance(name, str):
            raise ValueError("a member without a name")
        found[name], at = value(name, _past(text, at, ":"))
        at = _blanks(text, at)
    return found, at + 1


def _past(text: str, at: int, mark: str) -> int:
    at = _blanks(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(f"no {mark} at character {at}")
    return _blanks(text, at + 1)


def _blanks(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\t", "\r"):
        at += 1
    return at
