"""What a database file is known by, to tell that it was deleted or replaced while in use."""

from __future__ import annotations

from pathlib import Path


def file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file, None where there is none. Raises PermissionError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
