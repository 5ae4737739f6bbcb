"""Replacing a file so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write aside, fsync, rename, fsync the folder.

    Args:
        path: the file to replace or to make.
        content: its new content.
        mode: its permissions, in force from its first moment.

    Raises:
        OSError: nothing was changed.
    """
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def takes_files(folder: Path) -> bool:
    """Whether a file can be written in a folder: it is there, writable, and its disk is not full."""
    probe = folder / ".probe"
    try:
        replace_file(probe, b"x", 0o600)
        probe.unlink()
    except OSError:
        return False
    return True
