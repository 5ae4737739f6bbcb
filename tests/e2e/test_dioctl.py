"""dioctl and the control socket on real hosts: who may do what, in every state, and what programs read."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import time

import pytest
from conftest import MakeHost
from harness import dio
from harness.commands import run, run_full, wait_for
from harness.host import Host

SOCKET = "/run/dio-agent/agent.sock"
READS = ("status", "sample", "samples", "spool", "threats", "config", "threads")
FAST = {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n"}
MEMBER = "setpriv --reuid=member --regid=member --init-groups"
NOBODY = "setpriv --reuid=nobody --regid=nogroup --init-groups"
_CURL = """
import json, socket, sys
method, path, body = sys.argv[1:]
client = socket.socket(socket.AF_UNIX)
client.settimeout(20)
client.connect("/run/dio-agent/agent.sock")
client.sendall(f"{method} {path} HTTP/1.1\\r\\nHost: dio\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
print(client.makefile("rb").read().decode())
"""

# Until it is told that it reports too quickly, within 200 attempts.
_FLOOD = """
import socket
body = '{"type": "flood"}'
for _ in range(200):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect("/run/dio-agent/agent.sock")
    client.sendall(f"POST /v1/report/event HTTP/1.1\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
    answer = client.makefile("rb").read().decode()
    if " 429 " in answer:
        break
print(answer)
"""
_STORED = """
import json, sqlite3, zlib
rows = sqlite3.connect("/var/lib/dio-nerve-center/nerve-center.db").execute("SELECT kind, data FROM events")
print(json.dumps([[kind, json.loads(zlib.decompress(data))] for kind, data in rows]))
"""


def _ctl(host: Host, arguments: str, user: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of dioctl."""
    done = host.run_full(f"{user} dioctl {arguments}", check=False, timeout_s=60)
    return done.returncode, done.stdout, done.stderr


def _ask(host: Host, method: str, path: str, body: str = "", user: str = "") -> tuple[int, str, str]:
    """Status, content type and body of a request over the bare socket."""
    said = host.run(f"{user} python3 - {method} {path} '{body}'", stdin=_CURL)
    head, _, content = said.partition("\n\n")
    found = re.search(r"^Content-Type: (.*)$", head, re.MULTILINE)
    return int(head.split()[1]), found[1] if found else "", content


def _watched(make_host: MakeHost) -> Host:
    host = make_host("alpha", files=FAST)
    host.run(f"useradd --groups dio member; systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    return host


def test_reading_as_root_member_and_nobody(make_host: MakeHost) -> None:
    """Root and members read everything, as text and as JSON; others are told which group to join."""
    host = _watched(make_host)
    for user in ("", MEMBER):
        for command in ("status", "spool", "threats", "config show"):
            code, text, error = _ctl(host, command, user)
            assert (code, error) == (0, ""), (command, code, error)
            assert text and "\x1b" not in text
            if command != "config show":
                assert max(len(line) for line in text.splitlines()) <= 120, text
            code, text, error = _ctl(host, f"{command} --json", user)
            assert (code, error) == (0, "") and isinstance(json.loads(text), dict)
        code, text, _ = _ctl(host, "top --once", user)
        assert code == 0 and "python3" in text and "memory" in text
        assert set(json.loads(_ctl(host, "top --json", user)[1])) == {"status", "sample", "agent"}
        assert json.loads(_ctl(host, "metrics --json", user)[1])["memory"]["total_bytes"] > 0
        assert 'dio_agent_state{state="active"} 1' in _ctl(host, "metrics", user)[1]
        assert json.loads(_ctl(host, "config check --json", user)[1]) == {"errors": []}
        code, text, _ = _ctl(host, "health", user)
        assert code == 0 and text.startswith("OK - active: agent-")
    for command in (
        "status",
        "spool --json",
        "threats",
        "events",
        "metrics",
        "config show",
        "top --once",
        "flush",
    ):
        code, text, error = _ctl(host, command, NOBODY)
        assert (code, text) == (1, ""), (command, code, text)
        assert "permission denied" in error and "join group dio" in error and len(error.splitlines()) == 1
        assert ("changes are for root" in error) == (command == "flush"), error
    code, text, _ = _ctl(host, "health", NOBODY)
    assert code == 3 and text.startswith("UNKNOWN - permission denied") and "join group dio" in text


def test_changing_is_for_root(make_host: MakeHost) -> None:
    """Members are refused, root does it, and the nerve center is told of a pause."""
    host = _watched(make_host)
    for command in ("reload", "flush", "reregister", "pause 5m", "resume", "log-level debug"):
        code, text, error = _ctl(host, command, MEMBER)
        assert (code, text) == (1, "") and "only root may change the agent" in error, (command, error)
    for command in ("reload", "flush", "log-level debug", "log-level info", "resume"):
        code, text, error = _ctl(host, f"{command} --json")
        assert (code, error) == (0, ""), (command, error)
        assert isinstance(json.loads(text), dict)

    assert _ctl(host, "reregister")[0] == 0
    dio.wait_line(host, "Successfully re-registered with nerve center", within_s=10)
    dio.wait_acknowledged(host)

    code, text, _ = _ctl(host, "pause 5m --reason 'disk swap'")
    assert code == 0 and "Reporting is paused until" in text
    api = dio.Api(host)
    wait_for("maintenance", lambda: api.agents()[0]["state"] == "maintenance", within_s=20)
    document = dio.status(host)
    assert document["maintenance"]["reason"] == "disk swap" and "reporting_paused" in document["conditions"]
    assert document["spool"]["pending"] > 0 and _ctl(host, "health")[0] == 0
    code, _, error = _ctl(host, "flush")
    assert code == 1 and "dioctl resume" in error
    host.run(f"systemctl restart {dio.AGENT}")
    assert dio.status(host)["maintenance"]["reason"] == "disk swap"
    assert _ctl(host, "resume")[0] == 0
    dio.wait_acknowledged(host)
    assert _ctl(host, "resume") == (0, "Reporting was not paused\n", "")
    wait_for("active again", lambda: api.agents()[0]["state"] == "active", within_s=10)
    dio.nothing_missing(api.samples(api.agents()[0]["id"]), hole_s=10)


def test_the_socket_by_itself(make_host: MakeHost) -> None:
    """Every path without dioctl, and what is no path."""
    host = _watched(make_host)
    for name in READS:
        status, kind, body = _ask(host, "GET", f"/v1/{name}", user=MEMBER)
        assert (status, kind) == (200, "application/json"), name
        assert json.loads(body)
    status, kind, body = _ask(host, "GET", "/v1/metrics")
    assert status == 200 and kind.startswith("text/plain; version=0.0.4") and "# TYPE" in body
    if shutil.which("curl") is not None:  # this machine's, into the host's file system
        socket = f"/proc/{host.leader}/root{SOCKET}"
        for name in (*READS, "metrics"):
            curl = ["curl", "-sS", "--fail", "-m", "10", "--unix-socket", socket, f"http://dio/v1/{name}"]
            assert run(curl), name
        curl = ["curl", "-sS", "--fail", "-m", "10", "--unix-socket", socket]
        for path, data in (
            ("pause", '{"for_s": 5}'),
            ("resume", ""),
            ("reload", ""),
            ("flush", ""),
            ("log-level", '{"level": "info"}'),
            ("report/event", '{"type": "e2e.curl"}'),
            ("report/metrics", '{"metrics": {"m": 1}}'),
        ):
            assert run([*curl, "-d", data, f"http://dio/v1/{path}"]), path
        said = run_full(
            ["curl", "-sSN", "-m", "3", "--unix-socket", socket, "http://dio/v1/events"], check=False
        ).stdout
        assert '"kind":"sample"' in said
    for path in ("reload", "flush", "reregister", "resume"):
        assert _ask(host, "POST", f"/v1/{path}", user=MEMBER)[0] == 403, path
        assert _ask(host, "POST", f"/v1/{path}")[0] in (200, 202), path
    dio.wait_active(host, within_s=10)
    assert _ask(host, "POST", "/v1/pause", '{"for_s": 5}')[0] == 200
    assert _ask(host, "POST", "/v1/log-level", '{"level": "info"}')[0] == 200
    status, _, body = _ask(host, "POST", "/v1/report/event", '{"type": "e2e.told"}', user=MEMBER)
    assert status == 202 and json.loads(body)["accepted"] is True
    assert _ask(host, "POST", "/v1/report/metrics", '{"metrics": {"m": 1}}', user=MEMBER)[0] == 202
    for method, path, expected in (
        ("GET", "/", 404),
        ("DELETE", "/v1/status", 405),
        ("GET", "/v1/flush", 405),
    ):
        status, kind, body = _ask(host, method, path)
        assert (status, kind) == (expected, "application/problem+json")
        assert json.loads(body)["type"].startswith("urn:dio:problem:")


def test_events_and_reports(make_host: MakeHost) -> None:
    """A follower sees samples and states; what a member reports comes to the nerve center with its uid."""
    host = _watched(make_host)
    said = host.run(f"timeout 8 {MEMBER} dioctl events --follow --json || true")
    kinds = [json.loads(line)["kind"] for line in said.splitlines()]
    assert "sample" in kinds and "delivery" in kinds
    host.run(f"timeout 4 dioctl events | head -1 | grep -q {time.gmtime().tm_year}")
    uid = int(host.run("id -u member"))
    assert _ctl(host, "report event backup.finished '42 GiB' --data '{\"s\": 7}'", MEMBER)[0] == 0
    assert _ctl(host, "report metrics queue=3 lag=0.5", MEMBER)[0] == 0
    dio.wait_acknowledged(host)
    stored = json.loads(host.run("python3 -", stdin=_STORED))
    assert [
        "custom_event",
        {"uid": uid, "type": "backup.finished", "message": "42 GiB", "data": {"s": 7}},
    ] in stored
    assert ["custom_metrics", {"uid": uid, "metrics": {"queue": 3.0, "lag": 0.5}}] in stored
    code, _, error = _ctl(host, "report event Not-A-Type", MEMBER)
    assert code == 1 and '"type" must be' in error
    said = host.run(f"{MEMBER} python3 -", stdin=_FLOOD, timeout_s=60)
    assert "HTTP/1.1 429" in said and "Retry-After: 1" in said and "too quickly" in said, said


def test_in_every_state(make_host: MakeHost) -> None:
    """Not enrolled, stopped, waiting, failing: dioctl says which and why, and starts nothing."""
    host = make_host(
        "alpha",
        files={**FAST, "/etc/dio-agent/agent.toml.d/30-short.toml": "[startup]\nready_within_s = 4\n"},
    )
    token = "/etc/dio-agent/enrollment-token"
    host.run(f"mv {token} /root/token")
    for _ in range(2):  # before and after a start that was skipped
        code, _, error = _ctl(host, "status")
        assert code == 3 and "not enrolled" in error and "dioctl enroll URL" in error, error
        host.run(f"systemctl start {dio.AGENT}")
    host.run(f"mv /root/token {token}")
    host.run("useradd --groups dio member; systemctl daemon-reload")

    host.run(f"systemctl start {dio.CENTER} && systemctl start {dio.AGENT} && systemctl stop {dio.AGENT}")
    for user in ("", MEMBER, NOBODY):
        code, _, error = _ctl(host, "status", user)
        assert code == 3 and "systemctl start dio-agent" in error and "no agent answers" in error, error
    code, text, _ = _ctl(host, "health --json")
    assert code == 3 and json.loads(text)["health"] == "unknown"
    assert "The agent is not running: systemctl start dio-agent" in _ctl(host, "health")[1]
    host.run(f"systemctl mask {dio.AGENT}")
    code, _, error = _ctl(host, "status")
    assert code == 3 and "systemctl unmask dio-agent" in error, error
    host.run(f"systemctl unmask {dio.AGENT}")
    assert host.prop(dio.AGENT, "ActiveState") == "inactive"

    host.run(f"systemctl stop {dio.CENTER}")
    start = host.start(f"systemctl start {dio.AGENT}")
    wait_for("it answers", lambda: _ctl(host, "status")[0] == 0, within_s=10)
    document = dio.status(host)
    assert (
        document["state"] == "waiting"
        and document["error_kind"] == "refused"
        and document["next_attempt_in_s"]
    )
    assert _ctl(host, "health")[0] == 1
    code, text, _ = _ctl(host, "status")
    assert "Reason:" in text and "connection refused" in text
    start.wait(20)

    # It gives up and is started again every few seconds: dioctl bridges the moments without a socket.
    for _ in range(12):
        code, text, error = _ctl(host, "status")
        assert code == 0, error
    host.write("/etc/dio-agent/agent.toml.d/40-bad.toml", "[agent]\ninterval_s = 0\n")
    wait_for("it has failed", lambda: host.prop(dio.AGENT, "ActiveState") == "failed", within_s=20)
    code, _, error = _ctl(host, "status")
    assert code == 3 and "exit code 78" in error and "interval_s" in error and "journalctl" in error, error
    code, _, error = _ctl(host, "config check")
    assert code == 78 and "40-bad.toml:2" in error
    assert host.prop(dio.AGENT, "ActiveState") == "failed"


def test_offline_and_a_restart(make_host: MakeHost) -> None:
    """Critical for monitoring while offline; a restart is bridged."""
    host = _watched(make_host)
    host.run(f"systemctl stop {dio.CENTER}")
    wait_for("critical", lambda: _ctl(host, "health")[0] == 2, within_s=40)
    assert _ctl(host, "health")[1].startswith("CRITICAL - offline: connection refused")
    code, _, error = _ctl(host, "flush")
    assert code == 1 and "records still wait" in error and "refused" in error
    host.run(f"systemctl start {dio.CENTER}")
    wait_for("well again", lambda: _ctl(host, "health")[0] == 0, within_s=30)
    restart = host.start(f"systemctl restart {dio.AGENT}")
    while restart.poll() is None:
        code, _, error = _ctl(host, "status")
        assert code == 0, error


def test_bundle_without_secrets(make_host: MakeHost) -> None:
    """One archive, for its owner only, without token and credential."""
    host = _watched(make_host)
    code, text, error = _ctl(host, "debug bundle --json --output /root/bundle.tar.gz")
    assert (code, error) == (0, "") and json.loads(text) == {"path": "/root/bundle.tar.gz"}
    assert host.run("stat -c %a /root/bundle.tar.gz").strip() == "600"
    packed = bytes.fromhex(host.run("od -An -v -tx1 /root/bundle.tar.gz").replace(" ", "").replace("\n", ""))
    secrets = [host.run("cat /etc/dio-nerve-center/enrollment-token").strip()]
    secrets.append(json.loads(host.run("cat /var/lib/dio-agent/identity.json"))["credential"])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        parts = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            parts[member.name.partition("/")[2]] = file.read().decode(errors="replace")
    assert {"agent/status.json", "host/journal.txt", "host/systemctl-status.txt", "agent/metrics.txt"} <= set(
        parts
    )
    assert json.loads(parts["agent/status.json"])["state"] == "active"
    assert "Successfully registered agent" in parts["host/journal.txt"]
    for name, text in parts.items():
        assert not any(secret in text for secret in secrets), name
    assert _ctl(host, "debug bundle --output /root/bundle.tar.gz")[0] == 1  # never over a file that is there


def test_what_the_package_brings(make_host: MakeHost) -> None:
    """Completion and manual page are where shells and man look for them."""
    host = make_host("alpha")
    for program, begun, completed in (("dioctl", "he", "health"), ("nervectl", "au", "audit")):
        for path in (
            f"/usr/share/bash-completion/completions/{program}.bash",
            f"/usr/share/zsh/vendor-completions/_{program}",
            f"/usr/share/fish/vendor_completions.d/{program}.fish",
        ):
            assert host.exists(path), path
        said = host.run(
            f"bash -c 'source /usr/share/bash-completion/completions/{program}.bash;"
            f" COMP_WORDS=({program} {begun}); COMP_CWORD=1; _{program}; echo ${{COMPREPLY[@]}}'"
        )
        assert said.strip() == completed
    assert "dioctl.1" in host.run("dpkg -L dio-agent")
    assert "argcomplete" not in host.run("dpkg-query -W -f '${Depends}' dio-agent")


@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_a_terminal_of_80_columns(make_host: MakeHost) -> None:
    """What is shown on a terminal fits it and loses nothing; a pipe gets the same words, without colours."""
    host = _watched(make_host)
    host.run("dioctl change begin --for 5m --reason 'new disk'; dioctl pause 5m --reason 'new disk'")
    for command in ("status", "spool", "threats", "config show", "rules list", "top --once"):
        shown = host.run(f"TERM=xterm script -qec 'stty cols 80; dioctl {command}' /dev/null").replace(
            "\r", ""
        )
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        assert max(len(line) for line in plain.splitlines()) <= 80, plain
        piped = host.run(f"dioctl {command}")
        assert "\x1b" not in piped and ("\x1b[32mactive" in shown) == (command in ("status", "top --once"))
        if command in ("config show", "rules list"):
            assert sorted(plain.split()) == sorted(piped.split())
    status = host.run("dioctl status")
    assert "Change window:     until " in status and status.count("new disk") == 2, status
    assert "Open threats:" in status and "reporting_paused" not in status
    assert "\x1b" not in host.run("NO_COLOR=1 TERM=xterm script -qec 'dioctl status' /dev/null")
