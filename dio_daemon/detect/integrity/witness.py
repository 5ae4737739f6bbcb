"""What is said of processes at the moment that a rule's threat opens or becomes more severe.

A sample names the busiest and the largest processes; here they get executable, hash, package, unit, parents and
sockets, as every process in evidence has. Where neither is the point, it is those that have the most in swap, the most
files open, that have or have started the most tasks, or that wait for a disk. Zombies are told by those that have not
taken note of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dio_daemon.collect.processes import parse_stat
from dio_daemon.collect.procfs import read, read_line
from dio_daemon.collect.slow import count_entries
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.facts import describe, status_of
from dio_daemon.detect.integrity.host import Host

MOST_OF_A_KIND = 3
MOST_PROCESSES = 20_000
_KERNEL = 2
"""The kernel's threads are children of this process; and process 1 takes on whatever has lost its parent."""


@dataclass(frozen=True)
class _Process:
    """What /proc/PID/status says."""

    pid: int
    parent: int
    waits: bool
    """For a disk, as a rule: it cannot be interrupted."""
    threads: int
    swap_bytes: int


def _swapped(processes: Sequence[_Process]) -> Counter[int]:
    return Counter({each.pid: each.swap_bytes for each in processes})


def _tasks(processes: Sequence[_Process]) -> Counter[int]:
    """Their own threads and those of their children."""
    count: Counter[int] = Counter()
    for each in processes:
        count[each.pid] += each.threads
        if each.parent > _KERNEL:
            count[each.parent] += each.threads
    return count


def _waiting(processes: Sequence[_Process]) -> Counter[int]:
    return Counter(each.pid for each in processes if each.waits and each.parent != _KERNEL)


_MOST: dict[str, tuple[str, Callable[[Sequence[_Process]], Counter[int]]]] = {
    "swap.percent": ("swap_bytes", _swapped),
    "tasks.percent": ("tasks", _tasks),
    "pressure.io_full_percent": ("waits_for_disk", _waiting),
}
"""Figures of a sample that say nothing of which process it is: what to count, and how."""


class Witness:
    """Describes processes of a host for the rules. Belongs to one thread.

    Args:
        host: whose.
        packages: what is installed; of this thread alone.
    """

    def __init__(self, host: Host, packages: Packages) -> None:
        self._host = host
        self._packages = packages

    def __call__(self, place: str, sample: Mapping[str, Any], element: Any) -> dict[str, Any]:
        """More evidence for a figure.

        Args:
            place: where in the sample the figure stands.
            sample: the sample.
            element: what of a list it is about, None where there is no list.
        """
        if place == "processes.zombies":
            return {"parents_of_zombies": self._parents_of_zombies()}
        if isinstance(element, Mapping) and isinstance(element.get("pid"), int):
            return {"processes_concerned": self._described([element])}
        if place == "files.percent":
            return {"processes_concerned": self._most("open_files", self._open_files())}
        if place in _MOST:
            what, count = _MOST[place]
            return {"processes_concerned": self._most(what, count(list(self._processes())))}
        group = sample.get("processes")
        top = group.get("top") if isinstance(group, Mapping) else None
        return {"processes_concerned": self._described(_chosen(top))} if isinstance(top, list) else {}

    def _described(self, chosen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for each in chosen:
            described = describe(self._host, self._packages, each["pid"])
            if described["name"] is not None:  # it has not ended since
                figures = {name: each.get(name) for name in ("cpu_percent", "rss_bytes") if name in each}
                found.append(figures | described)
        return found

    def _open_files(self) -> Counter[int]:
        count: Counter[int] = Counter()
        for name in self._pids():
            with suppress(OSError):  # it has ended since
                count[int(name)] = count_entries(f"{self._host.proc}/{name}/fd")
        return count

    def _most(self, what: str, count: Counter[int]) -> list[dict[str, Any]]:
        most = count.most_common(MOST_OF_A_KIND)
        described = [
            {what: number, **describe(self._host, self._packages, pid)} for pid, number in most if number
        ]
        return [each for each in described if each["name"] is not None]

    def _pids(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._host.proc)[:MOST_PROCESSES] if name.isdigit()]
        except OSError:
            return []

    def _processes(self) -> Iterator[_Process]:
        for name in self._pids():
            try:
                text = read(f"{self._host.proc}/{name}/status", 65536)
            except OSError:
                continue
            lines = (line.partition(b":\t") for line in text.split(b"\n"))
            fields = {key: value.split() for key, _, value in lines if value}
            yield _Process(
                int(name),
                _number(fields.get(b"PPid")),
                (fields.get(b"State") or [b""])[0] == b"D",
                _number(fields.get(b"Threads")),
                _number(fields.get(b"VmSwap")) << 10,
            )

    def _parents_of_zombies(self) -> list[dict[str, Any]]:
        count: Counter[int] = Counter()
        for name in self._pids():
            if self._is_zombie(name):
                _, parent = status_of(self._host, int(name))
                if parent:
                    count[parent] += 1
        return [
            {"zombies": number, **describe(self._host, self._packages, parent)}
            for parent, number in count.most_common(MOST_OF_A_KIND)
        ]

    def _is_zombie(self, pid: str) -> bool:
        try:
            process = parse_stat(read_line(f"{self._host.proc}/{pid}/stat"))
        except OSError:
            return False
        return process is not None and process.state == b"Z"


def _number(words: list[bytes] | None) -> int:
    return int(words[0]) if words and words[0].isdigit() else 0


def _chosen(top: list[Any]) -> list[Mapping[str, Any]]:
    """The busiest and the largest."""
    usable = [each for each in top if isinstance(each, Mapping) and isinstance(each.get("pid"), int)]
    found: dict[int, Mapping[str, Any]] = {}
    for figure in ("cpu_percent", "rss_bytes"):
        most = sorted(usable, key=lambda each: -(each.get(figure) or 0))[:MOST_OF_A_KIND]
        found.update({each["pid"]: each for each in most if each.get(figure)})
    return list(found.values())
