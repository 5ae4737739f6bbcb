import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerve_center.clock import format_time, parse_time


@given(st.integers(min_value=-62_135_596_800_000_000, max_value=253_402_300_799_999_999))
def test_a_time_survives_the_wire(time_us: int) -> None:
    assert parse_time(format_time(time_us)) == time_us


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:01.123456789Z", 1_123_456),
        ("1969-12-31T23:59:59.9Z", -100_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799_999_999),
    ],
)
def test_times_are_microseconds(text: str, time_us: int) -> None:
    assert parse_time(text) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-02-30T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.xZ",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00+01:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_no_more_digits_than_the_time_has() -> None:
    assert format_time(0) == "1970-01-01T00:00:00Z"
    assert format_time(1_000) == "1970-01-01T00:00:00.001Z"
    assert format_time(1) == "1970-01-01T00:00:00.000001Z"
