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


def height() -> int:
    """Lines of the terminal."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except (OSError, ValueError):
        return 24


def fitted(line: str, columns: int | None) -> str:
    """The line, cut to the terminal's width; colours take no room, and go where a line is cut."""
    plain = _ESCAPES.sub("", line)
    return line if columns is None or len(plain) <= columns else plain[: max(0, columns - 1)] + "…"


def wrapped(text: str, indent: int, columns: int | None) -> str:
    """Text that begins at column `indent`, with what does not fit the terminal below its beginning."""
    if columns is None or indent + len(text) <= columns:
        return text
    import textwrap  # only a long text pays for it

    room = max(20, columns - indent) if indent else columns
    return ("\n" + " " * indent).join(textwrap.wrap(text, room, break_on_hyphens=False))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns, those in `right` aligned to the right. On a terminal too narrow for them nothing is cut.

    The widest are wrapped, between words only; where that is not enough, the last cells stand below their row.
    """
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    columns = width()
    if columns is not None and _total(widths) > columns:
        least = [
            max(len(word) for row in every for word in row[column].split(" ")) for column in range(len(head))
        ]
        while _total(widths) > columns and (
            loose := [at for at in range(len(head)) if widths[at] > least[at]]
        ):
            widths[max(loose, key=lambda at: widths[at])] -= 1
    return "\n".join(line for row in every for line in _row(row, widths, right, columns))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _taken(cells: Sequence[str], widths: Sequence[int]) -> int:
    """Columns that a row takes: nothing follows its last cell."""
    return _total([*widths[:-1], min(len(cells[-1]), widths[-1])])


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[int], columns: int | None) -> list[str]:
    """The lines of one row."""
    below: list[str] = []
    while columns is not None and len(cells) > 1 and _taken(cells, widths) > columns:
        below.insert(0, "    " + wrapped(cells[-1], 4, columns))
        cells, widths = cells[:-1], widths[:-1]
    parts = [wrapped(cell, 0, size).split("\n") for cell, size in zip(cells, widths, strict=True)]
    lines = []
    for number in range(max(len(part) for part in parts)):
        line = [part[number] if number < len(part) else "" for part in parts]
        lines.append(
            "  ".join(
                text.rjust(size) if at in right else text.ljust(size)
                for at, (text, size) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
        )
    return lines + below


def moment(time: str) -> str:
    """A time of the wire for people: to the second."""
    return f"{time[:19]}Z" if time[19:20] == "." else time


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
