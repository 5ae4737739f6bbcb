"""Entries of the journal, received by a real socket; lines where there is none; repeats; the catalog and the page."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dio_daemon import threat_log
from dio_daemon.journal import (
    DRAIN_S,
    MAX_TEXT,
    JournalHandler,
    WithPriority,
    WithTime,
    describe,
    set_up_logging,
    under_journal,
)
from dio_daemon.lifecycle import Snapshot, State
from dio_daemon.messages import Kind, about
from tests.support.clock import FakeClock
from tests.unit.docs import pages


@dataclass
class Journald:
    """Both ends that journald has: the datagram socket and the other end of a service's standard error."""

    path: Path
    datagrams: socket.socket
    stderr: socket.socket
    log: logging.Logger
    handler: JournalHandler
    clock: FakeClock

    def entry(self) -> dict[str, str]:
        """The next entry."""
        return parse(self.datagrams.recv(1 << 20))

    def lines(self) -> str:
        """What standard error has; empty when nothing."""
        try:
            return self.stderr.recv(1 << 20, socket.MSG_DONTWAIT).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    path = tmp_path / "socket"
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams, ours, theirs:
        datagrams.bind(str(path))
        datagrams.settimeout(5)
        clock = FakeClock()
        handler = JournalHandler(theirs.fileno(), clock, path)
        log = logging.Logger("dio_daemon.test")
        log.addHandler(handler)
        yield Journald(path, datagrams, ours, log, handler, clock)
        handler.close()


def parse(datagram: bytes) -> dict[str, str]:
    """The native protocol, as journald reads it."""
    found: dict[str, str] = {}
    while datagram:
        head, _, datagram = datagram.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            length = int.from_bytes(datagram[:8], "little")
            value, end, datagram = (
                datagram[8 : 8 + length],
                datagram[8 + length : 9 + length],
                datagram[9 + length :],
            )
            assert end == b"\n"
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name), name
        assert name.decode() not in found
        found[name.decode()] = value.decode()
    return found


def test_an_entry_has_its_text_and_its_fields(journald: Journald) -> None:
    journald.handler.snapshot = lambda: Snapshot(State.OFFLINE, 0.0, "", agent_id="agent-0123456789abcdef")
    journald.log.warning(
        "Still offline: %s",
        "why",
        extra=about(Kind.STILL_OFFLINE, attempt=3, error_kind="dns", duration_s=61.25),
    )
    entry = journald.entry()
    assert entry.pop("CODE_FILE") == __file__
    assert int(entry.pop("CODE_LINE")) > 0
    assert entry.pop("CODE_FUNC") == "test_an_entry_has_its_text_and_its_fields"
    assert entry == {
        "MESSAGE": "Still offline: why",
        "PRIORITY": "4",
        "SYSLOG_FACILITY": "3",
        "SYSLOG_IDENTIFIER": "dio-agent",
        "MESSAGE_ID": Kind.STILL_OFFLINE.value,
        "DIO_EVENT": "still_offline",
        "DIO_AGENT_ID": "agent-0123456789abcdef",
        "DIO_STATE": "offline",
        "DIO_ATTEMPT": "3",
        "DIO_ERROR_KIND": "dns",
        "DIO_DURATION_S": "61.2",
    }
    assert journald.lines() == ""


def test_what_the_entry_says_of_the_state_goes_before_what_the_snapshot_says(journald: Journald) -> None:
    journald.handler.snapshot = lambda: Snapshot(State.OFFLINE, 0.0, "")
    journald.log.info("back", extra=about(Kind.REREGISTERED, state="active"))
    entry = journald.entry()
    assert entry["DIO_STATE"] == "active"
    assert "DIO_AGENT_ID" not in entry, "there is none yet"


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3"), ("critical", "2")],
)
def test_priorities(journald: Journald, level: str, priority: str) -> None:
    getattr(journald.log, level)("text")
    entry = journald.entry()
    assert entry["PRIORITY"] == priority
    assert "MESSAGE_ID" not in entry


def test_what_comes_from_elsewhere_forges_nothing(journald: Journald) -> None:
    evil = "a\nPRIORITY=0\nMESSAGE=b\x1b[31m\x00\u202ec\udcff"
    journald.log.info("%s", evil, extra=about(Kind.REPORT_FAILED, error_kind=evil))
    entry = journald.entry()
    assert entry["PRIORITY"] == "6"
    told = "a\\x0aPRIORITY=0\\x0aMESSAGE=b\\x1b[31m\\x00\\u202ec\\xff"
    assert entry["MESSAGE"] == entry["DIO_ERROR_KIND"] == told
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "%s", (evil,), None)
    assert WithPriority().format(record) == f"<4>{told}"
    assert WithTime().format(record).endswith(f" WARNING {told}")


def deep(levels: int) -> None:
    if levels:
        deep(levels - 1)
    raise ValueError("first\nsecond\x1b " + "x" * 100_000)


def test_a_traceback_keeps_its_lines_and_has_a_bound(journald: Journald) -> None:
    try:
        deep(0)
    except ValueError:
        journald.log.critical("crashed", exc_info=True)
    entry = journald.entry()
    lines = entry["MESSAGE"].split("\n")
    assert lines[:2] == ["crashed", "Traceback (most recent call last):"]
    assert lines[-2] == "ValueError: first"
    assert lines[-1].startswith("second\\x1b xxx")
    assert len(entry["MESSAGE"]) <= MAX_TEXT


def test_an_entry_fits_a_datagram_whatever_it_is_made_of(journald: Journald) -> None:
    try:
        raise ValueError("\n".join("\U0001f9ea" * 4000 for _ in range(50)))
    except ValueError:
        journald.log.critical(
            "%s", "\U0001f9ea" * 50_000, exc_info=True, extra=about(Kind.CLONE, stream="é" * 9000)
        )
    assert len(journald.entry()["MESSAGE"]) <= MAX_TEXT
    assert journald.lines() == ""


def test_without_the_socket_lines_go_to_standard_error(journald: Journald) -> None:
    journald.path.unlink()
    journald.log.warning("one", extra=about(Kind.CLONE))
    try:
        deep(0)
    except ValueError:
        journald.log.error("two", exc_info=True)
    lines = journald.lines().splitlines()
    assert lines[0] == "<4>one"
    assert lines[1:3] == ["<3>two", "<3>Traceback (most recent call last):"]
    assert all(line.startswith("<3>") for line in lines[1:])


def test_a_journald_that_does_not_read_is_not_waited_for(journald: Journald) -> None:
    for number in range(20_000):
        journald.log.info("line %d %s", number, "x" * 500)
    journald.stderr.setblocking(False)
    natives = [parse(datagram)["MESSAGE"] for datagram in drain(journald.datagrams)]
    printed = b"".join(drain(journald.stderr)).decode()
    assert natives[0].startswith("line 0 ")
    whole = [line for line in printed.splitlines() if len(line) > 500 and line.startswith("<6>line ")]
    assert whole, "what the socket did not take went to standard error"
    journald.log.info("and on")
    journald.log.info("and on")
    told = [journald.entry() for _ in range(3)]
    assert [entry["MESSAGE"] for entry in told[1:]] == ["and on", "and on"]
    assert told[0]["PRIORITY"] == "4"
    lost = re.fullmatch(
        r"(\d+) lines before this one were lost: journald did not take them", told[0]["MESSAGE"]
    )
    assert lost
    assert told[0]["DIO_LEFT_OUT"] == lost[1]
    assert len(natives) + len(whole) + int(lost[1]) == 20_000


def drain(end: socket.socket) -> Iterator[bytes]:
    end.setblocking(False)
    try:
        while True:
            yield end.recv(1 << 20)
    except BlockingIOError:
        end.settimeout(5)


def test_after_half_a_line_the_next_one_begins_anew(journald: Journald) -> None:
    journald.path.unlink()
    for _ in range(5000):
        journald.log.info("%s", "x" * 4000)
    printed = b"".join(drain(journald.stderr)).decode()
    journald.log.info("next")
    assert f"\n{journald.lines()}".endswith("\n<6>next\n")
    assert printed.startswith("<6>xxx")


def test_a_line_that_cannot_be_made_ends_nothing(
    journald: Journald, capsys: pytest.CaptureFixture[str]
) -> None:
    journald.log.info("%d", "no number")
    assert "no number" in capsys.readouterr().err
    journald.log.info("next")
    assert journald.entry()["MESSAGE"] == "next"


def test_the_end_waits_until_everything_is_read(journald: Journald) -> None:
    def read_at_the_third_wait(event: threading.Event, timeout_s: float) -> None:
        if len(journald.clock.waits) == 2:
            journald.entry()

    journald.clock.on_wait = read_at_the_third_wait
    journald.log.info("last")
    journald.handler.flush()
    assert len(journald.clock.waits) == 3


def test_the_end_does_not_wait_for_long(journald: Journald) -> None:
    journald.log.info("last")
    begun = journald.clock.monotonic()
    journald.handler.flush()
    assert journald.clock.monotonic() - begun == pytest.approx(DRAIN_S, abs=0.01)


def test_only_the_stream_that_journald_made_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stream:
        found = (tmp_path / "stderr").stat()
        assert under_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, stream)
        assert not under_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}, stream)
        assert not under_journal({}, stream)


def test_a_process_under_the_journal_and_one_that_is_not(journald: Journald) -> None:
    script = (
        "import logging, os, sys\n"
        "from pathlib import Path\n"
        "from dio_daemon import journal\n"
        "found = os.fstat(2)\n"
        "environ = {'JOURNAL_STREAM': f'{found.st_dev}:{found.st_ino}'} if sys.argv[2] == 'under' else {}\n"
        "journal.set_up_logging('info', environ, Path(sys.argv[1]))\n"
        "logging.getLogger('dio_daemon').warning('hello')\n"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for how in ("under", "not"):
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(journald.path), how], stderr=theirs, cwd=pages.ROOT
            )
            if how == "under":
                assert journald.entry()["MESSAGE"] == "hello"
            assert process.wait(20) == 0
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING hello\n", ours.recv(1 << 16).decode()
        )


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_describing_is_for_the_journal_alone(root: logging.Logger, journald: Journald) -> None:
    root.handlers[:] = [logging.NullHandler(), journald.handler]
    describe(lambda: Snapshot(State.ACTIVE, 0.0, "", agent_id="agent-1"))
    root.warning("x")
    assert journald.entry()["DIO_STATE"] == "active"


def test_the_level_is_followed(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_logging("warning", {})
    logging.getLogger("dio_daemon.x").info("no")
    logging.getLogger("dio_daemon.x").warning("yes\x07")
    err = capsys.readouterr().err
    assert "no" not in err
    assert err.endswith("WARNING yes\\x07\n")


def test_a_threat_is_told_from_its_opening_to_its_end(
    journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threat_log, "log", journald.log)
    told: list[tuple[str, dict[str, Any]]] = []
    threats = threat_log.ThreatLog(lambda kind, data: told.append((kind, data)))
    mild = threat_log.Threat("9c1e", "disk_full", "medium", "/srv is 91 % full")
    worse = threat_log.Threat("9c1e", "disk_full", "critical", "/srv\n is \x1b[31m99 % full")
    threats.opened(mild)
    threats.escalated(worse, "medium")
    threats.cleared(worse, 61.25)
    entries = [journald.entry() for _ in range(3)]
    assert [
        (entry["DIO_EVENT"], entry["PRIORITY"], entry["DIO_SEVERITY"], entry["MESSAGE"]) for entry in entries
    ] == [
        ("threat_opened", "4", "medium", "Threat opened: medium disk_full: /srv is 91 % full"),
        (
            "threat_escalated",
            "3",
            "critical",
            "Threat escalated from medium: critical disk_full: /srv\\x0a is \\x1b[31m99 % full",
        ),
        (
            "threat_cleared",
            "6",
            "critical",
            "Threat cleared: critical disk_full: /srv\\x0a is \\x1b[31m99 % full",
        ),
    ]
    assert {(entry["DIO_THREAT_ID"], entry["DIO_THREAT_TYPE"]) for entry in entries} == {
        ("9c1e", "disk_full")
    }
    assert entries[2]["DIO_DURATION_S"] == "61.2"
    assert [(kind, data["change"], data["severity"]) for kind, data in told] == [
        ("threat", "opened", "medium"),
        ("threat", "escalated", "critical"),
        ("threat", "cleared", "critical"),
    ]


# The catalog and the documentation.
