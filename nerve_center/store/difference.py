"""A sample as that in which it differs from another one of the same agent.

Two samples of a host have the same names in the same order, and other numbers. So a text of JSON is taken apart into
numbers (runs of digits and points) and what stands between them, its pieces:

    {"cpu":{"percent":   12.5   ,"count":   2   }}

What is kept is the numbers, by blanks, those that are as they were left out; deflated, that is half of what zlib makes
of the whole text with the other one as dictionary. Where pieces differ (another process at the top), numbers are kept
as far as pieces are alike from the front and from the back, and what lies between follows as text, deflated with the
other sample as dictionary. The first word says then how many numbers there are on both sides: `14-60`.

zlib's window of 1 KiB tells this from what is kept whole; its checksum finds what is damaged.
"""

from __future__ import annotations

import functools
import zlib

_LEVEL = 6
_MEMORY = 5
_WINDOW_BITS = 10
_HEAD = 0x28
"""The first byte of a stream with that window, RFC 1950; of one with the usual window it is 0x78."""
_NUMBERS = b"0123456789."
_BLANKS = b" \t\n\r\v\f"
_ONLY_NUMBERS = bytes(byte if byte in _NUMBERS else 0x20 for byte in range(256))
# Digits are free to stand for the blanks of a text: pieces have none.
_ONLY_PIECES = bytes.maketrans(_NUMBERS + _BLANKS, b" " * len(_NUMBERS) + _NUMBERS[: len(_BLANKS)])
_AS_THEY_WERE = bytes.maketrans(_NUMBERS[: len(_BLANKS)], _BLANKS)


class Base:
    """The sample that others are compared with."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._pieces = text.translate(_ONLY_PIECES).split()
        self._numbers = text.translate(_ONLY_NUMBERS).split()
        self._usable = _is_object(text) and len(self._numbers) > 0

    @functools.cached_property
    def _shown(self) -> list[bytes]:
        return _shown(self._pieces)

    def pack(self, text: bytes) -> bytes | None:
        """What is kept of a sample; None where it has nothing in common with this one."""
        if not self._usable or not _is_object(text):
            return None
        pieces, numbers = text.translate(_ONLY_PIECES).split(), text.translate(_ONLY_NUMBERS).split()
        if pieces == self._pieces:
            return _deflated(_new(numbers, self._numbers))
        front, back = self._alike(pieces)
        if front + back == 0:
            return None
        behind = len(numbers) - back
        new = _new(
            numbers[:front] + numbers[behind:],
            self._numbers[:front] + self._numbers[len(self._numbers) - back :],
        )
        between = _joined(_shown(pieces[front : len(pieces) - back]), numbers[front:behind])
        packer = zlib.compressobj(_LEVEL, zdict=self.text)
        return _deflated(b"%d-%d " % (front, back) + new) + packer.compress(between) + packer.flush()

    def unpack(self, data: bytes) -> bytes:
        """The sample. Raises zlib.error where what is kept is damaged, or of another base."""
        kept, rest = _inflated(data, zlib.decompressobj(_WINDOW_BITS))
        words = kept.split(b" ")
        if b"-" not in words[0]:
            if rest or len(words) != len(self._numbers):
                raise zlib.error("a sample that is not of this base")
            return _joined(self._shown, _overlaid(words, self._numbers))
        front, back = (int(word) for word in words.pop(0).split(b"-"))
        between, rest = _inflated(rest, zlib.decompressobj(zdict=self.text))
        if rest or len(words) != front + back or front + back > len(self._numbers):
            raise zlib.error("a sample that is not of this base")
        pieces = self._shown[:front], self._shown[len(self._shown) - back :]
        numbers = (
            _overlaid(words[:front], self._numbers[:front]),
            _overlaid(words[front:], self._numbers[len(self._numbers) - back :]),
        )
        # A number follows each piece before, and precedes each piece behind what lies between.
        before = _joined([*pieces[0], b""], numbers[0])
        return before + between + _joined([b"", *pieces[1]], numbers[1])

    def _alike(self, pieces: list[bytes]) -> tuple[int, int]:
        """How many pieces are the same from the front and from the back, with a piece at least between them."""
        mine = self._pieces
        most = min(len(pieces), len(mine)) - 1
        front = next((at for at in range(most) if pieces[at] != mine[at]), most)
        most -= front
        back = next((at for at in range(most) if pieces[-1 - at] != mine[-1 - at]), most)
        return front, back


def is_packed(data: bytes) -> bool:
    """Whether these bytes are a sample that is kept by its difference."""
    return data[0] == _HEAD


def _is_object(text: bytes) -> bool:
    """Begins and ends with a piece."""
    return text[:1] == b"{" and text[-1:] == b"}"


def _new(numbers: list[bytes], before: list[bytes]) -> bytes:
    return b" ".join([b"" if one == other else one for one, other in zip(numbers, before, strict=True)])


def _overlaid(words: list[bytes], before: list[bytes]) -> list[bytes]:
    return [word or other for word, other in zip(words, before, strict=True)]


def _shown(pieces: list[bytes]) -> list[bytes]:
    """Pieces as they stand in a text."""
    return [piece.translate(_AS_THEY_WERE) for piece in pieces]


def _joined(pieces: list[bytes], numbers: list[bytes]) -> bytes:
    """The text; there is one piece more than numbers."""
    found = [b""] * (len(pieces) + len(numbers))
    found[::2] = pieces
    found[1::2] = numbers
    return b"".join(found)


def _deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zlib.Z_FILTERED)
    return packer.compress(text) + packer.flush()


def _inflated(data: bytes, unpacker: zlib._Decompress) -> tuple[bytes, bytes]:
    """What a stream holds, and what follows it."""
    text = unpacker.decompress(data)
    if not unpacker.eof:
        raise zlib.error("a sample that is cut short")
    return text, unpacker.unused_data
