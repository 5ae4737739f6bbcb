"""Where the kernel's files are, and reads from them that are bounded."""

import os
from dataclasses import dataclass

READ_LIMIT = 8 * 1024 * 1024
"""Bytes that are read of one file at most: mountinfo of a host with 30,000 mounts fits."""


@dataclass(frozen=True)
class Roots:
    """The folders that everything is read from; tests put a made-up host there.

    psutil reads /proc as well, from `psutil.PROCFS_PATH`.
    """

    proc: str = "/proc"
    sys: str = "/sys"
    etc: str = "/etc"
    run: str = "/run"


def read(path: str, limit: int = READ_LIMIT) -> bytes:
    """Return at most `limit` bytes of a file. Raises OSError."""
    # No buffered file object: it costs more than the read itself, and /proc is read hundreds of times a
    # sample.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        first = os.read(fd, min(limit, 65536))
        parts = [first]
        size = len(first)
        while parts[-1] and size < limit:
            parts.append(os.read(fd, min(limit - size, 65536)))
            size += len(parts[-1])
        return b"".join(parts)
    finally:
        os.close(fd)


def read_line(path: str) -> bytes:
    """Return what a single read of a file gives, 4096 bytes at most: all of a /proc file of one line.

    Raises OSError. It saves the second read that finds the end, for every process at every sample.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def read_text(path: str, limit: int = READ_LIMIT) -> str:
    """Like `read`, for files of ASCII figures; other bytes come out as replacement characters."""
    return read(path, limit).decode("ascii", "replace")
