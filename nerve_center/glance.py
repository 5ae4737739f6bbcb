"""A look at a value that says yes, or that it has to be looked at in full.

A schema of the contract is compiled to one function without messages, paths and calls: it takes half the time of
fastjsonschema's, which decides, and says what is wrong, wherever this one does not say yes. What it says yes to fits
the schema, has finite numbers only, and is nested no deeper than JSON may be here; and it says how many keys there are,
by which whoever has the text knows that none stands twice.

Of JSON Schema it knows what the records of the contract use. To a schema with anything else it never says yes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Look = Callable[[Any], int]
"""The number of keys of a value, in all its objects; less than 0 where it has to be looked at in full."""

_MOST = 1e300
_DEPTH_LEFT = 20
"""How deep may be nested what a schema does not name: below the schema's own depth it stays within JSON's bound."""
_KNOWN = frozenset(
    {
        *("type", "description", "properties", "required", "items", "enum", "pattern"),
        *("minimum", "maximum", "minLength", "maxLength", "maxItems"),
    }
)
_NUMBERS = frozenset({int, float, type(None)})


class _Unknown(Exception):
    """A schema with something that is not known here."""


def compiled(schema: Any, inside: bool = True) -> Look:
    """The look for a schema whose `$ref`s are resolved.

    Without `inside`, an object that the schema names no properties of is left for the caller to look into.
    """
    writer = _Writer(inside)
    try:
        lines = [f"  {line}" for line in writer.value(schema, "v")]
    except _Unknown:
        return lambda value: -1
    # Integers may be too large to be added to a number with a point.
    text = "\n".join(
        ["def look(v):", " n = 0", " try:", *lines, " except OverflowError: return -1", " return n"]
    )
    exec(text, writer.names)  # noqa: S102 it is made of our own contract alone
    look: Look = writer.names["look"]
    return look


def keys_of(value: Any, levels: int = _DEPTH_LEFT) -> int:
    """As a look, for a value that there is no schema for."""
    if isinstance(value, float):
        return 0 if -_MOST < value < _MOST else -1
    if not isinstance(value, dict | list):
        return 0
    if not levels:
        return -1
    inner, keys = (value.values(), len(value)) if isinstance(value, dict) else (value, 0)
    for item in inner:
        more = keys_of(item, levels - 1)
        if more < 0:
            return -1
        keys += more
    return keys


class _Writer:
    """Writes the lines of a look, in which `n` is the keys counted so far; `names` is what they use."""

    def __init__(self, inside: bool) -> None:
        self.names: dict[str, Any] = {"keys_of": keys_of, "numbers": _NUMBERS}
        self._inside = inside
        self._count = 0

    def value(self, schema: Any, it: str) -> Iterator[str]:
        """For the value in the variable `it`. Raises _Unknown."""
        types = schema.get("type")
        kinds = [types] if isinstance(types, str) else [each for each in types or () if each != "null"]
        if not schema.keys() <= _KNOWN or len(kinds) != 1 or kinds[0] not in _WRITERS:
            raise _Unknown
        if "enum" in schema and types != "string":
            raise _Unknown
        lines = _WRITERS[kinds[0]](self, schema, it)
        if types == kinds[0]:
            yield from lines
        else:
            yield f"if {it} is not None:"
            yield from _indented(lines)

    def object(self, schema: Any, it: str) -> Iterator[str]:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        yield f"if type({it}) is not dict: return -1"
        for name in required:
            if name not in properties or "null" in properties[name].get("type", ()):
                yield f"if {name!r} not in {it}: return -1"
        if not properties:
            if self._inside:
                yield from self._unnamed(it)
            return
        yield f"n += len({it})"
        if all(_is_plain_number(each) for each in properties.values()) and not required:
            yield f"if not numbers.issuperset(map(type, {it}.values())): return -1"
            yield f"if not {-_MOST} < sum(filter(None, {it}.values())) < {_MOST}: return -1"
            return
        known, key = self._named(frozenset(properties)), self._variable()
        yield f"if not {known}.issuperset({it}):"
        yield f" for {key} in {it}.keys() - {known}:"
        yield from _indented(_indented(self._unnamed(f"{it}[{key}]")))
        for name, each in properties.items():
            inner = self._variable()
            yield f"{inner} = {it}.get({name!r})"
            lines = self.value(each, inner)
            if name in required or "null" in each.get("type", ()):
                yield from lines
                continue
            yield f"if {inner} is None:"
            yield f" if {name!r} in {it}: return -1"
            yield "else:"
            yield from _indented(lines)

    def array(self, schema: Any, it: str) -> Iterator[str]:
        if "items" not in schema:
            raise _Unknown
        yield f"if type({it}) is not list: return -1"
        if "maxItems" in schema:
            yield f"if len({it}) > {schema['maxItems']:d}: return -1"
        inner = self._variable()
        yield f"for {inner} in {it}:"
        yield from _indented(self.value(schema["items"], inner))

    def string(self, schema: Any, it: str) -> Iterator[str]:
        yield f"if type({it}) is not str: return -1"
        if "maxLength" in schema:
            yield f"if len({it}) > {schema['maxLength']:d}: return -1"
        if "minLength" in schema:
            yield f"if len({it}) < {schema['minLength']:d}: return -1"
        if "enum" in schema:
            yield f"if {it} not in {self._named(frozenset(schema['enum']))}: return -1"
        if "pattern" in schema:
            pattern = schema["pattern"]
            if pattern[:1] != "^" or pattern[-1:] != "$" or "|" in pattern or pattern.endswith("\\$"):
                raise _Unknown
            yield f"if not {self._named(re.compile(pattern[1:-1]).fullmatch)}({it}): return -1"

    def number(self, schema: Any, it: str) -> Iterator[str]:
        yield f"if type({it}) is not float and type({it}) is not int: return -1"
        yield f"if not {schema.get('minimum', -_MOST)!r} <= {it} <= {schema.get('maximum', _MOST)!r}: return -1"

    def integer(self, schema: Any, it: str) -> Iterator[str]:
        yield f"if type({it}) is not int: return -1"
        for name, sign in (("minimum", "<"), ("maximum", ">")):
            if name in schema:
                yield f"if {it} {sign} {schema[name]!r}: return -1"

    def boolean(self, schema: Any, it: str) -> Iterator[str]:
        yield f"if type({it}) is not bool: return -1"

    def _unnamed(self, it: str) -> Iterator[str]:
        more = self._variable()
        yield f"{more} = keys_of({it})"
        yield f"if {more} < 0: return -1"
        yield f"n += {more}"

    def _variable(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _named(self, thing: Any) -> str:
        name = f"thing{len(self.names)}"
        self.names[name] = thing
        return name


_WRITERS = {
    "object": _Writer.object,
    "array": _Writer.array,
    "string": _Writer.string,
    "number": _Writer.number,
    "integer": _Writer.integer,
    "boolean": _Writer.boolean,
}


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (" " + line for line in lines)


def _is_plain_number(schema: Any) -> bool:
    return schema.keys() <= {"type", "description"} and bool(schema.get("type") == ["number", "null"])
