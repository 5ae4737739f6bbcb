"""Reading a request's body within bounds: bytes on the wire, bytes unpacked, memory of the process.

`Content-Length` is believed only to refuse; what counts is what arrives. Compressed bodies are unpacked piece
by piece and given up where they grow past the limit.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol

from flask import request

from nerve_center.budget import Share
from nerve_center.center import Center
from nerve_center.errors import Refused
from nerve_center.ingest import invalid_body
from nerve_center.jsontext import Mismatch, check_text, parse

_PIECE = 65536
_MIB = 1024 * 1024
_PARSED_FACTOR = 4


class Readable(Protocol):
    """What brings a body."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at its end."""


def read(center: Center, share: Share) -> bytes:
    """The body as it comes over the wire, which takes as long as the client likes within its time.

    Raises Refused: 415 `unsupported-media-type`, 413 `too-large`, 400 `incomplete`; and DatabaseUnavailable
    (kind `busy`) when too much is in memory already.
    """
    if request.mimetype != "application/json":
        raise Refused(415, "unsupported-media-type", "The body must be application/json.")
    if _encoding() not in ("identity", "gzip", "x-gzip"):
        raise Refused(
            415,
            "unsupported-media-type",
            "Content-Encoding must be gzip or identity.",
            headers={"Accept-Encoding": "gzip"},
        )
    return pieces(request.stream, request.content_length, int(center.config.limits.body_mib * _MIB), share)


def unpack(center: Center, share: Share, raw: bytes) -> Any:
    """What a body holds, parsed. Raises Refused (400 `not-json`), and what `inflate` does."""
    return parse(inflate(center, share, raw, is_packed()))


def inflate(center: Center, share: Share, raw: bytes, packed: bool) -> bytes:
    """What a body holds, as it was before it was compressed, if it was, with room to parse it.

    Raises Refused: 413 `too-large`, 400 `bad-encoding`; and DatabaseUnavailable (kind `busy`).
    """
    if packed:
        raw = _unpack(raw, int(center.config.limits.decompressed_mib * _MIB))
    share.take(_PARSED_FACTOR * len(raw))
    return raw


def checked(center: Center, schema: str) -> dict[str, Any]:
    """The body, held to a schema of the contract; no body at all is an empty one.

    Raises Refused: as `read` and `unpack` do, and 422 `invalid-body`.
    """
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        body: Any = {}
    else:
        with center.budget.share() as share:
            body = unpack(center, share, read(center, share))
    try:
        center.contract.check(schema, body)
        check_text(body)
    except Mismatch as exc:
        raise invalid_body(exc) from None
    found: dict[str, Any] = body
    return found


def is_packed() -> bool:
    """Whether the request says that its body is compressed."""
    return _encoding() != "identity"


def _encoding() -> str:
    return request.headers.get("Content-Encoding", "identity").strip().lower()


def too_large(limit: int) -> Refused:
    return Refused(413, "too-large", "The body is too large.", f"At most {limit} bytes are taken.")


def pieces(stream: Readable, length: int | None, limit: int, share: Share) -> bytes:
    """A body of such a length (None: to its end), a piece at a time. Raises as `read` does."""
    if length is not None and length > limit:
        raise too_large(limit)
    found: list[bytes] = []
    total = 0
    while length is None or total < length:
        piece = _read_piece(stream)
        if not piece:
            break
        total += len(piece)
        if total > limit:
            raise too_large(limit)
        share.take(len(piece))
        found.append(piece)
    if length is not None and total < length:
        raise Refused(400, "incomplete", "The body ended before its length.")
    return found[0] if len(found) == 1 else b"".join(found)


def _read_piece(stream: Readable) -> bytes:
    try:
        piece = stream.read(_PIECE)
    except Exception as exc:  # the HTTP server has a dozen for chunks and trailers that are malformed
        raise Refused(400, "incomplete", "The body could not be read.", type(exc).__name__) from exc
    return piece


def _unpack(raw: bytes, limit: int) -> bytes:
    """One gzip member or several, at most `limit` bytes in all."""
    unpacked = bytearray()
    try:
        while raw:
            engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
            unpacked += engine.decompress(raw, limit + 1 - len(unpacked))
            if len(unpacked) > limit:
                raise too_large(limit)
            if not engine.eof:
                raise Refused(400, "bad-encoding", "The body is not whole gzip.")
            raw = engine.unused_data
    except zlib.error as exc:
        raise Refused(400, "bad-encoding", "The body is not gzip.", str(exc)[:200]) from None
    return bytes(unpacked)
