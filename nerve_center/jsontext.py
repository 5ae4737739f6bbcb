"""JSON as requests bring it, held to more than a schema can say.

No NaN, no infinite numbers, no key twice, no nesting deeper than 32, no text that is not Unicode.

To look for all that takes as long as to parse. What agents send is compact and in an order that is known, so
`parse_report` writes a report again, which its records need anyhow: where that gives what came, there was
nothing of the kind.
"""

from __future__ import annotations

import json
import math
from typing import Any

from nerve_center.errors import Refused

MOST_DEPTH = 32
_RECORD = ["seq", "from_seq", "tag", "kind", "time", "data"]
_RECORDS = '"records":['
_NEXT = '},{"seq":'
_DATA = '"data":'
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


def parse_report(body: bytes) -> tuple[Any, list[str] | None]:
    """JSON to Python, as `parse` does, and the text of each record's `data`.

    None in place of the texts where the body is not such as DIO's agents write it.
    """
    value = _decode(body)
    texts = _texts(value, body)
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


def _texts(value: Any, body: bytes) -> list[str] | None:
    """The text of each record's data where the body is, to the byte, what writing the value gives; else None."""
    records = value.get("records") if isinstance(value, dict) else None
    if not isinstance(records, list) or next(reversed(value)) != "records" or not _is_shallow(body):
        return None
    if not all(isinstance(record, dict) and list(record) == _RECORD for record in records):
        return None
    try:
        text = encode(value)
    except ValueError:
        return None
    if text.encode() != body or text.count(_RECORDS) != 1:
        return None
    # Between two records this stands for sure; where it stands no more often, it does so between records only.
    found = text[text.index(_RECORDS) + len(_RECORDS) : -len("}]}")].split(_NEXT)
    if len(found) != len(records):
        return None
    # The first `"data":` is the key: texts have no quotes here, and before it stand texts and numbers by the contract.
    return [each[each.index(_DATA) + len(_DATA) :] for each in found]


def _is_shallow(body: bytes) -> bool:
    """Whether JSON is nested no deeper than `MOST_DEPTH`, as far as that can be told at a glance."""
    if b"\\" in body:
        return False
    # Without escapes a quote is a text's end. No bracket stands in a text where all that are left pair with their own.
    left = body.translate(None, _NEITHER_BRACKETS_NOR_QUOTES).replace(b'""', b"")
    for _ in range(MOST_DEPTH // 2):  # each turn takes up to two levels
        left = left.replace(b"{}", b"").replace(b"[]", b"")
        if not left:
            return True
    return False


_NEITHER_BRACKETS_NOR_QUOTES = bytes(set(range(256)) - set(b'{}[]"'))


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
