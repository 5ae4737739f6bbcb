"""A report whose records are taken as text is the same as one that is looked through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerve_center.errors import Refused
from nerve_center.glance import keys_of
from nerve_center.jsontext import MOST_DEPTH, encode, parse, parse_report

TEXTS = st.text(st.sampled_from('a[]{}",:\\dé\n'), max_size=4)
NUMBERS = st.sampled_from(["0", "-1", "1.5", "1e999", "NaN", "1E2", "-0", "0.10", "10" * 200, "1e-7"])
KEYS = st.sampled_from(['"a"', '"data"', '"b"', '"records"', '"\\u0061"', '"["'])


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(KEYS, values).map(":".join), max_size=3)
    return pairs.map(lambda items: "{" + ",".join(items) + "}")


VALUES = st.recursive(
    NUMBERS | TEXTS.map(json.dumps) | TEXTS.map(encode) | st.sampled_from(["null", "true", '"\\ud800"']),
    lambda inner: objects(inner) | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
    max_leaves=6,
)
RECORDS = st.builds(
    '{{"seq":{},"from_seq":2,"tag":{},"kind":"sample","time":"x","data":{}{}}}'.format,
    NUMBERS,
    TEXTS.map(encode),
    VALUES,
    st.sampled_from(["", "", "", ',"more":1', ',"data":{}', " "]),
)
REPORTS = st.builds(
    '{{"a":{}{},"records":[{}]}}'.format,
    VALUES,
    st.sampled_from(["", "", ',"a":1', ',"records":[]', ' ,"b":2']),
    st.lists(RECORDS, max_size=3).map(",".join),
)


def look(value: Any) -> int:
    """As the contract's, for what has the form of a report; of values it asks for nothing."""
    records = value["records"] if isinstance(value, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        return -1
    return keys_of(value, MOST_DEPTH)


def outcome(body: bytes) -> Any:
    try:
        return parse(body)
    except Refused as refusal:
        return refusal.code


@given(REPORTS)
def test_both_ways_find_the_same(text: str) -> None:
    body = text.encode()
    try:
        value, texts = parse_report(body, look)
    except Refused as refusal:
        assert outcome(body) == refusal.code
        return
    assert value == outcome(body)
    if texts is not None:
        assert [json.loads(each) for each in texts] == [record["data"] for record in value["records"]]
        assert all(each in body for each in texts)


def report(data: str) -> bytes:
    """As an agent writes it."""
    return (
        '{"instance_id":"x","after":{"seq":0,"tag":null},"records":'
        f'[{{"seq":1,"from_seq":1,"tag":"y","kind":"sample","time":"z","data":{data}}}]}}'
    ).encode()


@pytest.mark.parametrize("name", ["/", "tmux: server", "a , b", "{ ] }", ""])
def test_what_an_agent_writes_is_taken_as_text(name: str) -> None:
    data = f'{{"cpu":{{"percent":12.5}},"disks":[{{"mount":"{name}"}}],"é":null}}'
    value, texts = parse_report(report(data), look)
    assert texts == [data.encode()]
    assert value["records"][0]["data"]["cpu"] == {"percent": 12.5}


@pytest.mark.parametrize(
    "data",
    [
        '{"a": 1}',
        '{"a" :1}',
        '{"a":[1 ,2]}',
        '{"a":1e2}',
        '{"a":1e999}',
        '{"a":":"}',
        '{"a":"\\u00e9"}',
        '{"a":"]","b":["["]}',
        '{"a":"{}"}',
        "[" * (MOST_DEPTH - 3) + "]" * (MOST_DEPTH - 3),
    ],
)
def test_what_is_written_otherwise_is_looked_through(data: str) -> None:
    body = report(data)
    value, texts = parse_report(body, look)
    assert value == parse(body)
    assert texts in (None, [data.encode()])


@pytest.mark.parametrize(
    "data",
    [
        '{"a":1,"a":1}',
        '{"a":1,"a" :1}',
        '{"a":NaN}',
        "[" * (MOST_DEPTH - 2) + "]" * (MOST_DEPTH - 2),
        '["]",' * MOST_DEPTH + "0" + ',"["]' * MOST_DEPTH,
        '["",' * MOST_DEPTH + "0" + ',""]' * MOST_DEPTH,
    ],
)
def test_what_is_no_json_is_refused_as_ever(data: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_report(report(data), look)
    assert (caught.value.status, caught.value.code) == (400, "not-json")
