"""Every command of dioctl against a real control socket: what it does, what programs read, exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dio_daemon import ctl
from dio_daemon.cli import bundle
from dio_daemon.cli.show import verdict
from dio_daemon.cli.steer import BadArgument, seconds
from dio_daemon.detect.finding import Finding
from dio_daemon.lifecycle import State
from tests.support.control import Socket, wait_for
from tests.support.dioctl import ROOT
from tests.support.link import REFUSED


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
    monkeypatch.setattr("dio_daemon.unit.SOON_S", 0.0)
    running.path.rename(running.path.with_name("away"))
    said = dioctl("health")
    assert (said.code, said.out) == (
        3,
        f"UNKNOWN - no agent answers on {running.path}. Is the agent running?\n",
    )
    assert json.loads(dioctl("health", "--json").out)["status"] is None
    running.path.with_name("away").rename(running.path)


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["statsu"], "dioctl: error: there is no 'statsu'; did you mean status?\n"),
        (["xyz"], "dioctl: error: there is no 'xyz'; see: dioctl --help\n"),
        (["config", "chek"], "dioctl config: error: there is no 'chek'; did you mean check?\n"),
        (["log-level", "debugg"], "dioctl log-level: error: there is no 'debugg'; did you mean debug?\n"),
    ],
)
def test_what_may_have_been_meant(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        ctl.main(arguments)
    assert capsys.readouterr().err.endswith(words)
