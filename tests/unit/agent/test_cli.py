"""Every command of dioctl against a real control socket: what people read, what programs read, exit codes."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dio_daemon import ctl, unit
from dio_daemon.cli import bundle, terminal, top
from dio_daemon.cli.show import event_line, verdict
from dio_daemon.cli.steer import BadArgument, seconds
from dio_daemon.detect.finding import Finding
from dio_daemon.ipc.client import Client, NotRunning
from dio_daemon.lifecycle import State
from tests.support.control import SAMPLE, Socket, wait_for
from tests.unit.agent.test_link import REFUSED

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Socket]:
    made = Socket(tmp_path)
    made.active()
    yield made
    made.close()


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def dioctl(running: Socket, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Said:
        code = ctl.main(["--socket", str(running.path), *arguments])
        return Said(code, *capsys.readouterr())

    return run


def process(running: Socket, *arguments: str, terminal_: bool = False, **environ: str) -> tuple[int, str]:
    """Exit code and output of dioctl as a process of its own, its output piped or a terminal."""
    command = [sys.executable, "-m", "dio_daemon.ctl", "--socket", str(running.path), *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm"} | environ
    if not terminal_:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr
    mine, its = pty.openpty()
    with subprocess.Popen(command, env=environment, stdin=its, stdout=its, stderr=its) as child:
        os.close(its)
        said = b""
        while True:
            try:
                piece = os.read(mine, 65536)
            except OSError:  # the other end was closed
                break
            if not piece:
                break
            said += piece
    os.close(mine)
    return child.returncode, said.decode().replace("\r\n", "\n")


def test_status(dioctl: Any, running: Socket) -> None:
    said = dioctl("status")
    assert (said.code, said.err) == (0, "")
    lines = dict(line.split(":", 1) for line in said.out.splitlines())
    assert lines["Agent"].strip() == "agent-00000000000000aa"
    assert lines["State"].strip().startswith("active for 1 s")
    assert {len(line) - len(line.partition(":")[2].lstrip()) for line in said.out.splitlines()} == {19}
    document = json.loads(dioctl("status", "--json").out)
    assert document["state"] == "active"
    running.agent.maintenance.begin(600, "disk swap")
    assert "Maintenance:       until 2026-01-01T00:10:01Z: disk swap\n" in dioctl("status").out


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
    options = ctl.build_parser().parse_args(["top", "--interval", "5"])
    with pytest.raises(KeyboardInterrupt):
        top.top(running.client, options, running.agent.clock)
    said = capsys.readouterr().out
    assert looks == [5.0, 5.0, 5.0]
    assert said.count("\x1b[H") == 3
    assert "\x1b[2J" not in said


def test_spool(dioctl: Any) -> None:
    said = dioctl("spool")
    head, rows = said.out.splitlines()[0], said.out.splitlines()[1:]
    assert head.endswith("0 dead letters")
    assert rows[0].split() == ["STREAM", "LAST", "ACKED", "WAITING", "KEPT", "OLDEST", "WAITING", "MISSING"]
    assert rows[2].split() == ["samples", "1", "1", "0", "1", "-", "-"]
    assert json.loads(dioctl("spool", "--json").out)["streams"]["samples"]["kept"] == 1


def test_threats(dioctl: Any, running: Socket) -> None:
    assert dioctl("threats").out == "No open threats.\n"
    running.book.step([Finding("disk_full", "high", 1.0, "/", "/ is full")], 0.0)
    assert dioctl("threats").out.splitlines()[1].split(None, 3)[::3] == ["high", "/ is full"]
    assert len(json.loads(dioctl("threats", "--json").out)["threats"]) == 1


def test_metrics_and_config(dioctl: Any) -> None:
    assert "# TYPE dio_agent_info gauge\n" in dioctl("metrics").out
    assert json.loads(dioctl("metrics", "--json").out)["load"]["load_1m"] == 0.25
    said = dioctl("config", "show")
    assert ["agent.interval_s", "10.0", "default"] in [line.split() for line in said.out.splitlines()]
    assert json.loads(dioctl("config", "show", "--json").out)["settings"]


def test_events_until_the_agent_ends(running: Socket) -> None:
    command = [sys.executable, "-m", "dio_daemon.ctl", "--socket", str(running.path), "events"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        wait_for(lambda: running.feed._followers)
        running.sample()
        assert child.stdout.readline().split()[1:] == [
            "sample",
            "2:",
            "cpu",
            "12.5",
            "%,",
            "memory",
            "25.0",
            "%",
        ]
        running.feed.close()
        assert child.stderr.read() == "dioctl: the agent ended the feed\n"
    assert child.returncode == 1


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


def test_changes(dioctl: Any, running: Socket) -> None:
    assert dioctl("reload").out == "Configuration reloaded\n"
    assert dioctl("flush").out == "Everything is delivered\n"
    assert dioctl("reregister").out.startswith("Registering again")
    said = dioctl("pause", "30m", "--reason", "disk swap")
    assert said.out == "Reporting is paused until 2026-01-01T00:30:01.000Z; sampling goes on\n"
    said = dioctl("flush")
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith("dioctl resume ends that\n")
    assert dioctl("resume", "--json").out == '{\n  "was_paused": true\n}\n'
    assert dioctl("resume").out == "Reporting was not paused\n"
    said = dioctl("change", "begin", "--for", "30m", "--reason", "CHG-812")
    assert said.out.startswith("Changes of this host are recorded and not told until 2026-01-01T00:3")
    assert dioctl("change", "end").out == "Changes are told again\n"
    assert dioctl("change", "end").out == "No change was announced\n"
    assert (
        dioctl("change", "accept", "--json").out == '{\n  "accepted": true\n}\n'
        and running.window.accept_asked
    )
    running.findings = ["a:1: bad", "b:2: worse"]
    said = dioctl("reload")
    assert said.code == 1
    assert "a:1: bad\nb:2: worse" in said.err


def test_reports(dioctl: Any, running: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dioctl("report", "event", "backup.finished", "42 GiB", "--data", '{"s": 7}').out == "Submitted\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"s": 8}'))
    assert json.loads(dioctl("report", "event", "x", "--data", "-", "--json").out)["accepted"]
    assert dioctl("report", "metrics", "queue=3", "lag=0.5").code == 0
    said = dioctl("report", "event", "threat")
    assert said.code == 1
    assert '"type" must be' in said.err
    for arguments in (
        ["event", "x", "--data", "{"],
        ["metrics", "x"],
        ["metrics", "x=y"],
        ["metrics", "x=nan"],
    ):
        assert dioctl("report", *arguments).code == 1
    found = [
        json.loads(record.data) for record in running.agent.spool.recent("samples", "custom_event", 1e9, 9)
    ]
    assert [item["data"] for item in found] == [{"s": 7}, {"s": 8}]


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "-5m", "5 m", "1w", "1e9", "½h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(BadArgument):
        seconds(text)


HUNG = {"link": {"fresh": False}}


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"state": "active"}, 0, "OK"),
        ({"state": "active", "conditions": {"reporting_paused": "s"}}, 0, "OK"),
        ({"state": "active", "conditions": {"spool_filling": "s"}}, 1, "WARNING"),
        ({"state": "starting"}, 1, "WARNING"),
        ({"state": "waiting", "reason": "connection refused"}, 1, "WARNING"),
        ({"state": "registering"}, 1, "WARNING"),
        ({"state": "warning", "reason": "connection refused"}, 1, "WARNING"),
        ({"state": "stopping"}, 1, "WARNING"),
        ({"state": "offline", "reason": "connection refused"}, 2, "CRITICAL"),
        ({"state": "active", "threads": HUNG}, 2, "CRITICAL"),
    ],
)
def test_health_of_each_state(fields: dict[str, Any], code: int, word: str) -> None:
    document = {
        "conditions": {},
        "threads": {"link": {"fresh": True}},
        "spool": {"pending": 3},
        "consecutive_failures": 1,
        "reason": None,
        "status_line": "the line",
    }
    found, line = verdict(document | fields)
    assert found == code
    assert line.startswith(f"{word} - ")
    assert line.endswith("| pending=3 failures=1")


def test_health_as_a_command(dioctl: Any, running: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    said = dioctl("health")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("OK - active: agent-00000000000000aa reporting to http://c:1")
    running.agent.transport.report = lambda body: REFUSED
    running.agent.transport.health = lambda: REFUSED
    running.sample()
    running.agent.run_until(State.OFFLINE)
    document = json.loads(dioctl("health", "--json").out)
    assert (document["health"], document["code"]) == ("critical", 2)
    assert document["status"]["state"] == "offline"
    monkeypatch.setattr("dio_daemon.ipc.client.BRIDGE_S", 0.0)
    running.path.rename(running.path.with_name("away"))
    said = dioctl("health")
    assert (said.code, said.out) == (3, f"UNKNOWN - no agent answers on {running.path}\n")
    assert json.loads(dioctl("health", "--json").out)["status"] is None
    running.path.with_name("away").rename(running.path)


def test_no_permission_is_unknown_to_monitoring(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, running: Socket
) -> None:
    def refuse(self: Client, *arguments: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Client, "_ask", refuse)
    assert ctl.main(["health"]) == 3
    assert "join group dio" in capsys.readouterr().out
    assert ctl.main(["status"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        "dioctl: permission denied on /run/dio-agent/agent.sock: join group dio (adduser USER dio"
    )


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


def test_whoever_reads_may_go_away(running: Socket) -> None:
    command = (
        f"{sys.executable} -m dio_daemon.ctl --socket {running.path} metrics | true; echo ${{PIPESTATUS[0]}}"
    )
    for _ in range(3):
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout in ("0\n", "1\n")
        assert done.stderr == ""


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


def test_bundle(dioctl: Any, running: Socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"
    monkeypatch.setattr(
        bundle, "COMMANDS", {"x.txt": ["echo", f"Authorization: Bearer {secret}"], "no.txt": ["/no"]}
    )
    path = tmp_path / "bundle.tar.gz"
    said = dioctl("debug", "bundle", "--output", str(path))
    assert said.out == f"Wrote {path}; look through it before you send it\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        parts = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            parts[member.name.partition("/")[2]] = file.read().decode()
    assert json.loads(parts["agent/status.json"])["state"] == "active"
    assert parts["host/x.txt"] == "Authorization: Bearer [left out]\n"
    assert parts["host/no.txt"].startswith("could not be had:")
    assert all(secret not in text for text in parts.values())
    said = dioctl("debug", "bundle", "--output", str(path))
    assert said.code == 1
    assert "cannot write" in said.err


UNIT = {
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "Result": "success",
    "ConditionResult": "yes",
    "ConditionTimestampMonotonic": "5",
    "StatusText": "",
    "ExecMainStatus": "0",
    "NRestarts": "0",
}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "The agent is not running: systemctl start dio-agent"),
        ({"LoadState": "not-found"}, "not installed"),
        ({"ConditionResult": "no"}, "not enrolled: dioctl enroll URL"),
        (
            {"ActiveState": "activating", "SubState": "start", "StatusText": "waiting"},
            "is starting: waiting\n",
        ),
        (
            {
                "ActiveState": "activating",
                "SubState": "auto-restart",
                "Result": "exit-code",
                "ExecMainStatus": "75",
            },
            "fails to start (exit code 75, tried again 0 times)",
        ),
        (
            {
                "ActiveState": "failed",
                "Result": "exit-code",
                "ExecMainStatus": "78",
                "StatusText": "a.toml:2: bad",
            },
            "failed (exit code 78): a.toml:2: bad\nSee: journalctl",
        ),
        (
            {"Result": "exit-code", "ExecMainStatus": "77", "StatusText": "refused"},
            "not running (its last run failed: exit code 77: refused): systemctl start",
        ),
        ({"ActiveState": "active"}, "its socket does not answer"),
    ],
)
def test_what_systemd_says(fields: dict[str, str], words: str) -> None:
    assert words in unit.sentence(UNIT | fields)


def test_a_unit_that_was_never_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    never = UNIT | {"ConditionResult": "no", "ConditionTimestampMonotonic": "0"}
    monkeypatch.setattr(
        unit, "ENROLLED", (str(tmp_path / "token"), str(tmp_path / "state" / "identity.json"))
    )
    assert "not enrolled" in unit.sentence(never)
    (tmp_path / "token").write_text("t")
    assert "not running: systemctl start" in unit.sentence(never)
    assert "cannot be asked" in unit.sentence({})


def test_an_agent_that_is_away_for_a_moment_is_waited_for(running: Socket) -> None:
    away = running.path.with_name("away")
    running.path.rename(away)
    clock = running.agent.clock
    clock.on_wait = lambda event, timeout_s: away.rename(running.path) if away.exists() else None
    assert Client(running.path, clock).call("GET", "/v1/status")["state"] == "active"
    running.path.rename(away)
    clock.on_wait = None
    before = clock.time_s
    with pytest.raises(NotRunning):
        Client(running.path, clock).call("GET", "/v1/status")
    assert 2 <= clock.time_s - before < 2.2
    away.rename(running.path)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 0.0),
        ({"Job": "17"}, unit.CHANGING_S),  # a restart, between its stop and its start
        ({"ActiveState": "activating"}, unit.CHANGING_S),
        ({"ActiveState": "deactivating"}, unit.CHANGING_S),
        ({"ActiveState": "failed"}, 0.0),
        ({"ActiveState": "active"}, unit.SOON_S),
    ],
)
def test_how_long_an_agent_is_worth_waiting_for(fields: dict[str, str], seconds: float) -> None:
    assert unit.worth_waiting_s(UNIT | {"Job": "0"} | fields) == seconds
    assert unit.worth_waiting_s({}) == unit.SOON_S  # systemd cannot be asked


def test_a_start_in_progress_is_waited_for_and_a_stopped_agent_is_not(running: Socket) -> None:
    away = running.path.with_name("away")
    running.path.rename(away)
    clock = running.agent.clock
    before, answers = clock.time_s, [0.0]
    client = Client(running.path, clock, lambda: answers[0])
    with pytest.raises(NotRunning):
        client.call("GET", "/v1/status")
    assert clock.time_s == before

    def come(event: threading.Event, timeout_s: float) -> None:
        if clock.time_s - before > 8 and away.exists():
            away.rename(running.path)

    clock.on_wait = come
    answers[0] = unit.CHANGING_S
    assert client.call("GET", "/v1/status")["agent_id"]
    assert 8 < clock.time_s - before < unit.CHANGING_S
    running.path.rename(away)
    before, clock.on_wait = clock.time_s, lambda event, timeout_s: answers.__setitem__(0, 0.0)
    answers[0] = unit.CHANGING_S
    with pytest.raises(NotRunning):  # it was starting, and then it had failed
        client.call("GET", "/v1/status")
    assert clock.time_s - before < 1
    away.rename(running.path)


def test_asking_for_the_status_imports_little(running: Socket) -> None:
    """Importing is what it spends its time on; these would double it."""
    code = (
        "import sys; before = set(sys.modules); from dio_daemon.ctl import main; main(sys.argv[1:]);"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    for command in ("status", "spool", "health"):
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"),
                *("--socket", str(running.path), command),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        imported = set(done.stderr.split())
        assert "dio_daemon.cli.show" in imported
        heavy = {
            "argparse",
            "typing",
            "pathlib",
            "threading",
            "datetime",
            "dataclasses",
            "http",
            "subprocess",
        }
        assert not imported & heavy, command


@pytest.mark.parametrize("command", sorted(ctl.PLAIN))
def test_what_takes_no_parser_means_the_same_with_it(
    command: str, dioctl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [dioctl(command), dioctl(command, "--json")]
    monkeypatch.setattr(ctl, "plain", lambda words: None)
    parsed = [dioctl(command), dioctl(command, "--json")]
    assert [each.code for each in said] == [each.code for each in parsed]
    assert [len(each.out.splitlines()) for each in said] == [len(each.out.splitlines()) for each in parsed]
    for words in ([command, "-h"], [command, "--jso"], ["--socket", "-x", command], ["--socket", command]):
        assert ctl.plain(words) is None


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["top", "--interval", "0"], ["top", "--interval", "nan"], ["pause"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ctl.main(arguments)
    assert ended.value.code == 2
    assert "usage: dioctl" in capsys.readouterr().err


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
