"""`dioctl top`: the host as the agent sees it, and what the agent itself costs, every few seconds."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dio_daemon.cli.terminal import STATE_COLOURS, coloured, duration, fitted, height, percent, size, width
from dio_daemon.clock import Clock, SystemClock
from dio_daemon.ipc.client import Client
from dio_daemon.text import counted

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
ONCE_S = 0.5
"""Between the two looks at the agent's own processor time where it is shown once."""


def top(client: Client, options: argparse.Namespace, clock: Clock | None = None) -> int:
    """Show until interrupted; once when the output is no terminal or --once is given."""
    clock = clock or SystemClock()
    never = threading.Event()
    once = options.once or options.json or not sys.stdout.isatty()
    before: tuple[float, float] | None = None
    while True:
        status, sample = client.call("GET", "/v1/status"), client.call("GET", "/v1/sample")
        used = _own_cpu_s(status["pid"])
        now = clock.monotonic()
        if once and before is None and used is not None:  # its cost, too, takes two looks
            before = (now, used)
            clock.wait(never, ONCE_S)
            used, now = _own_cpu_s(status["pid"]), clock.monotonic()
        cpu = None
        if before is not None and used is not None and now > before[0]:
            cpu = (used - before[1]) / (now - before[0]) * 100
        own = {"cpu_percent": cpu, "rss_bytes": _own_rss(status["pid"])}
        if options.json:
            print(json.dumps({"status": status, "sample": sample, "agent": own}, indent=2))
            return 0
        screen = [fitted(line, width()) for line in lines(status, sample or {}, own)]
        if once:
            print("\n".join(screen))
            return 0
        print(_redrawn(screen[: height() - 1]), end="", flush=True)
        before = (now, used) if used is not None else None
        clock.wait(never, options.interval)


def lines(status: dict[str, Any], sample: dict[str, Any], own: dict[str, Any]) -> list[str]:
    """The screen, line by line."""
    state = coloured(status["state"], STATE_COLOURS.get(status["state"]))
    cpu, memory = sample.get("cpu") or {}, sample.get("memory") or {}
    swap, load = sample.get("swap") or {}, sample.get("load") or {}
    found = [
        f"{status['agent_id'] or '-'}  {state}  host up {_known(duration, sample.get('uptime_s'))}",
        f"agent  {percent(own['cpu_percent']):>8}  {size(own['rss_bytes'])} of memory  "
        f"{counted(status['spool']['pending'], 'record waits', 'records wait')}",
        f"cpu    {percent(cpu.get('percent')):>8}  user {percent(cpu.get('user_percent'))}  "
        f"system {percent(cpu.get('system_percent'))}  iowait {percent(cpu.get('iowait_percent'))}",
        f"memory {percent(memory.get('percent')):>8}  {size(memory.get('used_bytes'))} of "
        f"{size(memory.get('total_bytes'))}  swap {size(swap.get('used_bytes'))} of {size(swap.get('total_bytes'))}",
        "load   " + "  ".join(f"{load.get(name, '-')}" for name in ("load_1m", "load_5m", "load_15m")),
    ]
    for disk in sample.get("disks") or ():
        share = percent(disk.get("percent")) if disk.get("status") == "ok" else disk.get("status", "-")
        found.append(f"disk   {share:>8}  {size(disk.get('free_bytes'))} free  {disk['mount']}")
    network = sample.get("network") or {}
    rates = (
        _known(lambda value: f"{size(value)}/s", network.get(f"{way}_bytes_per_s")) for way in ("rx", "tx")
    )
    found.append("net    in {}  out {}".format(*rates))
    return [*found, "", *_processes((sample.get("processes") or {}).get("top") or ())]


def _processes(processes: Sequence[dict[str, Any]]) -> list[str]:
    """The busiest, in columns."""
    users = [process.get("user") or "-" for process in processes]
    room = max((len(user) for user in users), default=0)
    found = [coloured(f"{'PID':>8} {'CPU':>8} {'MEMORY':>10}  {'USER':<{room}}  NAME", "bold")]
    for process, user in zip(processes, users, strict=True):
        found.append(
            f"{process['pid']:>8} {percent(process.get('cpu_percent')):>8} {size(process.get('rss_bytes')):>10}  "
            f"{user:<{room}}  {process['name']}"
        )
    return found


def _known(words: Callable[[float], str], value: float | None) -> str:
    return "-" if value is None else words(value)


def _redrawn(screen: list[str]) -> str:
    """The screen over the one before, line by line: clearing it first would flicker."""
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in screen) + "\x1b[J"


def _own_cpu_s(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _own_rss(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return None
