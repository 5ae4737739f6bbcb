"""Parsers of query parameters, for `context.query`. Each raises ValueError with what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from nerve_center.clock import parse_time

_TIME = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,9})?Z")


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
            raise ValueError(f"must be a whole number, {low} to {high}")
        return int(text)

    return parse


def short(text: str) -> str:
    """An id or a name."""
    if len(text) > 64 or not text.isprintable():
        raise ValueError("must be at most 64 printable characters")
    return text


def words(text: str) -> str:
    """Something to look for."""
    if not 0 < len(text) <= 255 or not text.isprintable():
        raise ValueError("must be 1 to 255 printable characters")
    return text


def boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def instant(text: str) -> int:
    """RFC 3339 in UTC, as microseconds since 1970."""
    if not _TIME.fullmatch(text):
        raise ValueError("must be RFC 3339 in UTC, such as 2026-01-01T00:00:00Z")
    return parse_time(text)


def several(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Words with commas between."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(text[:1000].split(",")))
        if not set(found) <= set(known):
            raise ValueError(f"must be some of {', '.join(known)}, with commas between")
        return found

    return parse


def label(text: str) -> tuple[str, str]:
    """`name=value`."""
    name, equals, value = text.partition("=")
    if not equals or not name or len(text) > 512 or not text.isprintable():
        raise ValueError("must be name=value")
    return name, value


def cursor(pattern: str) -> Callable[[str], tuple[str, ...]]:
    """The `next` of the page before, in the parts that the pattern's groups name."""
    compiled = re.compile(pattern)

    def parse(text: str) -> tuple[str, ...]:
        found = compiled.fullmatch(text)
        if found is None:
            raise ValueError("must be the `next` of the page before")
        return found.groups()

    return parse
