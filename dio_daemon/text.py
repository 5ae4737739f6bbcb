"""Words for people, and text that the host chose (names of processes, mounts, devices) made safe to send, log, show.

A process may call itself anything: newlines, terminal escapes, bytes that are no UTF-8, marks that turn the
direction of writing. None of it may forge a line in a log or break the JSON. What is not printable comes out
as an escape: `\\xNN` a byte that is no UTF-8 or an ASCII control character, `\\uNNNN` or `\\UNNNNNNNN` any
other character. A backslash stays as it is, so text that is safe already is not changed.
"""

import shlex

ELLIPSIS = "…"


def counted(count: int, one: str, many: str) -> str:
    """`1 record`, `2 records`: a count with the word that fits it."""
    return f"{count} {one if count == 1 else many}"


def lasting(seconds: float) -> str:
    """How long, in whole units: `10 minutes`, `90 seconds`."""
    whole = round(seconds)
    for size, one, many in ((3600, "hour", "hours"), (60, "minute", "minutes")):
        if whole >= size and whole % size == 0:
            return counted(whole // size, one, many)
    return counted(whole, "second", "seconds")


def safe(value: str | bytes, limit: int) -> str:
    """Return `value` as printable text of at most `limit` (1 or more) characters.

    Bytes are taken as UTF-8. In a `str`, lone surrogates are taken as the bytes that the filesystem
    encoding's surrogateescape made them from. Text that is too long ends in an ellipsis; an escape is never
    cut in two.
    """
    if isinstance(value, bytes):
        # An escape takes more room than its byte, never less: so many bytes decide what fits.
        value = value[: 4 * limit + 4].decode("utf-8", "surrogateescape")
    if len(value) <= limit and value.isprintable():
        return value
    pieces: list[str] = []
    length = 0
    keep = 0  # how many pieces fit when the ellipsis must fit as well
    for character in value[: limit + 1]:
        piece = character if character.isprintable() else _escape(ord(character))
        length += len(piece)
        if length > limit:
            return "".join(pieces[:keep]) + ELLIPSIS
        pieces.append(piece)
        if length <= limit - len(ELLIPSIS):
            keep = len(pieces)
    return "".join(pieces)


def for_shell(value: str | bytes, limit: int) -> str:
    """The same, as one word of a command that a person may paste into a shell: a name must not become a command."""
    return shlex.quote(safe(value, limit))


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte 0x80 to 0xFF
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
