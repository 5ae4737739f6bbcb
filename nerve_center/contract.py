"""The contract at work: `api/openapi.yaml` decides what a request may hold.

The document is read once, its schemas are compiled, and every request body goes through `Contract.check`, or, what
agents report, through `Contract.look` where that is sure. What JSON itself may hold is the matter of `jsontext`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import yaml

from nerve_center import glance
from nerve_center.jsontext import Mismatch

PATH = Path(__file__).parent / "api" / "openapi.yaml"
_BODIES = (
    *("Registration", "Report", "Goodbye", "Remark", "Comment", "SilenceRequest", "WideSilenceRequest"),
    *("PolicyRequest", "ThreatTolerance", "ToleranceRequest", "RuleOverride"),
)


class Contract:
    """The compiled contract. `document` is the whole of openapi.yaml."""

    def __init__(self, path: Path = PATH) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.document: dict[str, Any] = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 a safe loader
        self.json = json.dumps(self.document, separators=(",", ":")).encode()
        schemas = self.document["components"]["schemas"]
        self.host_properties = frozenset(schemas["Host"]["properties"])
        self._bodies = {name: _compile(schemas, name) for name in _BODIES}
        kinds = schemas["Record"]["x-record-data"]
        self._data = {kind: _compile(schemas, name) for kind, name in kinds.items()}
        self._look = glance.compiled(whole(schemas, schemas["Report"]), inside=False)
        self._looks = {kind: glance.compiled(whole(schemas, schemas[name])) for kind, name in kinds.items()}

    def check(self, name: str, value: Any) -> None:
        """Hold a parsed body to a schema. Raises Mismatch."""
        _validate(self._bodies[name], value)

    def check_data(self, kind: str, data: dict[str, Any]) -> None:
        """Hold a record's data to the schema of its kind, where there is one. Raises Mismatch."""
        if kind in self._data:
            _validate(self._data[kind], data)

    def look(self, report: Any) -> int:
        """The number of keys of a report that fits, and whose records do; less than 0 where that is not sure."""
        keys = self._look(report)
        if keys < 0:
            return keys
        for record in report["records"]:
            more = self._looks.get(record["kind"], glance.keys_of)(record["data"])
            if more < 0:
                return more
            keys += more
        return keys


def _compile(schemas: Any, name: str) -> Callable[[Any], Any]:
    compiled: Callable[[Any], Any] = fastjsonschema.compile(whole(schemas, schemas[name]), use_default=False)
    return compiled


def whole(schemas: Any, schema: Any) -> Any:
    """A schema with what its `$ref`s name in their place; none of them refers to itself.

    For each `$ref` the compiled code calls a function, and puts a name together for it: a sample took nine times as
    long to check.
    """
    if isinstance(schema, dict):
        if "$ref" in schema:
            return whole(schemas, schemas[schema["$ref"].rpartition("/")[2]])
        return {key: whole(schemas, value) for key, value in schema.items() if not key.startswith("x-")}
    if isinstance(schema, list):
        return [whole(schemas, item) for item in schema]
    return schema


def _validate(validator: Callable[[Any], Any], value: Any) -> None:
    try:
        validator(value)
    except fastjsonschema.JsonSchemaValueException as exc:
        path = tuple(int(part) if str(part).isdigit() else str(part) for part in exc.path[1:])
        raise Mismatch(path, str(exc.message)[:300]) from None
