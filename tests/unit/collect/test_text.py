import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dio_daemon.text import ELLIPSIS, safe


@pytest.mark.parametrize(
    ("given_", "limit", "expected"),
    [
        ("sshd", 64, "sshd"),
        (b"caf\xc3\xa9", 64, "café"),
        (b"a\nb\x1b[31m", 64, "a\\x0ab\\x1b[31m"),
        (b"\xff\xfe", 64, "\\xff\\xfe"),
        ("\udcff", 64, "\\xff"),
        ("\ud800", 64, "\\ud800"),
        ("\u202egnp.exe", 64, "\\u202egnp.exe"),
        ("\x85", 64, "\\u0085"),
        ("\U000e0001", 64, "\\U000e0001"),
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("ab\ncd", 6, "ab…"),
        ("\n", 2, "…"),
        ("dev-disk\\x2duuid", 64, "dev-disk\\x2duuid"),
        ("", 5, ""),
    ],
)
def test_examples(given_: str | bytes, limit: int, expected: str) -> None:
    assert safe(given_, limit) == expected


any_text = st.lists(st.integers(0, 0x10FFFF), max_size=300).map(lambda codes: "".join(map(chr, codes)))
anything = st.one_of(st.binary(max_size=300), any_text)


@given(anything, st.integers(1, 100))
def test_is_short_printable_and_fit_for_json(value: str | bytes, limit: int) -> None:
    result = safe(value, limit)
    assert len(result) <= limit
    assert result.isprintable()
    assert json.loads(json.dumps(result)) == result
    result.encode("utf-8")


@given(anything, st.integers(1, 100))
def test_what_is_safe_stays_as_it_is(value: str | bytes, limit: int) -> None:
    once = safe(value, limit)
    assert safe(once, limit) == once


@given(st.text(max_size=400), st.integers(1, 100))
def test_bytes_and_text_agree(value: str, limit: int) -> None:
    assert safe(value.encode(), limit) == safe(value, limit)


@given(st.text(min_size=1, max_size=300), st.integers(1, 100))
def test_only_what_was_cut_ends_in_an_ellipsis(value: str, limit: int) -> None:
    if not value.endswith(ELLIPSIS):
        assert safe(value, limit).endswith(ELLIPSIS) == (len(safe(value, 10_000)) > limit)
