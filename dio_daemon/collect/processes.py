"""How many processes there are, and which use the most.

One pass over /proc/PID/stat a sample; everything else (executable, user) is read for the top ones only, and
arguments never: they hold passwords. Cpu is 100 for one core kept busy over the whole interval.

psutil would read the same files at three times the cost, an object and several reads for each process.
"""

# The functions of os cost a tenth of those of pathlib, and this runs at every sample.
# ruff: noqa: PTH115, PTH208

import heapq
import math
import os
from typing import Any, NamedTuple

from dio_daemon.collect.procfs import Roots, read, read_line
from dio_daemon.collect.rates import rate
from dio_daemon.collect.users import Users
from dio_daemon.text import safe

MOST_TOP = 32
"""Processes that are named for their cpu at most, and as many again for their memory."""

_STATE, _UTIME, _STIME, _STARTTIME, _RSS = 0, 11, 12, 19, 21  # after the name; proc_pid_stat(5), field 3 is 0


class Process(NamedTuple):
    """One line of /proc/PID/stat. A tuple: it is made for each process at every sample."""

    pid: int
    name: bytes
    state: bytes
    ticks: int  # of cpu, since its start
    started: int  # ticks after boot; tells it from a later process of the same pid
    rss_pages: int


class Processes:
    """Counts processes and finds the top ones since the sample before."""

    def __init__(self, roots: Roots, users: Users, top: int) -> None:
        self._roots = roots
        self._users = users
        self._top = min(top, MOST_TOP)
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGESIZE")
        self._before: dict[int, Process] = {}
        self._before_ticks = math.inf  # the time of the sample before, in ticks after boot

    def sample(self, interval_s: float | None, boottime_s: float) -> dict[str, Any]:
        """Return the group. `boottime_s` is now, on CLOCK_BOOTTIME. Raises OSError."""
        processes = self._read()
        cpu = self._shares(processes, interval_s)
        self._before = {process.pid: process for process in processes}
        self._before_ticks = boottime_s * self._ticks_per_s
        picked = self._pick(processes, cpu)
        uids = {process.pid: self._uid(process.pid) for process in picked}
        names = self._users.names({uid for uid in uids.values() if uid is not None})
        return {
            "count": len(processes),
            "running": sum(process.state == b"R" for process in processes),
            "zombies": sum(process.state == b"Z" for process in processes),
            "top": [self._describe(each, cpu[each.pid], _name_of(uids[each.pid], names)) for each in picked],
        }

    def _read(self) -> list[Process]:
        proc = self._roots.proc
        processes = []
        for pid in os.listdir(proc):
            if not pid.isdigit():
                continue
            try:
                process = parse_stat(read_line(f"{proc}/{pid}/stat"))
            except OSError:  # it has ended, or is hidden
                continue
            if process is not None:
                processes.append(process)
        return processes

    def _shares(self, processes: list[Process], interval_s: float | None) -> dict[int, float | None]:
        """The cpu of each process since the sample before, in percent of a core. Nearly all have used none."""
        none = 0.0 if interval_s and interval_s > 0 else None
        shares = {}
        for process in processes:
            before = self._before.get(process.pid)
            if before is None or before.started != process.started:
                # one that has started since the sample before has used all its cpu since
                old = 0 if process.started >= self._before_ticks else None
                shares[process.pid] = self._share(process.ticks, old, interval_s)
            elif before.ticks != process.ticks:
                shares[process.pid] = self._share(process.ticks, before.ticks, interval_s)
            else:
                shares[process.pid] = none
        return shares

    def _share(self, ticks: int, before: int | None, interval_s: float | None) -> float | None:
        share = rate(ticks, before, interval_s)
        return None if share is None else round(share / self._ticks_per_s * 100, 1)

    def _pick(self, processes: list[Process], cpu: dict[int, float | None]) -> list[Process]:
        """Return those that use the most cpu, and after them those that use the most memory."""
        busy = [process for process in processes if cpu[process.pid]]
        by_cpu = heapq.nlargest(
            self._top, busy, key=lambda process: (cpu[process.pid] or 0.0, process.rss_pages)
        )
        big = [process for process in processes if process.rss_pages > 0]
        by_memory = heapq.nlargest(self._top, big, key=lambda process: process.rss_pages)
        return by_cpu + [process for process in by_memory if process not in by_cpu]

    def _describe(self, process: Process, cpu_percent: float | None, user: str | None) -> dict[str, Any]:
        try:
            link = os.readlink(os.fsencode(f"{self._roots.proc}/{process.pid}/exe"))
        except OSError:  # a thread of the kernel, or one that may not be looked at
            link = b""
        return {
            "pid": process.pid,
            "name": safe(process.name, 64) or "?",
            "exe": safe(link, 512) or None,
            "user": user,
            "cpu_percent": cpu_percent,
            "rss_bytes": process.rss_pages * self._page_bytes,
        }

    def _uid(self, pid: int) -> int | None:
        """Return the effective uid; the owner of /proc/PID is root for whatever may not be dumped."""
        try:
            status = read(f"{self._roots.proc}/{pid}/status", 65536)
        except OSError:
            return None
        for line in status.split(b"\n"):
            words = line.split()
            if len(words) > 2 and words[0] == b"Uid:" and words[2].isdigit():
                return int(words[2])
        return None


def _name_of(uid: int | None, names: dict[int, str]) -> str | None:
    return None if uid is None else names[uid]


def parse_stat(line: bytes) -> Process | None:
    """Return what a /proc/PID/stat says, None when it is cut short.

    The name stands in brackets and may hold brackets, blanks and newlines itself; what follows it does not.
    """
    left, bracket, right = line.rpartition(b")")
    pid, _, name = left.partition(b" (")
    fields = right.split(None, _RSS + 1)  # what comes after is not asked for
    if not bracket or not pid.isdigit() or len(fields) <= _RSS:
        return None
    try:
        ticks = int(fields[_UTIME]) + int(fields[_STIME])
        return Process(int(pid), name, fields[_STATE], ticks, int(fields[_STARTTIME]), int(fields[_RSS]))
    except ValueError:
        return None
