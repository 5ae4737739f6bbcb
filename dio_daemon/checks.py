"""What a setting's value has to be: one function a kind.

Each returns the value to use, or raises ValueError with what is wanted instead, as the end of a sentence that begins
with the setting's name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_VAST = 1e300
"""Neither infinite, nor an integer that no float holds, nor NaN is smaller."""
Check = Callable[[Any], Any]
"""Returns the value to use; raises ValueError with what is wanted instead."""


def number(low: float, high: float) -> Check:
    """A number between two bounds, inclusive."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _VAST:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g}, not {value:g}")
        return float(value)

    return check


def integer(low: int, high: int) -> Check:
    """A whole number between two bounds, inclusive."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number from {low} to {high}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {value}")
        return int(value)

    return check


def boolean(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def text(max_length: int) -> Check:
    """A text without control characters."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > max_length or not value.isprintable():
            raise ValueError(f"must be a text of at most {max_length} printable characters")
        return value

    return check


def path(value: Any) -> Path:
    """An absolute path."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("must be an absolute path, such as /var/lib/dio-agent")
    return Path(value)


def optional_path(value: Any) -> Path | None:
    """An absolute path, or "" for none."""
    return None if value == "" else path(value)


def choice(*words: str) -> Check:
    """One of a few words."""

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError("must be one of: " + ", ".join(words))
        return str(value)

    return check


def globs(value: Any) -> tuple[str, ...]:
    """A list of absolute paths that may hold * and ?."""
    wanted = 'must be a list of at most 200 absolute paths, such as ["/srv/build/*"]'
    if not isinstance(value, list) or len(value) > 200:
        raise ValueError(wanted)
    for item in value:
        if (
            not isinstance(item, str)
            or not item.startswith("/")
            or len(item) > 1024
            or not item.isprintable()
        ):
            raise ValueError(wanted)
    return tuple(value)


def waits(value: Any) -> tuple[float, ...]:
    """A list of waits in seconds."""
    if not isinstance(value, list) or not 1 <= len(value) <= 20:
        raise ValueError("must be a list of 1 to 20 numbers, such as [2, 4, 8, 10]")
    return tuple(number(0.1, 3600)(item) for item in value)


def labels(value: Any) -> dict[str, str]:
    """A table of texts."""
    if not isinstance(value, dict) or len(value) > 64:
        raise ValueError('must be a table of at most 64 texts, such as {role = "web"}')
    for name, item in value.items():
        if (
            not isinstance(item, str)
            or len(item) > 256
            or not name
            or len(name) > 64
            or not item.isprintable()
        ):
            raise ValueError(f"label {name!r} must be a text of at most 256 characters, its name at most 64")
    return dict(value)


def http_url(value: Any) -> str:
    """An http or https URL without user, query or fragment; a trailing slash is dropped."""
    wanted = "must be a URL such as https://center.example.org:8000"
    if not isinstance(value, str) or len(value) > 2048 or not value.isprintable() or " " in value:
        raise ValueError(wanted)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{wanted} ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(wanted)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must carry no user, query or fragment")
    return value.rstrip("/")


def http_urls(value: Any) -> tuple[str, ...]:
    """A list of different URLs as `http_url` has them; empty for none."""
    if not isinstance(value, list) or len(value) > 16:
        raise ValueError("must be a list of at most 16 URLs")
    found = tuple(http_url(item) for item in value)
    if len(set(found)) != len(found):
        raise ValueError("must not name a URL twice")
    return found


def optional_url(value: Any) -> str:
    """A URL, or "" for none."""
    return "" if value == "" else http_url(value)
