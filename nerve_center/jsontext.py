"""JSON as requests bring it, held to more than a schema can say.

No NaN, no infinite numbers, no key twice, no nesting deeper than 32, no text that is not Unicode.

To look for all that takes as long as to parse. What agents send is compact and in an order that is known, so
`parse_report` takes the text of each record's data as it came, once it is known that nothing of the kind is in it:
whoever looked at the values (`glance`) has counted their keys, and the text has as many.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from nerve_center.errors import Refused

MOST_DEPTH = 32
_RECORD = ["seq", "from_seq", "tag", "kind", "time", "data"]
_RECORDS = b'"records":['
_NEXT = b'},{"seq":'
_DATA = b'"data":'
_WHITE_BUT_BLANKS = b"\t\n\r"
# Outside of texts blanks have such a mark before or behind them. It begins with the blank because there are few.
_BLANK_AT_A_MARK = re.compile(rb" (?:(?<=[{\[,:] )|[}\],:])")
# json.dumps with settings of its own makes an encoder for each call. What was parsed has no circles.
encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
"""Compact JSON. Raises ValueError where a number is not finite."""


class Mismatch(ValueError):
    """A value does not fit; `path` says where (names and indices) and the text says why."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def parse(body: bytes) -> Any:
    """JSON to Python. Raises Refused (400 `not-json`) where it is not what RFC 8259 asks for."""
    return _held(_decode(body), body)


def parse_report(body: bytes, look: Callable[[Any], int]) -> tuple[Any, list[bytes] | None]:
    """JSON to Python, as `parse` does, and the text of each record's `data`.

    `look` gives the number of keys of a value that fits, has finite numbers only and is not nested too deep, or less
    than 0. None in place of the texts where it does, and where the body is not such as DIO's agents write it.
    """
    value = _decode(body)
    texts = _texts(value, body, look)
    return (_held(value, body), None) if texts is None else (value, texts)


def _decode(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except RecursionError:
        raise _too_deep() from None
    except ValueError as exc:
        raise _not_json(str(exc)[:200]) from None


def _held(value: Any, body: bytes) -> Any:
    """What the body is, once its depth and its keys are looked at."""
    try:
        if check_depth(value) == _colons(body):  # more keys may stand before a colon, never fewer
            return value
        return _STRICT.decode(body.decode("utf-8"))
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, Mismatch) as exc:
        raise _not_json(str(exc)[:200]) from None


def _texts(value: Any, body: bytes, look: Callable[[Any], int]) -> list[bytes] | None:
    """The text of each record's data where value and text are known to say the same, else None."""
    # Without escapes a quote is a text's end, and no text holds what cannot be stored.
    if b"\\" in body or not _is_compact(body) or (keys := look(value)) < 0:
        return None
    records = value["records"]
    # One of these stands for each key, and for a text that begins with a colon: where there are no more than keys, no
    # key stands twice.
    if body.count(b'":') != keys or next(reversed(value)) != "records" or body.count(_RECORDS) != 1:
        return None
    if not all(list(record) == _RECORD for record in records):
        return None
    # Between two records this stands for sure; where it stands no more often, it does so between records only.
    found = body[body.index(_RECORDS) + len(_RECORDS) : -len("}]}")].split(_NEXT)
    if len(found) != len(records):
        return None
    # The first `"data":` is the key: before it stand texts and numbers by the contract.
    return [each[each.index(_DATA) + len(_DATA) :] for each in found]


def _is_compact(body: bytes) -> bool:
    """Whether there is no white space outside of texts, in JSON without escapes."""
    if any(each in body for each in _WHITE_BUT_BLANKS):  # in a text it would be an escape
        return False
    if body[:1] == b"{" and body[-1:] == b"}" and not _BLANK_AT_A_MARK.search(body):
        return True
    return b" " not in b"".join(body.split(b'"')[::2])


def _not_json(why: str) -> Refused:
    return Refused(400, "not-json", "The body is not JSON.", why)


def _too_deep() -> Refused:
    return _not_json(f"nested deeper than {MOST_DEPTH}")


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


# A hook for every object makes the parser several times slower: it is asked where a key might stand twice.
_DECODER = json.JSONDecoder(parse_constant=_constant)
_STRICT = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_object)
_BEFORE_COLONS = (b'":', b" :", b"\t:", b"\n:", b"\r:")


def _colons(body: bytes) -> int:
    """At least the number of keys in a text of JSON: a key's colon follows a quote or white space."""
    return sum(body.count(each) for each in _BEFORE_COLONS)


def check_depth(value: Any) -> int:
    """How many keys a value has, in all its objects. Raises Mismatch where it is nested deeper than `MOST_DEPTH`."""
    keys = 0
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_DEPTH):
        inner: list[Any] = []
        for container in layer:
            if isinstance(container, dict):
                keys += len(container)
                inner += [item for item in container.values() if isinstance(item, _CONTAINERS)]
            else:
                inner += [item for item in container if isinstance(item, _CONTAINERS)]
        layer = inner
        if not layer:
            return keys
    raise Mismatch((), f"nested deeper than {MOST_DEPTH}")


_CONTAINERS = (dict, list)


def check_text(value: Any, path: tuple[str | int, ...] = (), nul: bool = False) -> None:
    """Raise Mismatch for text that cannot be stored: lone surrogates and, unless `nul`, NUL characters.

    Infinite numbers (1e999) are refused as well. The value is no deeper than `check_depth` allows.
    """
    if isinstance(value, str):
        if not nul and "\0" in value:
            raise Mismatch(path, "must not hold a NUL character")
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise Mismatch(path, "must not hold a lone surrogate") from None
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Mismatch(path, "must be a finite number")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, path, nul)
            check_text(item, (*path, key), nul)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_text(item, (*path, index), nul)
