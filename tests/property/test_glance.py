"""What a look says yes to fits the contract, has finite numbers only and as many keys as it says."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerve_center import glance
from nerve_center.contract import Contract, whole
from nerve_center.jsontext import MOST_DEPTH, Mismatch, check_depth, check_text

CONTRACT = Contract()
SCHEMAS = CONTRACT.document["components"]["schemas"]
KINDS = SCHEMAS["Record"]["x-record-data"]
LOOKS = {name: glance.compiled(whole(SCHEMAS, SCHEMAS[name])) for name in ("Report", *KINDS.values())}
ODD = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1.5, 2.0, 10**400, math.inf, -math.inf, 1e308),
        *("", "x", "a\n", "\0", "0" * 16, "0" * 32, "é" * 70, "x" * 5000, "2026-01-01T00:00:00Z"),
        *([], {}, [{}], {"a": {"b": [1, math.inf]}}, [0] * 600),
    ]
)


def fitting(schema: Any) -> st.SearchStrategy[Any]:
    """Values that a schema of the contract is meant for, and some that it is not."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_of_kind(schema, kind) for kind in types])


def _of_kind(schema: Any, kind: str) -> st.SearchStrategy[Any]:
    if kind == "object":
        properties = {name: fitting(each) | ODD for name, each in schema.get("properties", {}).items()}
        required = {name: fitting(each) for name, each in schema.get("properties", {}).items()}
        needed = {name: required[name] for name in schema.get("required", ())}
        if not properties:
            return st.dictionaries(st.sampled_from("ab"), ODD, max_size=2)
        return st.one_of(
            st.fixed_dictionaries(needed, optional={k: v for k, v in required.items() if k not in needed}),
            st.fixed_dictionaries({}, optional={**properties, "unknown": ODD}),
        )
    if kind == "array":
        return st.lists(fitting(schema["items"]), max_size=3)
    if kind == "string":
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        return (
            st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else st.text(max_size=3)
        )
    if kind in ("number", "integer"):
        low, high = schema.get("minimum", -5), schema.get("maximum", 50)
        return st.integers(low, high) if kind == "integer" else st.floats(low, high) | st.integers(low, high)
    return st.booleans() if kind == "boolean" else st.none()


def fits(name: str, value: Any) -> bool:
    try:
        if name == "Report":
            CONTRACT.check(name, value)
        else:
            CONTRACT.check_data(next(kind for kind, of in KINDS.items() if of == name), value)
    except Mismatch:
        return False
    return True


@pytest.mark.parametrize("name", LOOKS)
@given(st.data())
def test_a_yes_is_right(name: str, data: st.DataObject) -> None:
    value = data.draw(fitting(whole(SCHEMAS, SCHEMAS[name])) | ODD)
    keys = LOOKS[name](value)
    if keys < 0:
        return
    assert fits(name, value)
    assert check_depth(value) == keys
    check_text(json.loads(json.dumps(value).replace("\\u0000", "")))  # no infinite number


@pytest.mark.parametrize("name", LOOKS)
def test_the_contract_knows_how_to_look_at(name: str) -> None:
    needed = {
        "Report": {
            "instance_id": "0" * 32,
            "run_id": "0" * 32,
            "boot_id": None,
            "sent_at": "2026-01-01T00:00:00Z",
        }
        | {
            "interval_s": 10,
            "epoch": "0" * 16,
            "stream": "events",
            "after": {"seq": 0, "tag": None},
            "records": [],
        },
        "GapData": {"count": 1, "reason": "spool_full"},
        "EventData": {"type": "boot"},
        "ThreatData": {
            "type": "cpu",
            "severity": "low",
            "state": "open",
            "fingerprint": "f" * 32,
            "title": "x",
        },
    }
    value = needed.get(name, {})
    assert LOOKS[name](value) == check_depth(value)


def test_what_a_newer_agent_says_is_looked_at() -> None:
    look = LOOKS["SampleData"]
    assert look({"newer": {"a": [1, {"b": 2.5}]}, "cpu": {"percent": 1.0, "newer": 2}}) == 6
    assert look({"newer": {"a": math.inf}}) == -1
    deep: Any = 1
    for _ in range(MOST_DEPTH):
        deep = [deep]
    assert look({"newer": deep}) == -1


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["string", "integer"]},
        {"type": "string", "format": "uri"},
        {"type": "integer", "enum": [1]},
        {"type": ["string", "null"], "enum": ["a"]},
        {"type": "array"},
        {"type": "string", "pattern": "a|b"},
        {"type": "object", "properties": {"a": {"oneOf": []}}},
    ],
)
def test_a_schema_that_is_not_known_is_never_said_yes_to(schema: Any) -> None:
    look = glance.compiled(schema)
    assert all(look(value) == -1 for value in (None, "a", 1, [], {}, {"a": 1}))
