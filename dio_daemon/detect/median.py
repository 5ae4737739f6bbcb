"""The median, without the module statistics: that takes 1.2 MiB of memory, with decimal and fractions."""

from __future__ import annotations

from collections.abc import Iterable


def median(figures: Iterable[float]) -> float:
    """The middle one, or what is between the two in the middle. Raises IndexError where there are none."""
    ordered = sorted(figures)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
