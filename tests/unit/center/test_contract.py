import json
import math
from typing import Any

import pytest

from nerve_center.contract import Contract
from nerve_center.errors import Refused
from nerve_center.jsontext import MOST_DEPTH, Mismatch, check_text, parse

CONTRACT = Contract()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"nul",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b'{"a":1,"a":2}',
        b"[" * 100_000,
        b"[" * 600 + b"]" * 600,
        b"1" * 5000,
        b'"\x00"',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_not_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        parse(body)
    assert (caught.value.status, caught.value.code) == (400, "not-json")


def test_nesting_up_to_the_limit_is_taken() -> None:
    assert parse(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)
    with pytest.raises(Refused):
        parse(b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": ["x", "\ud800"]}, ("a", 1)),
        ({"a": "\0"}, ("a",)),
        ({"\udc80": 1}, ()),
        ({"a": math.inf}, ("a",)),
    ],
)
def test_text_that_cannot_be_stored_is_found(value: Any, path: tuple[str | int, ...]) -> None:
    with pytest.raises(Mismatch) as caught:
        check_text(value)
    assert caught.value.path == path


def test_a_mismatch_says_where() -> None:
    with pytest.raises(Mismatch) as caught:
        CONTRACT.check("Goodbye", {"instance_id": "x", "run_id": "0" * 32, "sent_at": "2026-01-01T00:00:00Z"})
    assert caught.value.path == ("instance_id",)


def test_the_document_is_served_as_it_is_compiled() -> None:
    assert json.loads(CONTRACT.json) == CONTRACT.document
