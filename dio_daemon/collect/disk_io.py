"""What the disks do.

Whole disks only: not partitions, which are counted in their disk, and not what is stacked on disks (device
mapper, RAID, loop devices, memory), where the same transfer would be counted once more.
"""

# The functions of os cost a tenth of those of pathlib, and this runs at every sample.
# ruff: noqa: PTH112, PTH208

import os
from typing import Any

import psutil

from dio_daemon.collect.procfs import Roots, read_text
from dio_daemon.collect.rates import rate
from dio_daemon.text import safe

MOST_DEVICES = 64
_STACKED = ("loop", "ram", "zram", "dm-", "md", "zd", "sr", "fd")


class DiskIo:
    """Rates of the disks since the sample before."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._before: dict[str, Any] = {}

    def sample(self, interval_s: float | None) -> list[dict[str, Any]]:
        """Return the disks by name. Raises OSError, ValueError."""
        try:
            # nowrap would add up wraps in psutil's own memory; a counter that went back is null here.
            counters = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        except NotImplementedError as error:  # no /proc/diskstats and no /sys/block
            raise OSError(str(error)) from error
        now = {name: counters[name] for name in sorted(counters) if self._whole(name)}
        before, self._before = self._before, now
        return [_device(name, now[name], before.get(name), interval_s) for name in list(now)[:MOST_DEVICES]]

    def _whole(self, name: str) -> bool:
        if name.startswith(_STACKED):
            return False
        folder = f"{self._roots.sys}/block/{name.replace('/', '!')}"
        try:
            if read_text(f"{folder}/size", 64).strip() == "0":
                return False  # nothing is attached to it
            return not os.listdir(f"{folder}/slaves")
        except OSError:
            # A partition, unless the kernel has no such folder for anything.
            return os.path.isdir(folder) or not os.path.isdir(f"{self._roots.sys}/block")


def _device(name: str, new: Any, old: Any, interval_s: float | None) -> dict[str, Any]:
    def per_second(field: str) -> float | None:
        return rate(getattr(new, field, None), getattr(old, field, None), interval_s)

    busy = per_second("busy_time")  # milliseconds a second
    return {
        "device": safe(name, 255),
        "read_bytes_per_s": per_second("read_bytes"),
        "write_bytes_per_s": per_second("write_bytes"),
        "reads_per_s": per_second("read_count"),
        "writes_per_s": per_second("write_count"),
        "busy_percent": None if busy is None else min(100.0, round(busy / 10, 2)),
    }
