"""What people are told and shown: an agent's threats on a host, all the way to a webhook and to the pages."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import MakeHost, Note
from harness import dio, pages
from harness.commands import wait_for
from harness.host import Host

URL = "https://center.example"
RECEIVER = """
import http.server, json, os

class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = 503 if os.path.exists("/srv/refuse") else 200
        with open("/srv/messages" + self.path.strip("/"), "a") as file:
            file.write(json.dumps({"status": status, "title": body["title"], "text": body["message"]}) + "\\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Webhook).serve_forever()
"""
NOTIFY = f"""
offline_after_s = 4
group_s = 2
center_url = "{URL}"

[[route]]
name = "ops"
urls = ["json://127.0.0.1:9000/"]
types = ["crowded", "offline"]

[[route]]
name = "disks"
urls = ["json://127.0.0.1:9000/-of-disks"]
types = ["disk_fills"]
"""
RULE = """
[crowded]
title = "Many processes"
value = "processes.count"
enter = { medium = 150, high = 250 }
leave = { medium = 120, high = 220 }
leave_for_s = 4
summary = "{value:.0f} processes run."
why = "More of them, and none can start any more."
next = "Which ones: ps -ef"
"""
FILES = {
    "/etc/dio-nerve-center/notify.toml": NOTIFY,
    "/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 2\n",
    "/etc/dio-agent/agent.toml.d/30-forecast.toml": "[detect]\nforecast_after_s = 60\n",
    "/etc/dio-agent/rules.d/crowded.toml": RULE,
    "/etc/dio-agent/rules.d/disks.toml": "[disk_fills]\nfor_s = 2\n",
    "/srv/receiver.py": RECEIVER,
}
ID = re.compile(r"Id of this notification: ([0-9a-f]{32})")
HOURS = re.compile(r"/srv/small is full in ([0-9.]+) hours")
WITHIN_S = 120.0
"""A guard against hanging."""


def messages(host: Host, route: str = "") -> list[dict[str, Any]]:
    """What the webhook was sent, in its order, with the `status` that it answered."""
    printed = host.run(f"cat /srv/messages{route} 2> /dev/null || true")
    return [json.loads(line) for line in printed.splitlines()]


def crowd(host: Host, number: int) -> None:
    """Let so many more processes run."""
    host.run(
        f"systemd-run --quiet --unit=crowd-{number} sh -c"
        f" 'for i in $(seq {number}); do sleep 900 & done; wait'"
    )


def fill_a_disk(host: Host) -> None:
    """Let a filesystem of 100 MiB fill, from three quarters on, so that it is full in five hours."""
    host.run(
        "mkdir /srv/small && mount -t tmpfs -o size=100m tmpfs /srv/small && head -c 75M /dev/zero > /srv/small/log"
    )
    writer = "while sleep 3; do head -c 4096 /dev/zero >> /srv/small/log; done"
    host.run(f"systemd-run --quiet --unit=writer sh -c '{writer}'")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_threat_and_an_absence_are_told_and_shown(make_host: MakeHost, note: Note) -> None:
    host = make_host("alpha", files=FILES)
    host.run(
        "chgrp dio-nerve-center /etc/dio-nerve-center/notify.toml; chmod 0640 /etc/dio-nerve-center/notify.toml"
    )
    host.run("systemd-run --quiet --unit=receiver python3 /srv/receiver.py")
    host.run(f"systemctl start {dio.CENTER} {dio.KEEPER} {dio.AGENT}")
    api = dio.Api(host)
    told: list[dict[str, Any]] = []

    def taken(mark: str) -> dict[str, Any]:
        """The next message that was taken; its title must begin with `[DIO MARK]`."""

        def found() -> list[dict[str, Any]]:
            return [each for each in messages(host) if each["status"] == 200][len(told) :]

        (message, *more) = wait_for(f"the message {mark}", found, within_s=WITHIN_S, every_s=0.5)
        told.append(message)
        assert more == [] and message["title"].startswith(f"[DIO {mark}] "), (message, more)
        return message

    assert "sent" in host.run("nervectl notify test ops")
    (trial,) = messages(host)
    told.append(trial)
    assert trial["title"] == "DIO: test of ops" and f"{URL}/" in trial["text"]

    # It opens while the webhook takes nothing: the same message comes again until it does.
    host.run("touch /srv/refuse")
    crowd(host, 160)
    refused = wait_for("it is sent", lambda: messages(host)[1:], within_s=WITHIN_S, every_s=0.5)
    host.run("rm /srv/refuse")
    opened = taken("MEDIUM")
    assert ID.search(opened["text"])[1] == ID.search(refused[0]["text"])[1]  # type: ignore[index]  # both have one
    (threat,) = api.get("threats?type=crowded&state=open")["threats"]
    assert opened["title"] == "[DIO MEDIUM] Many processes: alpha"
    for part in (
        "Host: alpha",
        "processes run.",
        "none can start",
        "ps -ef",
        f"{URL}/threats/{threat['id']}",
    ):
        assert part in opened["text"], opened["text"]

    crowd(host, 120)
    worse = taken("HIGH")
    assert "Worse now:" in worse["text"] and f"{URL}/threats/{threat['id']}" in worse["text"]
    host.run("systemctl stop crowd-160 crowd-120")
    over = taken("OVER")
    assert "Over since:" in over["text"] and "Many processes" in over["text"]

    # Killed and kept from coming back, it is offline; back again, that is over.
    host.run(f"systemctl mask --quiet --runtime {dio.AGENT}; systemctl kill -s KILL {dio.AGENT}")
    assert "alpha" in taken("HIGH")["title"]
    host.run(f"systemctl unmask --quiet --runtime {dio.AGENT}; systemctl reset-failed {dio.AGENT}")
    host.run(f"systemctl start {dio.AGENT}")
    assert "alpha" in taken("OVER")["title"]
    fill_a_disk(host)

    # While somebody works on it nobody is told; what is left is told afterwards.
    said = host.run(f"nervectl silence add --host {threat['agent_id']} --until 1h --reason 'more memory'")
    assert "1: everything on host alpha is silenced until" in said
    crowd(host, 160)
    wait_for("silenced", lambda: api.get("threats?type=crowded&state=open")["threats"], within_s=WITHIN_S)
    host.run("sleep 10")
    assert len([each for each in messages(host) if each["status"] == 200]) == len(told)
    assert "more memory" in host.run("nervectl silence list")
    assert "no longer silenced" in host.run("nervectl silence remove 1")
    assert "Many processes" in taken("MEDIUM")["title"]
    host.run("systemctl stop crowd-160")
    taken("OVER")

    ids = [found[1] for each in told if (found := ID.search(each["text"]))]
    assert len(set(ids)) == len(told), "each message has an id of its own"
    note("messages, refused ones included", len(messages(host)))
    assert "json://" not in "\n".join(host.messages(dio.KEEPER)), "addresses are secrets"

    # Every page, with all that happened here and hosts of every kind beside it.
    host.run("nervectl user add ann --role admin --password-file -", stdin="correct horse battery\n")
    assert pages.faults(host, "ann") == {}

    # Meanwhile the agent has seen enough of the disk to say when it will be full.
    (full,) = wait_for("a forecast is told", lambda: messages(host, "-of-disks"), within_s=WITHIN_S)
    assert full["title"] == "[DIO MEDIUM] Filesystem fills up: alpha"
    assert 3 < float(HOURS.search(full["text"])[1]) < 8, full["text"]  # type: ignore[index]  # it is there
    assert dio.wrong(host, dio.CENTER) == []
