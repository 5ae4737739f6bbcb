"""nervectl threats."""

from __future__ import annotations

import json

from nerve_center.store import threats
from tests.unit.center.harness import CenterUnderTest
from tests.unit.center.test_nervectl import run

FOUND = {"type": "cron_changed", "severity": "medium", "fingerprint": "c" * 32, "state": "open"}
WORDS = {
    "title": "Scheduled job added",
    "subject": "/etc/cron.d/spreads",
    "summary": "A new scheduled job: /etc/cron.d/\x1b[31mspreads",
    "why": "It is run again and again.",
    "next": "Read the diff.",
    "evidence": {"path": "/etc/cron.d/spreads"},
}


def test_what_is_wrong_on_the_fleet(center: CenterUnderTest) -> None:
    assert run(center, "threats").output == "There is no open threat.\n"
    agent = center.agent()
    agent.register()
    agent.deliver(
        agent.record(1, "threat", data=FOUND | WORDS),
        agent.record(
            2, "threat", data=FOUND | {"fingerprint": "d" * 32, "severity": "low", "state": "cleared"}
        ),
        stream="events",
    )
    outbreak = (
        FOUND | WORDS | {"type": "outbreak", "severity": "high", "evidence": {"hosts": ["web01", "web02"]}}
    )
    center.center.writer.submit(
        lambda connection: threats.apply_own(connection, None, center.clock.now_us(), outbreak)
    )

    listed = run(center, "threats")
    assert listed.exit_code == 0 and "\x1b" not in listed.output
    head, *rows = [line.split(None, 5) for line in listed.output.splitlines()]
    assert head == ["ID", "SEVERITY", "STATE", "SINCE", "HOST", "WHAT"]
    assert [(row[1], row[2]) for row in rows] == [("high", "open"), ("medium", "open")]
    assert "the fleet" in listed.output and "host.example" in listed.output
    assert len(json.loads(run(center, "threats", "--all", "--json").output)["threats"]) == 3
    of_host = json.loads(run(center, "threats", "--host", "host.example", "--json").output)["threats"]
    assert [(each["hostname"], each["subject"]) for each in of_host] == [
        ("host.example", "/etc/cron.d/spreads")
    ]
    assert "more than these 1" in run(center, "threats", "--limit", "1").output

    shown = run(center, "threats", rows[0][0])
    assert shown.exit_code == 0 and "\x1b" not in shown.output
    for words in (
        "high, open",
        "on the fleet",
        "type outbreak, about /etc/cron.d/spreads",
        "Why it matters: It is run",
        "Next: Read",
        "web02",
    ):
        assert words in shown.output
    assert json.loads(run(center, "threats", rows[0][0], "--json").output)["evidence"] == outbreak["evidence"]
    missing = run(center, "threats", "4711")
    assert missing.exit_code == 1 and "no threat 4711" in missing.output
