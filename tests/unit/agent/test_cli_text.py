"""What people read of dioctl: on terminals wide and narrow, in a pipe, in colours and without."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from dio_daemon.cli import terminal, top
from dio_daemon.cli.parser import build_parser
from dio_daemon.cli.show import event_line
from dio_daemon.detect.finding import Finding
from tests.support.control import SAMPLE, Socket
from tests.support.dioctl import process
from tests.unit.docs import pages


def test_top(dioctl: Any) -> None:
    said = dioctl("top")
    assert said.code == 0
    assert "agent-00000000000000aa  active  host up 24 h" in said.out
    assert "memory   25.0 %  2.0 GiB of 8.0 GiB" in said.out
    assert "unreachable" in said.out
    assert "systemd" in said.out
    document = json.loads(dioctl("top", "--json").out)
    assert document["sample"] == json.loads(json.dumps(SAMPLE))
    assert document["agent"]["rss_bytes"] > 1 << 20


def test_top_over_and_over(
    running: Socket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    looks = []

    def look(event: object, timeout_s: float) -> None:
        looks.append(timeout_s)
        if len(looks) == 3:
            raise KeyboardInterrupt

    running.agent.clock.on_wait = look
    options = build_parser().parse_args(["top", "--interval", "5"])
    with pytest.raises(KeyboardInterrupt):
        top.top(running.client, options, running.agent.clock)
    said = capsys.readouterr().out
    assert looks == [5.0, 5.0, 5.0]
    assert said.count("\x1b[H") == 3
    assert "\x1b[2J" not in said


def test_events_that_people_read() -> None:
    def line(kind: str, **data: object) -> str:
        return event_line({"time": "T", "kind": kind, "data": data})

    assert line("state", **{"from": "active", "to": "warning", "reason": "why"}).endswith(
        "active -> warning: why"
    )
    assert line("delivery", acknowledged_at="T").endswith("acknowledged")
    assert line("delivery", failures=2, reason="why").endswith("failed (2 in a row): why")
    assert line("sample", seq=1, cpu=None, memory={"percent": 2}).endswith("1: cpu -, memory 2.0 %")
    assert line("another", x=1).endswith('{"x": 1}')


def test_a_pipe_gets_no_colours_and_a_terminal_does(running: Socket) -> None:
    green = "\x1b[32mactive"
    code, said = process(running, "status")
    assert (code, "\x1b" in said) == (0, False)
    code, said = process(running, "status", terminal_=True)
    assert (code, green in said) == (0, True)
    assert "\x1b" not in process(running, "status", terminal_=True, NO_COLOR="1")[1]
    assert "\x1b" not in process(running, "status", terminal_=True, TERM="dumb")[1]
    assert "\x1b" not in process(running, "top", "--once", terminal_=True, NO_COLOR="1")[1]


@pytest.mark.parametrize(
    "command", [["status"], ["top", "--once"], ["spool"], ["config", "show"], ["threats"]]
)
def test_80_columns(running: Socket, command: list[str]) -> None:
    agent = running.agent
    agent.board.update(reason="a reason that goes on and on, " * 8)
    agent.board.set_conditions(
        "spool", {"spool_filling": "A sentence that is longer than the terminal is wide. " * 3}
    )
    running.book.step([Finding("t", "high", 1.0, "/", "words " * 40)], 0.0)
    code, said = process(running, *command, terminal_=True, COLUMNS="80")
    assert code == 0
    lines = [terminal._ESCAPES.sub("", line) for line in said.splitlines()]
    assert max(len(line) for line in lines) <= 80
    if command == ["status"]:  # nothing is cut
        assert " ".join(said.split()).count("a reason that goes on and on,") == 8


def test_wrapped_and_fitted_text() -> None:
    assert terminal.wrapped("short", 19, 80) == "short"
    assert terminal.wrapped("word " * 30, 19, None) == "word " * 30
    assert all(len(line) <= 80 for line in ("x" * 19 + terminal.wrapped("word " * 30, 19, 80)).splitlines())
    assert terminal.fitted("\x1b[1m12345\x1b[0m", 5) == "\x1b[1m12345\x1b[0m"
    assert terminal.fitted("\x1b[1m123456\x1b[0m", 5) == "1234…"
    assert [terminal.duration(value) for value in (5, 300, 9000, 400000)] == ["5 s", "5 min", "2 h", "5 d"]
    assert [terminal.size(value) for value in (None, 5, 5 << 10, 5 << 40)] == [
        "-",
        "5 B",
        "5.0 KiB",
        "5.0 TiB",
    ]
    assert terminal.percent(None) == "-"


def test_figures_that_are_missing_are_no_crash(running: Socket) -> None:
    status = running.client.call("GET", "/v1/status")
    shown = top.lines(status, {}, {"cpu_percent": None, "rss_bytes": None})
    assert any(line.split()[:2] == ["memory", "-"] for line in shown)


def test_threats_are_explained(dioctl: Any, running: Socket) -> None:
    finding = Finding(
        "cron_changed",
        "high",
        1.0,
        "/etc/crontab",
        "words " * 40,
        "Because. " * 30,
        "See it. " * 30,
        "T1053.003",
    )
    running.book.step([finding], 0.0)
    said = dioctl("threats").out
    assert max(len(line) for line in said.splitlines()) <= 120
    plain = " ".join(said.split())
    assert plain.count("Because.") == 30
    assert plain.count("See it.") == 30
    assert plain.count("words") >= 40
    assert "ATT&CK: T1053.003" in plain


def test_a_table_loses_nothing_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    head, rows = (
        ["NAME", "LEVELS", "SOURCE"],
        [["cpu", "low 80 medium 90", "default"], ["m", "low 1", "/etc/a/b.toml:2"]],
    )
    monkeypatch.setattr(terminal, "width", lambda: 44)
    assert terminal.table(head, rows).splitlines() == [
        "NAME  LEVELS            SOURCE",
        "cpu   low 80 medium 90  default",
        "m     low 1             /etc/a/b.toml:2",
    ]
    monkeypatch.setattr(terminal, "width", lambda: 35)  # the widest is wrapped between words
    assert terminal.table(head, rows).splitlines() == [
        "NAME  LEVELS        SOURCE",
        "cpu   low 80        default",
        "      medium 90",
        "m     low 1         /etc/a/b.toml:2",
    ]
    monkeypatch.setattr(terminal, "width", lambda: 22)  # what does not fit at all stands below
    assert terminal.table(head, rows).splitlines() == [
        "NAME  LEVELS  SOURCE",
        "cpu   low 80  default",
        "      medium",
        "      90",
        "m     low 1",
        "    /etc/a/b.toml:2",
    ]


def test_a_locale_of_few_letters(running: Socket) -> None:
    """What it cannot show is a question mark, and no crash."""
    running.book.step([Finding("t", "high", 1.0, "/", "größer " * 10)], 0.0)
    code, said = process(running, "threats", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert code == 0
    assert "gr??er" in said


def test_the_policy_is_told(dioctl: Any, running: Socket) -> None:
    assert dioctl("policy").out.startswith("No policy is in force")
    finding = Finding("cron_changed", "high", 1.0, "/etc/crontab", "x", hold_s=60.0)
    normal = {
        "type": finding.type,
        "subject": finding.subject,
        "fingerprint": finding.fingerprint,
        "reason": "ours",
    }
    rule = '[own]\nvalue = "cpu.percent"\nenter = { low = 1 }\nsummary = "x"\n'
    rules = [{"of": "role=web", "toml": rule}]
    content = {"version": "1" * 16, "interval_s": 30, "rules": rules, "tolerated": [normal]}
    keeper = running.agent.policy
    keeper.take(json.dumps(content).encode(), "1" * 16)
    running.book.tolerate(keeper.normal)
    running.book.step([finding], 0.0)
    keeper.take(b"{", "2" * 16)
    said = dioctl("policy").out.splitlines()
    assert said[0] == "Refused:   2222222222222222: the document is not JSON"
    assert said[1:3] == ["In force:  1111111111111111", "Interval:  30 s"]
    assert "    [own]" in said
    assert said[-1].split() == ["cron_changed", "-", "1", "/etc/crontab", "ours"]
    document = json.loads(dioctl("policy", "--json").out)
    assert document["tolerated"][0]["count"] == 1
    text = pages.section(pages.page("control-socket"), "Reading")
    for field in (*document, *document["tolerated"][0], *document["rules"][0], *document["refused"]):
        assert f"`{field}`" in text, field
