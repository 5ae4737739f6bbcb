"""The host as a whole: cpu, memory, swap, load, pressure, uptime.

Memory used is what the host could not give to somebody who asked: MemTotal less MemAvailable, less the ARC of
ZFS, which the kernel does not count as available although ZFS gives it back.
"""

import math
from typing import Any

import psutil

from dio_daemon.collect.procfs import Roots, read_text
from dio_daemon.collect.rates import percent, rate

BACKSTEP_S = 1.0
"""So far the kernel's cpu times may run back by its own corrections; more is a reset."""


class Cpu:
    """Shares of the time of all cores since the sample before."""

    def __init__(self) -> None:
        self._before: dict[str, float] | None = None

    def sample(self) -> dict[str, Any] | None:
        """Return the group; shares are None at first and after the counters went back. Raises OSError."""
        now: dict[str, float] = psutil.cpu_times()._asdict()
        before, self._before = self._before, now
        shares = _cpu_shares(before, now) if before is not None else {}
        return {
            "percent": shares.get("busy"),
            "user_percent": shares.get("user"),
            "system_percent": shares.get("system"),
            "iowait_percent": shares.get("iowait"),
            "steal_percent": shares.get("steal"),
            "count": psutil.cpu_count(),
        }


def _cpu_shares(before: dict[str, float], now: dict[str, float]) -> dict[str, float | None]:
    # guest and guest_nice are left out: user and nice contain them.
    fields = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    spent = {name: now.get(name, 0.0) - before.get(name, 0.0) for name in fields}
    if min(spent.values()) < -BACKSTEP_S:
        return {}
    spent = {name: max(0.0, value) for name, value in spent.items()}
    total = sum(spent.values())
    return {
        "busy": percent(total - spent["idle"] - spent["iowait"], total),
        "user": percent(spent["user"] + spent["nice"], total),
        "system": percent(spent["system"] + spent["irq"] + spent["softirq"], total),
        "iowait": percent(spent["iowait"], total),
        "steal": percent(spent["steal"], total) if "steal" in now else None,
    }


def read_meminfo(roots: Roots) -> dict[str, int]:
    """Return the figures of /proc/meminfo in bytes. Raises OSError."""
    figures: dict[str, int] = {}
    for line in read_text(f"{roots.proc}/meminfo", 65536).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            figures[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    return figures


def memory(roots: Roots, meminfo: dict[str, int]) -> dict[str, Any] | None:
    """Return the memory group from the figures of `read_meminfo`."""
    total = meminfo.get("MemTotal")
    available = meminfo.get("MemAvailable")
    used = None
    if total is not None and available is not None:
        used = max(0, total - available - _arc_bytes(roots))
    cached = None
    if "Cached" in meminfo:  # as `free` counts buff/cache
        cached = meminfo["Cached"] + meminfo.get("Buffers", 0) + meminfo.get("SReclaimable", 0)
    return {
        "total_bytes": total,
        "available_bytes": available,
        "used_bytes": used,
        "cached_bytes": cached,
        "percent": percent(used, total),
    }


def _arc_bytes(roots: Roots) -> int:
    """Return the size of ZFS's ARC, 0 on a host without ZFS."""
    try:
        text = read_text(f"{roots.proc}/spl/kstat/zfs/arcstats", 65536)
    except FileNotFoundError:
        return 0
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "size" and words[2].isdigit():
            return int(words[2])
    return 0


def swap(meminfo: dict[str, int]) -> dict[str, Any] | None:
    """Return the swap group; a host without swap has a total of 0 and no percentage."""
    total = meminfo.get("SwapTotal")
    free = meminfo.get("SwapFree")
    used = max(0, total - free) if total is not None and free is not None else None
    return {"total_bytes": total, "used_bytes": used, "percent": percent(used, total)}


def load(roots: Roots) -> dict[str, Any] | None:
    """Return the load averages. Raises OSError, ValueError."""
    words = read_text(f"{roots.proc}/loadavg", 4096).split()
    if len(words) < 3:
        raise ValueError("/proc/loadavg does not have three averages")
    averages = [_finite(word) for word in words[:3]]
    cpus = psutil.cpu_count()
    return {
        "load_1m": averages[0],
        "load_5m": averages[1],
        "load_15m": averages[2],
        "load_5m_per_cpu": round(averages[1] / cpus, 2) if cpus else None,
    }


class Forks:
    """How many tasks (threads) there are, and how fast they are made."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._before: int | None = None

    def sample(self, interval_s: float | None) -> dict[str, Any]:
        """Return the group. Raises OSError, ValueError."""
        lines = read_text(f"{self._roots.proc}/stat").splitlines()
        forks = next((int(line.split()[1]) for line in lines if line.startswith("processes ")), None)
        before, self._before = self._before, forks
        words = read_text(f"{self._roots.proc}/loadavg", 4096).split()
        tasks = int(words[3].rpartition("/")[2]) if len(words) > 3 else None
        limits = [self._limit("pid_max"), self._limit("threads-max")]
        most = min((limit for limit in limits if limit is not None), default=None)
        return {
            "count": tasks,
            "max": most,
            "percent": percent(tasks, most),
            "forks_per_s": rate(forks, before, interval_s),
        }

    def _limit(self, name: str) -> int | None:
        try:
            return int(read_text(f"{self._roots.proc}/sys/kernel/{name}", 64))
        except (OSError, ValueError):
            return None


def pressure(roots: Roots) -> dict[str, Any] | None:
    """Return the pressure group, None on a kernel without PSI or with it switched off. Raises ValueError."""
    group: dict[str, Any] = {}
    for resource, kinds in (("cpu", ("some",)), ("memory", ("some", "full")), ("io", ("some", "full"))):
        try:
            text = read_text(f"{roots.proc}/pressure/{resource}", 4096)
        except OSError:  # not there, or EOPNOTSUPP: not an error of the host, a kernel of another kind
            continue
        averages = {line.split(" ", 1)[0]: line for line in text.splitlines()}
        for kind in kinds:
            if kind in averages:
                group[f"{resource}_{kind}_percent"] = _avg10(averages[kind])
    return group or None


def _avg10(line: str) -> float | None:
    for word in line.split():
        if word.startswith("avg10="):
            return _finite(word.removeprefix("avg10="))
    return None


def uptime_s(roots: Roots) -> float:
    """Return seconds since the host, or the container, was started. Raises OSError, ValueError."""
    words = read_text(f"{roots.proc}/uptime", 4096).split()
    if not words:
        raise ValueError("/proc/uptime is empty")
    return _finite(words[0])


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"not a finite number: {word}")
    return value
