"""Lines that repeat are counted, summed up, and never lost when they are errors."""

from __future__ import annotations

import logging

import pytest

from dio_daemon.journal import sum_up
from dio_daemon.messages import Kind, about
from dio_daemon.repeats import BURST, QUIET_S, Repeats
from tests.support.clock import FakeClock


class Kept(logging.Handler):
    """What a handler writes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log(kept: Kept, clock: FakeClock) -> logging.Logger:
    kept.addFilter(Repeats(kept.handle, clock))
    logger = logging.Logger("dio_daemon.test")
    logger.addHandler(kept)
    return logger


def test_repeats_are_counted_and_summed_up(log: logging.Logger, kept: Kept, clock: FakeClock) -> None:
    for number in range(360):  # an hour, one in ten seconds
        log.warning("failed %d", number, extra=about(Kind.REPORT_FAILED))
        clock.advance(10)
    texts = kept.texts()
    assert texts[:BURST] == [f"failed {number}" for number in range(BURST)]
    summaries = texts[BURST:]
    assert 10 <= len(summaries) <= 12, "one in five minutes"
    assert summaries[0] == "29 more lines like this one were left out in 5 min: failed 58"
    log.info("stopped", extra=about(Kind.STOPPED))
    left_out = [record.__dict__["dio_fields"]["left_out"] for record in kept.records[BURST:-1]]
    assert BURST + sum(left_out) == 360, "everything is accounted for at the end"
    assert {record.levelno for record in kept.records[:-1]} == {logging.WARNING}


def test_another_line_brings_the_summary_that_is_due(
    log: logging.Logger, kept: Kept, clock: FakeClock
) -> None:
    for _ in range(BURST + 3):
        log.warning("failed", extra=about(Kind.REPORT_FAILED))
    clock.advance(QUIET_S)
    log.info("something else")
    assert kept.texts()[BURST:] == [
        "3 more lines like this one were left out in 5 min: failed",
        "something else",
    ]


def test_the_summary_comes_when_nothing_else_is_logged(
    log: logging.Logger, kept: Kept, clock: FakeClock
) -> None:
    logging.getLogger().addHandler(kept)
    try:
        for _ in range(BURST + 3):
            log.warning("failed", extra=about(Kind.REPORT_FAILED))
        clock.advance(QUIET_S - 1)
        sum_up()
        assert len(kept.texts()) == BURST
        clock.advance(1)
        sum_up()
        sum_up()
        assert kept.texts()[BURST:] == ["3 more lines like this one were left out in 5 min: failed"]
    finally:
        logging.getLogger().removeHandler(kept)


def test_after_a_silence_a_kind_begins_anew(log: logging.Logger, kept: Kept, clock: FakeClock) -> None:
    for _ in range(3):
        for _ in range(BURST):
            log.warning("failed", extra=about(Kind.REPORT_FAILED))
        clock.advance(QUIET_S)
    assert kept.texts() == ["failed"] * BURST * 3


def test_another_error_is_another_kind_of_line(log: logging.Logger, kept: Kept) -> None:
    for _ in range(BURST + 3):
        log.warning("refused", extra=about(Kind.REPORT_FAILED, error_kind="refused", http_status=None))
        log.warning("404", extra=about(Kind.REPORT_FAILED, error_kind="status", http_status=404))
        log.warning("503", extra=about(Kind.REPORT_FAILED, error_kind="status", http_status=503))
    assert kept.texts() == ["refused", "404", "503"] * BURST


def test_errors_and_lines_of_no_kind_are_never_left_out(log: logging.Logger, kept: Kept) -> None:
    for _ in range(100):
        log.error("bad", extra=about(Kind.BAD_CONFIGURATION))
        log.info("plain")
    assert len(kept.records) == 200


# Threats.
