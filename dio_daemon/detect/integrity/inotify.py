"""inotify(7): which folders changed, from the kernel. See docs/decisions for why it is not a library."""

from __future__ import annotations

import errno
import os
import select
import struct
from collections.abc import Collection, Iterator

MODIFIED = 0x002
ATTRIB = 0x004
CLOSE_WRITE = 0x008
MOVED_FROM = 0x040
MOVED_TO = 0x080
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
OVERFLOW = 0x4000
IGNORED = 0x8000
IS_DIR = 0x4000_0000
_ONLY_DIR = 0x0100_0000
_EXCL_UNLINK = 0x0400_0000

CHANGES = ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
READ_BYTES = 65536
_HEAD = struct.Struct("iIII")


class Inotify:
    """One inotify instance over folders. Raises OSError when the kernel gives none."""

    def __init__(self) -> None:
        import ctypes  # a hardened host may refuse it: then the looks at everything remain

        self._errno = ctypes.get_errno
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._check(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def add(self, folder: str, mask: int = CHANGES) -> int:
        """Watch a folder; its watch number, the same one for the same folder. Raises OSError."""
        return self._check(
            self._libc.inotify_add_watch(self.fd, os.fsencode(folder), mask | _ONLY_DIR | _EXCL_UNLINK)
        )

    def remove(self, watch: int) -> None:
        """Watch it no more. Nothing happens when the folder is gone already."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def events(self) -> Iterator[tuple[int, int, bytes]]:
        """What one read gives: watch, mask and name of each change."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at + _HEAD.size <= len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            yield watch, mask, data[at : at + length].rstrip(b"\0")
            at += length

    def close(self) -> None:
        """Give it back."""
        os.close(self.fd)

    def _check(self, result: int) -> int:
        if result < 0:
            code = self._errno() or errno.EIO
            raise OSError(code, os.strerror(code))
        return result


def wait_for(fds: Collection[int], timeout_s: float) -> set[int]:
    """Wait until one of some descriptors has something to read, or its other end is closed; which of them do."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    try:
        return {fd for fd, _ in poll.poll(max(0.0, timeout_s) * 1000)}
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # A process that may have fewer descriptors than it asks about is refused by poll(2), but not by select(2).
    return set(select.select(fds, (), (), max(0.0, timeout_s))[0])
