"""Places in a sample, and comparisons of what stands there.

    cpu.percent                       one figure
    disks[*].percent                  one for each element of a list
    units.failed_units[*]             the elements themselves, where they are texts
    pressure.io_some_percent >= 20    a condition

What a sample does not have is None, and a condition on it does not hold. Truth counts as 1 and 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PLACE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\[\*\](\.[a-z][a-z0-9_]*)*)?")
_CONDITION: Final = re.compile(
    r"(?P<place>[a-z0-9_.*\[\]]+)\s*(?P<op>>=|<=|>|<)\s*(?P<level>-?[0-9]+(\.[0-9]+)?)"
)


@dataclass(frozen=True)
class Place:
    """Where a figure stands in a sample."""

    before: tuple[str, ...]
    after: tuple[str, ...] | None
    """What follows `[*]`; None where there is no list."""

    @property
    def text(self) -> str:
        """As it is written."""
        after = "" if self.after is None else "[*]" + "".join(f".{name}" for name in self.after)
        return ".".join(self.before) + after

    def group(self, sample: Mapping[str, Any]) -> Any:
        """What stands there, before a `[*]`; None where it could not be had."""
        return _down(sample, self.before)

    def of(self, element: Any) -> Any:
        """What stands there within an element of the list."""
        return _down(element, self.after or ())

    def figure(self, sample: Mapping[str, Any]) -> float | None:
        """The figure at a place without a list."""
        return as_figure(self.group(sample))


@dataclass(frozen=True)
class Condition:
    """A comparison of the figure at a place with a level."""

    place: Place
    op: str
    level: float

    def holds(self, sample: Mapping[str, Any]) -> bool:
        """Whether it does; False where the figure could not be had."""
        value = self.place.figure(sample)
        return value is not None and compare(value, self.op, self.level)


def parse_place(text: str) -> Place:
    """Raises ValueError for what is none."""
    if len(text) > 200 or not _PLACE.fullmatch(text):
        raise ValueError(f"{text!r} is no place in a sample, such as cpu.percent or disks[*].percent")
    before, star, after = text.partition("[*]")
    return Place(
        tuple(before.split(".")), tuple(after.removeprefix(".").split(".")) if after else () if star else None
    )


def parse_condition(text: str) -> Condition:
    """Raises ValueError for what is none."""
    found = _CONDITION.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no condition, such as pressure.io_some_percent >= 20")
    place = parse_place(found["place"])
    if place.after is not None:
        raise ValueError(f"{text!r} must be about one figure, without [*]")
    return Condition(place, found["op"], float(found["level"]))


def compare(value: float, op: str, level: float) -> bool:
    """`value op level`."""
    if op == ">=":
        return value >= level
    if op == ">":
        return value > level
    return value <= level if op == "<=" else value < level


def as_figure(value: Any) -> float | None:
    """A number, or truth as one; a text that stands there is 1."""
    if isinstance(value, str):
        return 1.0
    return float(value) if isinstance(value, (int, float)) else None


def _down(value: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
