"""The journal, read by program and by eye: fields, priorities, explanations, and whose entry it is to the last line."""

from __future__ import annotations

import json
import re
from typing import Any

from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host

FAST = {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n"}
BROKEN = {"/etc/dio-agent/agent.toml.d/90-broken.toml": "[agent]\ninterval_s = 0\n"}
# Asks the control socket for a line in the journal, argv[1] times.
CHATTER = """
import socket, sys
body = b'{"level": "info"}'
head = b"POST /v1/log-level HTTP/1.1\\r\\nHost: dio\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n"
for _ in range(int(sys.argv[1])):
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(10)
        end.connect("/run/dio-agent/agent.sock")
        end.sendall(head % len(body) + b"Connection: close\\r\\n\\r\\n" + body)
        answer = end.recv(4096)
        assert b" 200 " in answer, answer
"""


def ask(host: Host, *matches: str) -> list[dict[str, Any]]:
    """What `journalctl MATCHES` finds."""
    printed = host.run(f"journalctl -q -b -o json {' '.join(matches)}", timeout_s=30)
    return [json.loads(line) for line in printed.splitlines()]


def event(host: Host, name: str) -> dict[str, Any]:
    """The last entry about an event."""
    found = ask(host, f"_SYSTEMD_UNIT={dio.AGENT}", f"DIO_EVENT={name}")
    assert found, f"no entry {name}: {host.messages(dio.AGENT)}"
    return found[-1]


def test_an_outage_read_by_program(make_host: MakeHost) -> None:
    """Every line has its fields; a person finds the outage by state and has it explained."""
    host = make_host("alpha", files=FAST)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()
    registered = event(host, "registered")
    assert registered["MESSAGE"] == f"Successfully registered agent: {agent['id']}"
    assert registered["MESSAGE_ID"] == "1c81290499474722ae40463533888129"
    assert (registered["DIO_STATE"], registered["DIO_ATTEMPT"]) == ("active", "1")
    assert dio.wrong(host) == []
    assert ask(host, "DIO_STATE=offline") == []

    host.run(f"systemctl stop {dio.CENTER}")
    dio.wait_line(host, "Cannot re-register yet", within_s=40)
    failed = event(host, "report_failed")
    assert (failed["PRIORITY"], failed["DIO_FAILURES"], failed["DIO_ERROR_KIND"]) == ("4", "5", "refused")
    assert (failed["DIO_STATE"], failed["DIO_AGENT_ID"]) == ("offline", agent["id"])
    assert int(failed["DIO_RECORDS"]) > 0
    offline = [entry["MESSAGE"] for entry in ask(host, "DIO_STATE=offline")]
    assert "Too many consecutive failures, attempting to re-register..." in offline, offline
    assert not any(text.startswith("Successfully registered") for text in offline), offline
    explained = host.run(f"journalctl -q -b --no-pager -x -u {dio.AGENT}")
    assert "Subject: The agent is offline" in explained
    assert "Documentation: man:dioctl(1)" in explained
    status = host.run(f"systemctl --no-pager --full status {dio.AGENT}")
    assert re.search(r"dio-agent\[\d+\]: Cannot re-register yet", status), status

    host.run(f"systemctl start {dio.CENTER}")
    dio.wait_line(host, "Resumed monitoring", within_s=30)
    back = event(host, "reregistered")
    assert (back["PRIORITY"], back["DIO_STATE"]) == ("6", "active")
    assert 0 < float(back["DIO_DURATION_S"]) < 60
    host.run(f"systemctl stop {dio.AGENT}")
    assert event(host, "stopped")["DIO_STATE"] == "stopping"

    entries = host.journal(dio.AGENT)
    assert {entry["_TRANSPORT"] for entry in entries} == {"journal"}
    assert {entry["SYSLOG_IDENTIFIER"] for entry in entries} == {"dio-agent"}
    assert all(entry["DIO_AGENT_ID"] == agent["id"] for entry in entries[1:])
    assert all("MESSAGE_ID" in entry for entry in entries), [
        e["MESSAGE"] for e in entries if "MESSAGE_ID" not in e
    ]
    # systemd's own lines about the unit are no warnings either: only the outage is.
    warnings = ask(host, f"_SYSTEMD_UNIT={dio.AGENT}", "-p warning")
    said = {entry["DIO_EVENT"] for entry in warnings if not entry["DIO_EVENT"].startswith("threat_")}
    assert said == {"report_failed", "offline", "still_offline"}


def test_the_last_lines_of_a_process_are_the_unit_s(make_host: MakeHost) -> None:
    """A process that says why it ends, and ends at once, is heard, however often."""
    host = make_host("alpha", files=BROKEN)
    for _ in range(10):
        host.run(f"systemctl start {dio.AGENT}", check=False, timeout_s=20)
        assert host.prop(dio.AGENT, "ExecMainStatus") == "78"
    entries = host.journal(dio.AGENT, "-p err")
    assert len(entries) == 20, [entry["MESSAGE"] for entry in entries]
    assert {entry["DIO_EVENT"] for entry in entries} == {"bad_configuration"}
    assert {entry["DIO_EXIT_CODE"] for entry in entries} == {"78"}
    assert "Subject: The configuration cannot be used" in host.run(f"journalctl -x --no-pager -u {dio.AGENT}")


def test_journald_does_not_read(make_host: MakeHost) -> None:
    """Without journald's socket lines go to standard error; a journald that stands still holds nobody up."""
    host = make_host("alpha", files=FAST)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    host.run("mv /run/systemd/journal/socket /run/systemd/journal/aside")
    host.run(f"systemctl reload {dio.AGENT}")
    host.run("mv /run/systemd/journal/aside /run/systemd/journal/socket")
    dio.wait_line(host, "Configuration reloaded", within_s=5)
    ours = host.journal(dio.AGENT, "SYSLOG_IDENTIFIER=dio-agent")  # not dioctl's, which says it, too
    (line,) = [entry for entry in ours if entry["MESSAGE"] == "Configuration reloaded"]
    assert (line["_TRANSPORT"], line["PRIORITY"]) == ("stdout", "6")
    host.run(f"systemctl reload {dio.AGENT}")
    wait_for("a structured entry", lambda: ask(host, "DIO_EVENT=reloaded"), within_s=5)

    pid = host.prop(dio.AGENT, "MainPID")
    before = dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"]
    host.run("kill -STOP $(systemctl show -p MainPID --value systemd-journald)")
    try:
        # More than the socket's queue holds: what does not fit goes to standard error.
        host.run("python3 - 3000", stdin=CHATTER, timeout_s=60)
        after = dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"]
    finally:
        host.run("kill -CONT $(systemctl show -p MainPID --value systemd-journald)")
    assert after > before + 1, "it went on sampling and reporting"
    host.run("python3 - 1", stdin=CHATTER)

    def all_there() -> bool:
        return sum(text.startswith("Log level") for text in host.messages(dio.AGENT)) == 3001

    wait_for("every line", all_there, within_s=10, every_s=1)
    assert host.prop(dio.AGENT, "MainPID") == pid


def test_the_catalog_comes_and_goes(make_host: MakeHost) -> None:
    """dpkg's trigger of systemd takes up the explanations, and drops them."""
    host = make_host("alpha")
    listed = host.run("journalctl --list-catalog")
    assert len(re.findall(r"^\w+ DIO: ", listed, re.MULTILINE)) == len(
        re.findall(r"^-- ", host.run("cat /usr/lib/systemd/catalog/dio-agent.catalog"), re.MULTILINE)
    )
    host.run("dpkg --purge dio-agent")
    assert " DIO: " not in host.run("journalctl --list-catalog")
