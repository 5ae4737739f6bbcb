"""What is in a folder, and which of its files are as they were.

That is so of nearly all of them at nearly every look: one call to the kernel for each, which starts at the folder, is
all that is spent on them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.state import FileState


def look_into(
    host: Host, folder: str, known: Mapping[str, FileState], most: int
) -> tuple[list[str], set[str]]:
    """The names in a folder, `most` of them at most, and those whose files are as they are known. Raises OSError."""
    same: set[str] = set()
    fd = os.open(host.at(folder or "/"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = os.listdir(fd)[:most]
        for name in known.keys() & set(names):
            try:
                if known[name].is_as(os.stat(name, dir_fd=fd, follow_symlinks=False)):
                    same.add(name)
            except OSError:  # whoever examines it is told why
                continue
    finally:
        os.close(fd)
    return names, same
