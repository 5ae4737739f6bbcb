"""Failed logins: what counts, bursts, successes after them, and who is believed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dio_daemon.detect.integrity.follow import Follower, Line, parse, parse_syslog
from dio_daemon.detect.integrity.logins import BURST, LASTS_S, MOST_SOURCES, LoginWatch
from dio_daemon.detect.integrity.told import TOLD_S
from tests.unit.integrity.conftest import FakeHost

FAILED = "Failed password for root from 192.0.2.7 port 4000 ssh2"
SUDO = (
    "pam_unix(sudo:auth): authentication failure; logname=ann uid=1000 euid=0 tty=/dev/pts/0 ruser=ann "
    "rhost=  user=ann"
)


def test_a_burst_is_told_and_ends(fake: FakeHost) -> None:
    watch = LoginWatch(fake.told())
    watch.take([Line("sshd", FAILED)] * (BURST - 1), 0.0)
    assert watch.look(0.0) == []
    watch.take([Line("sshd-session", FAILED)], 1.0)
    (found,) = watch.look(1.0)
    assert (found.type, found.severity, found.subject) == ("failed_logins", "low", "ssh from 192.0.2.7")
    assert found.evidence["users"] == {"root": BURST}
    assert len(watch.look(LASTS_S)) == 1
    assert watch.look(LASTS_S + 1.0) == []


def test_slow_mistakes_are_no_burst(fake: FakeHost) -> None:
    watch = LoginWatch(fake.told())
    for number in range(50):
        watch.take([Line("sshd", FAILED)], number * 61.0)
        assert watch.look(number * 61.0) == []


@pytest.mark.parametrize(
    ("by", "text", "subject"),
    [
        (
            "sshd",
            "Failed password for invalid user a b from x from 192.0.2.9 port 1 ssh2",
            "ssh from 192.0.2.9",
        ),
        ("sshd", f"message repeated 8 times: [ {FAILED}]", "ssh from 192.0.2.7"),
        (
            "sshd",
            "Connection closed by authenticating user root 192.0.2.8 port 5 [preauth]",
            "ssh from 192.0.2.8",
        ),
        ("sudo", SUDO, "sudo from ann"),
        ("su", SUDO.replace("(sudo:", "(su:"), "su from ann"),
    ],
)
def test_what_counts(fake: FakeHost, by: str, text: str, subject: str) -> None:
    watch = LoginWatch(fake.told())
    watch.take([Line(by, text)] * BURST, 0.0)
    assert [found.subject for found in watch.look(0.0)] == [subject]


TYPED_WRONG = (
    ["Failed password for ann from 192.0.2.7 port {port} ssh2"],
    [
        "Failed password for ann from 192.0.2.7 port {port} ssh2",
        "Connection closed by authenticating user ann 192.0.2.7 port {port} [preauth]",
    ],
    [
        "Invalid user ann from 192.0.2.7 port {port}",
        "Failed password for invalid user ann from 192.0.2.7 port {port} ssh2",
        "Connection closed by invalid user ann 192.0.2.7 port {port} [preauth]",
    ],
    [
        "error: PAM: Authentication failure for ann from 192.0.2.7",
        "Failed keyboard-interactive/pam for ann from 192.0.2.7 port {port} ssh2",
        "Connection reset by authenticating user ann 192.0.2.7 port {port} [preauth]",
    ],
    [
        "error: PAM: Authentication failure for ann from 192.0.2.7",
        "Connection closed by authenticating user ann 192.0.2.7 port {port} [preauth]",
    ],
    ["Connection closed by authenticating user ann 192.0.2.7 port {port} [preauth]"],
)
"""All that sshd says of one wrong password."""


@pytest.mark.parametrize("said", TYPED_WRONG)
def test_a_wrong_password_is_counted_once(fake: FakeHost, said: list[str]) -> None:
    """Whatever sshd says of it besides: three mistakes and a login are no attack, the sixth is."""
    watch = LoginWatch(fake.told())

    def mistake(port: int) -> None:
        watch.take([Line("sshd-session", each.format(port=port)) for each in said], float(port))

    for port in range(1, BURST):
        mistake(port)
        assert watch.look(float(port)) == []
    watch.take([Line("sshd-session", "Accepted password for ann from 192.0.2.7 port 9 ssh2")], 9.0)
    assert watch.look(9.0) == []
    mistake(BURST)
    (found,) = watch.look(10.0)
    assert (found.type, found.evidence["failures"]) == ("failed_logins", BURST)


def test_a_success_after_a_burst(fake: FakeHost) -> None:
    """A password that was right after many wrong ones is told; a key, or another place, is not."""
    watch = LoginWatch(fake.told())
    watch.take([Line("sshd", FAILED)] * BURST, 0.0)
    watch.take([Line("sshd", "Accepted publickey for root from 192.0.2.7 port 1 ssh2")], 1.0)
    watch.take([Line("sshd", "Accepted password for root from 192.0.2.1 port 1 ssh2")], 1.0)
    assert [found.type for found in watch.look(1.0)] == ["failed_logins"]
    watch.take([Line("sshd", "Accepted password for root from 192.0.2.7 port 1 ssh2")], 2.0)
    assert [(found.type, found.severity) for found in watch.look(2.0)] == [
        ("failed_logins", "low"),
        ("login_after_failures", "high"),
    ]
    fake.baseline.save(at_once=True)
    again = LoginWatch(fake.told())
    assert [found.summary for found in again.look(3.0)] == [watch.look(3.0)[-1].summary], (
        "no restart makes it unheard"
    )
    fake.clock.monotonic_s += TOLD_S
    assert again.look(4.0) == []


def test_as_many_sources_as_there_may_be(fake: FakeHost) -> None:
    watch = LoginWatch(fake.told())
    lines = [
        Line("sshd", FAILED.replace("192.0.2.7", f"10.0.{n // 256}.{n % 256}"))
        for n in range(3 * MOST_SOURCES)
    ]
    watch.take(lines, 0.0)
    assert len(watch._sources) == MOST_SOURCES and watch.look(0.0) == []


@pytest.mark.parametrize(
    ("entry", "believed"),
    [
        ({"MESSAGE": "x", "SYSLOG_IDENTIFIER": "sshd", "_UID": "0"}, True),
        ({"MESSAGE": "x", "SYSLOG_IDENTIFIER": "sudo", "_UID": "1000", "_EXE": "/usr/bin/sudo"}, True),
        ({"MESSAGE": "x", "SYSLOG_IDENTIFIER": "sshd", "_UID": "1000", "_EXE": "/usr/bin/logger"}, False),
        ({"MESSAGE": [1, 2], "SYSLOG_IDENTIFIER": "sshd", "_UID": "0"}, False),
        ({"SYSLOG_IDENTIFIER": "sshd", "_UID": "0"}, False),
    ],
)
def test_who_is_believed(entry: dict[str, object], believed: bool) -> None:
    assert (parse(json.dumps(entry).encode()) is not None) is believed


def test_lines_that_are_none() -> None:
    for raw in (b"", b"{", b"[]", b"7", b"x" * 20_000):
        assert parse(raw) is None
    assert parse_syslog(b"Nov 28 23:00:01 host sshd[7]: " + FAILED.encode()) == Line("sshd", FAILED)
    assert parse_syslog(b"2026-11-28T23:00:01.1+00:00 host sshd[7]: " + FAILED.encode()) == Line(
        "sshd", FAILED
    )
    assert parse_syslog(b"") is None and parse_syslog(b"x y") is None


def read_until(follower: Follower, count: int) -> list[Line]:
    """Read until so many lines have come; the test's time limit bounds it."""
    found: list[Line] = []
    while len(found) < count:
        found += follower.read()
    return found


def test_the_child_is_read_and_started_again(fake: FakeHost, tmp_path: Path) -> None:
    line = json.dumps({"MESSAGE": "x", "SYSLOG_IDENTIFIER": "sshd", "_UID": "0"})
    follower = Follower(fake.host, fake.clock, (sys.executable, "-c", f"print({line!r}, flush=True)"))
    assert read_until(follower, 1) == [Line("sshd", "x")]
    while follower.works:  # until its end is seen
        follower.read()
    assert follower._child is None
    fake.clock.monotonic_s += 1000
    assert read_until(follower, 1) == [Line("sshd", "x")]
    follower.close()
    follower.close()


def test_auth_log_where_there_is_no_journal(fake: FakeHost) -> None:
    """From its end at the start on, and over a rotation."""
    log = fake.put("/var/log/auth.log", "Nov 28 23:00:01 host sshd[7]: old\n")
    follower = Follower(fake.host, fake.clock, ("/nonexistent/journalctl",))
    assert follower.read() == [] and not follower.works
    with log.open("a") as stream:
        stream.write("Nov 28 23:00:02 host sshd[7]: new\nhalf")
    assert follower.read() == [Line("sshd", "new")]
    log.rename(log.with_name("auth.log.1"))
    fake.put("/var/log/auth.log", "Nov 28 23:00:03 host sudo: next\n")
    assert follower.read() == [Line("sudo", "next")]
    log.unlink()
    assert follower.read() == []
