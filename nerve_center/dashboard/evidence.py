"""Evidence as people read it: a table of names and values, whatever JSON it is, bounded and in plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nerve_center.dashboard import shown

_MOST_ROWS = 200
_MOST_TEXT = 2000
_MOST_DEPTH = 5


@dataclass(frozen=True)
class Row:
    """A line: its name in words, its value, and what else may be told (the exact value) on demand."""

    name: str
    value: str
    code: bool = False
    """Whether the value is a path, a hash, a command: to be set in a fixed pitch."""


def table(evidence: Mapping[str, Any]) -> list[Row]:
    """All of it as rows; those beyond `_MOST_ROWS` are counted in the last one."""
    rows: list[Row] = []
    left = 0
    for row in _rows("", evidence, 0):
        if len(rows) < _MOST_ROWS:
            rows.append(row)
        else:
            left += 1
    if left:
        rows.append(Row("", f"and {left} more"))
    return rows


def _rows(name: str, value: Any, depth: int) -> Iterator[Row]:
    if isinstance(value, dict) and depth < _MOST_DEPTH and (value or not name):
        for key, item in value.items():
            yield from _rows(f"{name}, {_words(key)}" if name else _words(key), item, depth + 1)
    elif isinstance(value, list) and depth < _MOST_DEPTH and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value, start=1):
            yield from _rows(f"{name} {number}", item, depth + 1)
    else:
        yield _row(name, value)


def _row(name: str, value: Any) -> Row:
    if value is None:
        return Row(name, "not available")
    if isinstance(value, bool):
        return Row(name, "yes" if value else "no")
    if isinstance(value, (int, float)):
        return Row(name, _number(name, value))
    if isinstance(value, list):
        return Row(name, ", ".join(map(_plain, value))[:_MOST_TEXT] or "none", code=True)
    text = _plain(value)
    looks_exact = "/" in text or (len(text) >= 16 and " " not in text)
    return Row(name, text[:_MOST_TEXT], code=looks_exact)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(name: str, value: float) -> str:
    last = name.rsplit(" ", 1)[-1]
    if last == "percent":
        return shown.percent(value)
    if last == "bytes":
        return shown.size(value)
    return (
        f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
        if isinstance(value, int)
        and last
        not in (
            "pid",
            "uid",
            "gid",
            "port",
            "ppid",
            "inode",
        )
        else f"{value}"
    )


def _words(key: Any) -> str:
    text = str(key)[:100]
    for unit in ("_s",):
        if text.endswith(unit):
            text = text.removesuffix(unit) + " (seconds)"
    return text.replace("_", " ")
