"""Text for a terminal: colours only on one, columns that fit it."""

from __future__ import annotations

import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

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
    if not sys.stdout.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def fitted(line: str, columns: int | None) -> str:
    """The line, cut to the terminal's width; colours take no room, and go where a line is cut."""
    plain = _ESCAPES.sub("", line)
    return line if columns is None or len(plain) <= columns else plain[: max(0, columns - 1)] + "…"


def wrapped(text: str, indent: int, columns: int | None) -> str:
    """Text that begins at column `indent`, with what does not fit the terminal below its beginning."""
    if columns is None or indent + len(text) <= columns:
        return text
    import textwrap  # only a long text pays for it

    room = max(20, columns - indent)
    return ("\n" + " " * indent).join(textwrap.wrap(text, room, break_on_hyphens=False))


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
