"""Buckets of time as a `figures.Chunk` has them, of which only the means are asked for: what a chart draws.

A month of a host is 100,000 buckets, and they are gathered while somebody waits: without least and greatest it takes
a third of the time.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping

from nerve_center.figures import Chunk, Wanted, places

_FIGURE = re.compile(r'"((?:[^"\\]|\\.)*)":\[\[([0-9,]*)\],\[[^\]]*\],\[([^\]]*)\],\[[^\]]*\]\][,}]')


def _columns(text: str) -> Iterator[tuple[str, str, str]]:
    """Of each figure of a packed chunk: its name, and as text its counts and its means.

    Most of the time of a chart went into parsing what it does not draw. Raises ValueError for another text.
    """
    at = 1
    for found in _FIGURE.finditer(text):
        if found.start() != at:
            break
        at = found.end()
        name = found[1]
        yield (json.loads(f'"{name}"') if "\\" in name else name), found[2], found[3]
    if at != len(text) and text != "{}":
        raise ValueError("not a packed chunk")


class Means:
    """`length` buckets of `size_s` seconds from `start_s` on."""

    def __init__(self, start_s: int, size_s: int, length: int) -> None:
        self.start_s = start_s
        self.size_s = size_s
        self.length = length
        self._rows: dict[str, tuple[list[float], list[float]]] = {}

    @property
    def end_s(self) -> int:
        """Where the last bucket ends."""
        return self.start_s + self.length * self.size_s

    def rows(self) -> dict[str, list[float | None]]:
        """For each figure its means, one a bucket; None where nothing was sampled."""
        return {
            name: [total / count if count else None for total, count in zip(totals, counts, strict=True)]
            for name, (totals, counts) in self._rows.items()
        }

    def add(self, time_us: int, sample: Mapping[str, float]) -> None:
        """Count a sample in; one outside changes nothing."""
        index = (time_us // 1_000_000 - self.start_s) // self.size_s
        if 0 <= index < self.length:
            for name, value in sample.items():
                totals, counts = self._row(name)
                totals[index] += value
                counts[index] += 1

    def absorb(self, other: Chunk, only: Wanted | None = None) -> None:
        """Count in what the other one holds, as far as it lies inside; its buckets must not be larger."""
        at = places(self.start_s, self.size_s, other)
        for name, row in other.cells.items():
            if only is None or only(name):
                totals, counts = self._row(name)
                for index, cell in zip(at, row, strict=True):
                    if cell is not None and 0 <= index < self.length:
                        totals[index] += cell[2]
                        counts[index] += cell[0]

    def absorb_packed(self, data: bytes, start_s: int, size_s: int, length: int, only: Wanted | None) -> None:
        """The same with a chunk as `Chunk.pack` made it."""
        spans = self._spans(start_s, size_s, length)
        known: dict[str, tuple[list[int], list[int]]] = {}  # figures of one sample are counted alike
        for name, counted, means in _columns(zlib.decompress(data).decode()):
            if only is not None and not only(name):
                continue
            if counted not in known:
                parsed = json.loads(f"[{counted}]")
                known[counted] = parsed, [sum(parsed[begin:end]) for _, begin, end in spans]
            numbers, summed = known[counted]
            totals, counts = self._row(name)
            values = json.loads(f"[{means}]")
            sums = [number and number * mean for number, mean in zip(numbers, values, strict=True)]
            for (index, begin, end), count in zip(spans, summed, strict=True):
                if count:
                    totals[index] += sum(sums[begin:end])
                    counts[index] += count

    def _row(self, name: str) -> tuple[list[float], list[float]]:
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = [0.0] * self.length, [0.0] * self.length
        return row

    def _spans(self, start_s: int, size_s: int, length: int) -> list[tuple[int, int, int]]:
        """For each bucket that has some of another chunk's: which, from where to where in that one."""
        found: dict[int, tuple[int, int, int]] = {}
        for at, index in enumerate(places(self.start_s, self.size_s, Chunk(start_s, size_s, length))):
            if 0 <= index < self.length:
                found[index] = (index, found[index][1] if index in found else at, at + 1)
        return list(found.values())
