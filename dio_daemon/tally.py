"""How far the histories of this agent came, written down where damage to the spool does not reach it.

A spool that is found damaged, gone or set back cannot say what was in it, and one in memory dies with its process.
This small file beside the spool says how far each history came that still has records here, or whose loss is still to
be told, so that they stand at the nerve center as a gap in place of never having been. It is written over in place
and not synced: it is right after a crash of the process and never ahead of the spool after a loss of power, and it
costs no wait for the disk. The file is kept open: a process that is out of descriptors can write it as well.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dio_daemon.histories import Histories, Reach, from_text, let_go, to_text

log = logging.getLogger(__name__)

_BYTES = 4096
"""Always as long, or a multiple: a full disk has its place already."""


NO_TWIN = ("", "")


@dataclass(frozen=True)
class Known:
    """What is known: the epoch of the spool on disk, and how far it and all others came.

    `delivered` is what the nerve center has of histories that are gone here (`SpoolState`). `twin` is epoch and stream
    of a spool in memory whose first record the disk was given before, and called refused. `stamp` is that of the
    spool (`SpoolState`), so that of this and a file the newer one is known.
    """

    disk: str = ""
    histories: Histories = field(default_factory=dict)
    twin: tuple[str, str] = NO_TWIN
    delivered: Histories = field(default_factory=dict)
    stamp: int = 0

    def delivered_before(self, epoch: str) -> Histories:
        """`delivered`, for the spool on disk of this epoch: where it is another one, nothing is kept of any before."""
        if epoch == self.disk:
            return self.delivered
        return let_go(self.delivered)

    def histories_before(self, epoch: str, histories: Histories) -> Histories:
        """`histories`, for the spool on disk of this epoch: where it is another one, what was kept is not."""
        if epoch == self.disk:
            return histories
        return {
            known: {
                stream: reach.without_held(self.delivered[known][stream])
                if stream in self.delivered.get(known, {})
                else reach
                for stream, reach in streams.items()
            }
            for known, streams in histories.items()
        }

    def without_twin(self, histories: Histories, found: Mapping[str, Reach]) -> Histories:
        """Histories, now that the spool on disk was found to have come to `found`.

        Where it has one record more than was known of it, that is the twin: it is not lost with the memory.
        """
        epoch, stream = self.twin
        known = histories.get(self.disk, {}).get(stream)
        twin = histories.get(epoch, {}).get(stream)
        if known is None or twin is None or stream not in found:
            return histories
        if found[stream].next_seq != known.next_seq + 1:
            return histories
        return {**histories, epoch: {**histories[epoch], stream: replace(twin, kept_from=1, kept_next=2)}}


class Tally:
    """The file, and what stands in it.

    Args:
        path: beside the spool.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._written = False
        self.last = self._read()

    def write(self, known: Known) -> None:
        """Write it over; a disk that refuses leaves the old one, which is better than none."""
        there = self._is_there()
        if known == self.last and self._written and there:
            return
        self.last = known
        fields = {
            "disk": known.disk,
            "histories": to_text(known.histories),
            "twin": known.twin,
            "delivered": to_text(known.delivered),
            "stamp": known.stamp,
        }
        text = json.dumps(fields, separators=(",", ":"))
        try:
            if self._file is None or not there:
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                new = os.open(self._path, flags, 0o600)
                self.close()
                self._file = new
            size = -(-len(text) // _BYTES) * _BYTES
            content = text.encode().ljust(size)
            if os.fstat(self._file).st_size < size:  # a full disk says so now, and not half way through
                os.posix_fallocate(self._file, 0, size)
            self._written = os.pwrite(self._file, content, 0) == len(content)
            os.ftruncate(self._file, len(content))
        except OSError as error:
            self._written = False
            log.debug("Cannot write %s: %s", self._path, error.strerror)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _is_there(self) -> bool:
        """Whether the file that is open is the one under its path, as far as can be known."""
        if self._file is None:
            return False
        try:
            there, ours = self._path.stat(), os.fstat(self._file)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _read(self) -> Known:
        try:
            fields = json.loads(self._path.read_bytes())
            epoch, stream = fields.get("twin", NO_TWIN)
            return Known(
                str(fields["disk"]),
                from_text(fields["histories"]),
                (str(epoch), str(stream)),
                from_text(fields.get("delivered", {})),
                int(fields.get("stamp", 0)),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Known()  # nothing known claims nothing lost
