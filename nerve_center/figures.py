"""The key figures of samples, gathered in buckets of time: how many, least, mean, greatest.

A figure's name is its place in a sample: `cpu.percent`, `load.load_1m`; where there are several, what it is of
stands behind a colon: `disks.percent:/home`, `disk_io.write_bytes_per_s:sda`, `network.rx_bytes_per_s:eth0`. What a
sample does not have, or has as null, is no figure: it is missing in the bucket and never counts as 0.

A `Chunk` is a row of buckets of one size; `pack` makes bytes of it: JSON by columns, deflated, rounded to 5 digits.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

_PLAIN = (
    ("cpu", ("percent", "user_percent", "system_percent", "iowait_percent", "steal_percent")),
    ("memory", ("percent", "used_bytes", "cached_bytes", "total_bytes")),
    ("swap", ("percent", "used_bytes")),
    ("load", ("load_1m", "load_5m", "load_15m")),
    (
        "pressure",
        (
            "cpu_some_percent",
            "memory_some_percent",
            "memory_full_percent",
            "io_some_percent",
            "io_full_percent",
        ),
    ),
    ("network", ("rx_bytes_per_s", "tx_bytes_per_s")),
    ("processes", ("count", "running", "zombies")),
)
_LISTED = (
    ("disks", "mount", ("percent", "used_bytes", "total_bytes", "inodes_percent")),
    ("disk_io", "device", ("read_bytes_per_s", "write_bytes_per_s", "busy_percent")),
)
_OF_INTERFACES = ("rx_bytes_per_s", "tx_bytes_per_s")
_PATHS = tuple((group, tuple((name, f"{group}.{name}") for name in names)) for group, names in _PLAIN)
_NUMBERS = (int, float)
_MOST_LISTED = 24
_MOST_NAME = 96
_MOST = 1e18

LATE = "delivery.late_s"
"""The figure of samples that came after an outage: how late. Samples that came in time have none."""

OUTAGE_S = 60.0
"""How much later than its interval a sample must come to count as late."""


class Clock(NamedTuple):
    """What an agent's times are measured by: seconds between its samples, and its clock less the center's."""

    interval_s: float
    skew_s: float


Cell = list[float]
"""Of one figure in one bucket: how many, least, sum, greatest."""

Wanted = Callable[[str], bool]
"""Whether a figure, by its name, is wanted."""


def figures(sample: Mapping[str, Any]) -> dict[str, float]:
    """The key figures of a sample's data, by name."""
    found: dict[str, float] = {}
    for group, paths in _PATHS:
        values = sample.get(group)
        if isinstance(values, dict):
            for name, path in paths:
                value: Any = values.get(name)
                if type(value) in _NUMBERS and -_MOST < value < _MOST:  # a bool is no number
                    found[path] = float(value)
    for group, of, names in _LISTED:
        _take_list(found, sample.get(group), of, names, group)
    network = sample.get("network")
    if isinstance(network, dict):
        _take_list(found, network.get("interfaces"), "name", _OF_INTERFACES, "network")
    return found


def _take_list(found: dict[str, float], items: Any, of: str, names: Sequence[str], group: str) -> None:
    if not isinstance(items, list):
        return
    for item in items[:_MOST_LISTED]:
        if isinstance(item, dict) and isinstance(item.get(of), str) and len(item[of]) <= _MOST_NAME:
            for name in names:
                value: Any = item.get(name)
                if type(value) in _NUMBERS and -_MOST < value < _MOST:
                    found[f"{group}.{name}:{item[of]}"] = float(value)


def lateness(time_us: int, received_us: int, clock: Clock) -> dict[str, float]:
    """How long after an outage a sample came, as a figure; none for one that came in its time."""
    late_s = (received_us - time_us) / 1e6 + clock.skew_s
    return {LATE: late_s} if late_s >= OUTAGE_S + clock.interval_s else {}


class Chunk:
    """`length` buckets of `size_s` seconds from `start_s` on. `cells` has a row of them for each figure."""

    def __init__(self, start_s: int, size_s: int, length: int) -> None:
        self.start_s = start_s
        self.size_s = size_s
        self.length = length
        self.cells: dict[str, list[Cell | None]] = {}

    @property
    def end_s(self) -> int:
        """Where the last bucket ends."""
        return self.start_s + self.length * self.size_s

    def add(self, time_us: int, sample: Mapping[str, float]) -> None:
        """Count a sample in; one outside changes nothing."""
        index = (time_us // 1_000_000 - self.start_s) // self.size_s
        if not 0 <= index < self.length:
            return
        cells = self.cells
        for name, value in sample.items():  # written out: it is done for every figure of every sample
            row = cells.get(name)
            if row is None:
                row = cells[name] = [None] * self.length
            cell = row[index]
            if cell is None:
                row[index] = [1, value, value, value]
                continue
            cell[0] += 1
            cell[2] += value
            if value < cell[1]:
                cell[1] = value
            elif value > cell[3]:
                cell[3] = value

    def absorb(self, other: Chunk, only: Wanted | None = None) -> None:
        """Count in what the other one holds, as far as it lies inside; its buckets must not be larger."""
        at = places(self.start_s, self.size_s, other)
        for name, row in other.cells.items():
            if only is None or only(name):
                for index, cell in zip(at, row, strict=True):
                    if cell is not None and 0 <= index < self.length:
                        self._add(name, index, *cell)

    def absorb_packed(self, data: bytes, start_s: int, size_s: int, length: int, only: Wanted | None) -> None:
        """The same with a chunk as `pack` made it, which is the quicker way."""
        at, end = places(self.start_s, self.size_s, Chunk(start_s, size_s, length)), self.length
        for name, (counts, least, means, most) in json.loads(zlib.decompress(data)).items():
            if only is not None and not only(name):
                continue
            row = self.cells.setdefault(name, [None] * end)
            for index, count, low, mean, high in zip(at, counts, least, means, most, strict=True):
                if not count or not 0 <= index < end:
                    continue
                cell = row[index]
                if cell is None:
                    row[index] = [count, low, mean * count, high]
                    continue
                cell[0] += count
                cell[1] = min(cell[1], low)
                cell[2] += mean * count
                cell[3] = max(cell[3], high)

    def replace(self, other: Chunk) -> None:
        """What the other one covers is as there, and nothing else: its buckets must have the same size."""
        first = (other.start_s - self.start_s) // self.size_s
        for row in self.cells.values():
            row[first : first + other.length] = [None] * other.length
        self.absorb(other)

    def _add(self, name: str, index: int, count: float, least: float, total: float, most: float) -> None:
        row = self.cells.get(name)
        if row is None:
            row = self.cells[name] = [None] * self.length
        cell = row[index]
        if cell is None:
            row[index] = [count, least, total, most]
            return
        cell[0] += count
        cell[1] = min(cell[1], least)
        cell[2] += total
        cell[3] = max(cell[3], most)

    @property
    def empty(self) -> bool:
        return not any(cell is not None for row in self.cells.values() for cell in row)

    def pack(self) -> bytes:
        """As bytes, for `unpack`."""
        columns: dict[str, Any] = {}
        for name, row in sorted(self.cells.items()):
            if any(cell is not None for cell in row):
                columns[name] = [
                    [0 if cell is None else int(cell[0]) for cell in row],
                    [None if cell is None else short(cell[1]) for cell in row],
                    [None if cell is None else short(cell[2] / cell[0]) for cell in row],
                    [None if cell is None else short(cell[3]) for cell in row],
                ]
        return zlib.compress(json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode(), 6)


def places(start_s: int, size_s: int, other: Chunk) -> list[int]:
    """In which bucket of a row (its start, the size of each) each bucket of a chunk lies; some may lie outside."""
    return [(at - start_s) // size_s for at in range(other.start_s, other.end_s, other.size_s)]


def unpack(data: bytes, start_s: int, size_s: int, length: int) -> Chunk:
    """What `pack` made. Raises ValueError or zlib.error where it is something else."""
    found = Chunk(start_s, size_s, length)
    for name, (counts, least, means, most) in json.loads(zlib.decompress(data)).items():
        found.cells[name] = [
            [count, low, mean * count, high] if count else None
            for count, low, mean, high in zip(counts, least, means, most, strict=True)
        ]
    return found


def short(value: float) -> float:
    """Rounded to 5 digits."""
    if value == 0 or not math.isfinite(value):
        return 0
    rounded = float(f"{value:.5g}")
    return int(rounded) if rounded.is_integer() else rounded
