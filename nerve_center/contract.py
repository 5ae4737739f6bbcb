"""The contract at work: `api/openapi.yaml` decides what a request may hold.

The document is read once, its schemas are compiled, and every request body goes through `Contract.check`. What
comes out of JSON is held to more than a schema can say: no NaN, no infinite numbers, no key twice, no nesting
deeper than 32, no text that is not Unicode.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import yaml

from nerve_center.errors import Refused

PATH = Path(__file__).parent / "api" / "openapi.yaml"
MOST_DEPTH = 32
_BODIES = (
    *("Registration", "Report", "Goodbye", "Remark", "Comment", "SilenceRequest", "WideSilenceRequest"),
    *("PolicyRequest", "ThreatTolerance", "ToleranceRequest", "RuleOverride"),
)


class Mismatch(ValueError):
    """A value does not fit; `path` says where (names and indices) and the text says why."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class Contract:
    """The compiled contract. `document` is the whole of openapi.yaml."""

    def __init__(self, path: Path = PATH) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.document: dict[str, Any] = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 a safe loader
        self.json = json.dumps(self.document, separators=(",", ":")).encode()
        schemas = self.document["components"]["schemas"]
        self.host_properties = frozenset(schemas["Host"]["properties"])
        plain = _plain(schemas)
        self._bodies = {name: _compile(plain, name) for name in _BODIES}
        self._data = {
            kind: _compile(plain, name) for kind, name in schemas["Record"]["x-record-data"].items()
        }

    def check(self, name: str, value: Any) -> None:
        """Hold a parsed body to a schema. Raises Mismatch."""
        _validate(self._bodies[name], value)

    def check_data(self, kind: str, data: dict[str, Any]) -> None:
        """Hold a record's data to the schema of its kind, where there is one. Raises Mismatch."""
        if kind in self._data:
            _validate(self._data[kind], data)


def _compile(schemas: Any, name: str) -> Callable[[Any], Any]:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema, use_default=False)
    return compiled


def _plain(schema: Any) -> Any:
    """A schema that fastjsonschema takes: without `description`, which may stand beside a `$ref`."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return {"$ref": schema["$ref"]}
        return {key: _plain(value) for key, value in schema.items() if not key.startswith("x-")}
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    return schema


def _validate(validator: Callable[[Any], Any], value: Any) -> None:
    try:
        validator(value)
    except fastjsonschema.JsonSchemaValueException as exc:
        path = tuple(int(part) if str(part).isdigit() else str(part) for part in exc.path[1:])
        raise Mismatch(path, str(exc.message)[:300]) from None


def parse(body: bytes) -> Any:
    """JSON to Python. Raises Refused (400 `not-json`) where it is not what RFC 8259 asks for."""
    try:
        value = _DECODER.decode(body.decode("utf-8"))
        if check_depth(value) != _colons(body):  # fewer keys than colons that may stand behind one
            value = _STRICT.decode(body.decode("utf-8"))
    except RecursionError:
        raise _not_json(f"nested deeper than {MOST_DEPTH}") from None
    except (ValueError, Mismatch) as exc:
        raise _not_json(str(exc)[:200]) from None
    return value


def _not_json(why: str) -> Refused:
    return Refused(400, "not-json", "The body is not JSON.", why)


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
