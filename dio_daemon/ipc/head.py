"""The head of a request on the control socket: its first line and its headers, bounded.

http.server parses as well, and takes 1 MiB of every host for the files and pages that it can serve.
"""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

MOST_HEAD_BYTES = 64 * 1024
"""Of all headers together, beside a first line of as much."""
_VERSION = re.compile(r"HTTP/(\d{1,10})\.(\d{1,10})")


class BadHead(Exception):
    """What cannot be answered otherwise than with this status; the text says why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Head:
    """`headers` are asked for by any case of their names."""

    method: str
    target: str
    headers: Mapping[str, str]
    wants_continue: bool = False
    """Whether the caller waits to be told that its body is wanted."""


class _Bounded:
    """Headers that are too long in all are refused as a line is that is too long."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._left = MOST_HEAD_BYTES

    def readline(self, limit: int = MOST_HEAD_BYTES, /) -> bytes:
        """The next line. Raises LineTooLong."""
        line = self._file.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("header")
        return line


def read_head(file: io.BufferedIOBase) -> Head | None:
    """The head of a request; None when none came. Raises BadHead, OSError."""
    line = file.readline(MOST_HEAD_BYTES + 1)
    if len(line) > MOST_HEAD_BYTES:
        raise BadHead(HTTPStatus.REQUEST_URI_TOO_LONG, "the first line is too long")
    words = line.decode("iso-8859-1").split()
    if not words:
        return None
    if len(words) != 3:
        raise BadHead(HTTPStatus.BAD_REQUEST, "the first line is no METHOD PATH HTTP/1.1")
    method, target, version = words
    found = _VERSION.fullmatch(version)
    if found is None:
        raise BadHead(HTTPStatus.BAD_REQUEST, f"{version!r} is no version of HTTP")
    if int(found[1]) != 1:
        raise BadHead(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"this is HTTP/1.1, and not {version!r}")
    try:
        headers = http.client.parse_headers(_Bounded(file))
    except http.client.HTTPException as error:
        raise BadHead(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"too much of headers: {error}") from error
    expects = headers.get("Expect", "").lower() == "100-continue"
    named = {name.lower(): value for name, value in headers.items()}
    return Head(method, target, named, wants_continue=expects and int(found[2]) >= 1)
