"""How full the filesystems are, as df(1) counts it.

Free is what is left to ordinary users; percent is used of used and free, so that a disk is at 100 when they
are out of room, whatever is reserved to root.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from dio_daemon.collect.apart import Apart, HungError
from dio_daemon.collect.mounts import Mount, Mounts
from dio_daemon.collect.procfs import Roots
from dio_daemon.collect.rates import percent
from dio_daemon.text import safe

MOST_DISKS = 64
"""Filesystems that one sample carries."""

StatVfs = Callable[[bytes], os.statvfs_result]


class Disks:
    """Looks at every filesystem of the host; at one that may hang apart, with a time limit."""

    def __init__(self, roots: Roots, apart: Apart, statvfs: StatVfs = os.statvfs) -> None:
        self._mounts = Mounts(roots)
        self._apart = apart
        self._statvfs = statvfs
        self.unreachable: list[str] = []
        """Mounts that did not answer in the last sample."""

    def sample(self) -> tuple[list[dict[str, Any]], int]:
        """Return the filesystems, `/` first, and how many more there are. Raises OSError."""
        mounts, prefix = self._mounts.read()
        chosen = mounts[:MOST_DISKS]
        calls = {mount.path: partial(self._statvfs, prefix + mount.path) for mount in chosen}
        prompt = {mount.path for mount in chosen if mount.prompt}
        answers = self._apart.run({path: call for path, call in calls.items() if path not in prompt})
        answers |= {path: _answer(calls[path]) for path in prompt}
        self.unreachable = []
        disks = []
        for mount in chosen:
            answer = answers[mount.path]
            if isinstance(answer, os.statvfs_result):
                if answer.f_blocks or mount.path == b"/":  # df leaves out what has no blocks, too
                    disks.append(_names(mount) | _figures(answer))
            elif isinstance(answer, FileNotFoundError):
                continue  # unmounted since the list was read
            elif isinstance(answer, PermissionError):
                disks.append(_names(mount) | _nothing("denied"))
            elif isinstance(answer, HungError | OSError):
                disks.append(_names(mount) | _nothing("unreachable"))
                self.unreachable.append(safe(mount.path, 255))
        return disks, len(mounts) - len(chosen)


def _answer(call: Callable[[], os.statvfs_result]) -> os.statvfs_result | Exception:
    try:
        return call()
    except OSError as error:
        return error


def _names(mount: Mount) -> dict[str, Any]:
    return {
        "mount": safe(mount.path, 1024),
        "device": safe(mount.device, 1024) or None,
        "fstype": safe(mount.fstype, 64) or None,
    }


def _figures(vfs: os.statvfs_result) -> dict[str, Any]:
    used = (vfs.f_blocks - vfs.f_bfree) * vfs.f_frsize
    free = vfs.f_bavail * vfs.f_frsize
    return {
        "status": "ok",
        "total_bytes": vfs.f_blocks * vfs.f_frsize,
        "used_bytes": used,
        "free_bytes": free,
        "percent": percent(used, used + free),
        "inodes_percent": percent(vfs.f_files - vfs.f_ffree, vfs.f_files),
    }


def _nothing(status: str) -> dict[str, Any]:
    figures = ("total_bytes", "used_bytes", "free_bytes", "percent", "inodes_percent")
    return {"status": status, **dict.fromkeys(figures)}
