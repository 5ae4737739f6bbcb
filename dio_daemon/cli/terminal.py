"""Text for a terminal: colours only on one, columns that fit it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

_COLOURS = {"red": "31", "yellow": "33", "green": "32", "bold": "1", "dim": "2"}
STATE_COLOURS = {"active": "green", "warning": "yellow", "offline": "red", "stopping": "yellow"}


def coloured(text: str, colour: str | None) -> str:
    """The text in a colour, where standard output is a terminal that may have one (NO_COLOR, TERM=dumb)."""
    if (
        colour is None
        or os.environ.get("NO_COLOR")
        or os.environ.get("TERM") == "dumb"
        or not sys.stdout.isatty()
    ):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def width() -> int | None:
    """Columns of the terminal; None when the output goes elsewhere and should not be cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(line: str, columns: int | None) -> str:
    """The line, cut to the terminal's width."""
    return line if columns is None or len(line) <= columns else line[: max(0, columns - 1)] + "…"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns, those in `right` aligned to the right; the last one is cut where the terminal ends."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    lines = []
    for row in every:
        cells = [
            cell.rjust(size) if column in right else cell.ljust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(fitted("  ".join(cells).rstrip(), width()))
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} d"


def size(count: float | None) -> str:
    """Bytes for people."""
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def percent(value: Any) -> str:
    """A share for people; what is not known is `-`, never 0."""
    return "-" if value is None else f"{value:.1f} %"
