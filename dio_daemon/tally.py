"""How many records wait, written down where damage to the spool does not reach it.

A spool that is found damaged or gone at the start cannot say what was in it, and one in memory dies with its
process. This small file beside the spool says how many records waited, so that they stand at the nerve center as a
gap in place of never having been. It is written over in place and not synced: it is right after a crash of the
process and about right after a loss of power, and it costs no wait for the disk.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

_BYTES = 512
"""Always as long: a shorter text leaves nothing of a longer one behind it."""


@dataclass(frozen=True)
class Waiting:
    """Records that wait, by stream: in the spool on disk, which has this `epoch`, and in memory."""

    epoch: str = ""
    disk: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)


class Tally:
    """The file, and what stands in it.

    Args:
        path: beside the spool.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.last = self._read()

    def write(self, waiting: Waiting) -> None:
        """Write it over; a disk that refuses leaves the old one, which is better than none."""
        if waiting == self.last:
            return
        self.last = waiting
        content = json.dumps(asdict(waiting)).encode().ljust(_BYTES)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, content, 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.debug("Cannot write %s: %s", self._path, error.strerror)

    def _read(self) -> Waiting:
        try:
            fields = json.loads(self._path.read_bytes())
            return Waiting(str(fields["epoch"]), _counts(fields["disk"]), _counts(fields["memory"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Waiting()  # nothing known claims nothing lost


def _counts(found: Mapping[str, object]) -> dict[str, int]:
    return {stream: count for stream, count in found.items() if isinstance(count, int) and count > 0}
