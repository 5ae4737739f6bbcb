"""Who is told what, when, and that it arrives."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nerve_center.alerts import sender
from nerve_center.alerts.message import Message
from nerve_center.alerts.routes import Target
from nerve_center.nervectl import main
from nerve_center.store import outbox
from nerve_center.store.engine import reading
from tests.unit.center.harness import CenterUnderTest
from tests.unit.center.telling import OPS, Telling, hosts


@pytest.fixture
def telling(center: CenterUnderTest, tmp_path: Path) -> Telling:
    return Telling(center, tmp_path)


def titles(messages: list[Message]) -> list[str]:
    return [message.title for message in messages]


def test_a_threat_opens_worsens_and_is_over(telling: Telling) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.opened(
        agent, severity="medium", summary="97 % of / is used", why="Programs fail.", next="Look at /var."
    )
    (message,) = telling.later(60, agent)
    assert message.title == "[DIO MEDIUM] Disk is full: host0"
    for part in ("Host: host0", "97 % of / is used", "Programs fail.", "Look at /var.", "Since: 2026-01-01T"):
        assert part in message.body
    assert telling.later(60, agent) == []
    telling.opened(agent, severity="critical")
    assert titles(telling.later(60, agent)) == ["[DIO CRITICAL] Disk is full: host0"]
    telling.cleared(agent, severity="critical")
    (message,) = telling.later(60, agent)
    assert (message.title, message.severity) == ("[DIO OVER] Disk is full: host0", "over")
    assert telling.later(60, agent) == []
    telling.opened(agent)
    assert titles(telling.later(60, agent)) == ["[DIO HIGH] Disk is full: host0"]


def test_messages_link_to_what_they_are_about(telling: Telling) -> None:
    telling.write('center_url = "https://center.example:8443/"\n' + OPS)
    first, second = hosts(telling.center, 2)
    telling.opened(first)
    (message,) = telling.later(60, first, second)
    (threat,) = telling.center.get("/api/v1/threats").json["threats"]
    assert f"\nhttps://center.example:8443/threats/{threat['id']}" in message.body
    telling.cleared(first)
    assert f"/threats/{threat['id']}" in telling.later(60, first, second)[0].body
    telling.opened(first)
    telling.opened(second)
    (message,) = telling.later(60, first, second)
    assert message.body.endswith("\nhttps://center.example:8443/threats")


def test_what_is_over_before_it_was_told_bothers_nobody(telling: Telling) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.opened(agent)
    telling.later(14, agent)
    telling.cleared(agent)
    assert telling.later(100, agent) == []


def test_what_happens_together_is_one_message(telling: Telling) -> None:
    agents = hosts(telling.center, 4)
    for agent in agents[:3]:
        telling.opened(agent)
    telling.opened(agents[3], type="login", fingerprint="l", title="Logins fail", severity="medium")
    (message,) = telling.later(60, *agents)
    assert message.title == "[DIO HIGH] Disk is full: 3 hosts and 1 more"
    assert "3 hosts: host0, host1, host2" in message.body
    assert "MEDIUM: Logins fail" in message.body


def test_several_of_a_kind_on_one_host_are_all_named(telling: Telling) -> None:
    """As three services that fail together: one is not to stand for the others, and a host is counted once."""
    first, second = hosts(telling.center, 2)
    for number in range(8):
        telling.opened(first, fingerprint=str(number), summary=f"unit{number}.service has failed.")
    (message,) = telling.later(60, first)
    assert message.title == "[DIO HIGH] Disk is full: host0"
    assert "\n8 on host0\n" in message.body
    assert (
        all(f"unit{number}.service" in message.body for number in range(6))
        and "… and 2 more." in message.body
    )
    for number in range(2):
        telling.opened(second, fingerprint=str(number), summary=f"unit{number}.service has failed.")
    telling.opened(first, fingerprint="9", summary="unit9.service has failed.")
    (message,) = telling.later(60, first, second)
    assert message.title == "[DIO HIGH] Disk is full: 2 hosts"
    assert "\n3 on 2 hosts: host1, host0\n" in message.body and "unit9.service" in message.body


def test_a_host_that_is_offline_and_back(telling: Telling) -> None:
    *others, lost = hosts(telling.center, 4)
    assert titles(telling.later(300, *others)) == ["[DIO HIGH] Host does not report: host3"]
    assert titles(telling.later(60, *others, lost)) == ["[DIO OVER] Host does not report: host3"]


def test_many_hosts_at_once_are_one_message_and_the_center_comes_first_to_mind(telling: Telling) -> None:
    agents = hosts(telling.center, 8)
    (message,) = telling.later(300, *agents[:2])
    assert message.title == "[DIO CRITICAL] Many hosts fell silent at once: several hosts"
    assert "own network first" in message.body


def test_offline_silences_what_follows_from_it(telling: Telling) -> None:
    *others, lost = hosts(telling.center, 4)
    telling.write("group_s = 600\n" + OPS)
    telling.opened(lost)
    telling.later(200, *others)
    telling.write("group_s = 0\n" + OPS)
    assert titles(telling.later(30, *others)) == ["[DIO HIGH] Host does not report: host3"]
    told = telling.later(30, *others, lost)
    assert titles(told) == ["[DIO HIGH] Disk is full: host3"], "what is still there is told afterwards"


def test_an_outbreak_is_told_in_place_of_its_parts(telling: Telling) -> None:
    agents = hosts(telling.center, 6)
    for agent in agents:
        telling.opened(agent)
    (message,) = telling.later(60, *agents)
    assert message.title == "[DIO HIGH] Outbreak: Disk is full: several hosts"
    assert "On 6 hosts, as the nerve center sees it." in message.body and "host0, host1" in message.body


def test_a_silence_keeps_quiet_and_what_is_left_is_told_after_it(telling: Telling) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.opened(agent)
    (threat,) = telling.threats()
    telling.act(threat, "silence", scope="host", for_s=300)
    assert telling.later(280, agent) == []
    assert len(telling.later(100, agent)) == 1


def test_a_maintenance_window_is_respected(telling: Telling) -> None:
    window = '[[maintenance]]\nname = "night"\nbegin = "00:00"\nend = "00:10"\nzone = "UTC"\n'
    telling.write(OPS + window)
    (agent,) = hosts(telling.center, 1)
    telling.opened(agent)
    assert telling.later(590, agent) == []
    assert len(telling.later(70, agent)) == 1


def test_reminders_until_somebody_acknowledges(telling: Telling) -> None:
    telling.write(OPS + "remind_every_h = 0.1\n")
    (agent,) = hosts(telling.center, 1)
    telling.opened(agent)
    assert len(telling.later(60, agent)) == 1
    assert titles(telling.later(360, agent)) == ["[DIO REMINDER HIGH] Disk is full: host0"]
    (threat,) = telling.threats()
    telling.act(threat, "acknowledge")
    assert telling.later(800, agent) == []
    telling.opened(agent, severity="critical")
    assert titles(telling.later(60, agent)) == ["[DIO CRITICAL] Disk is full: host0"]


def test_routes_by_severity_label_and_type(telling: Telling) -> None:
    def route(name: str, more: str) -> str:
        return f'[[route]]\nname = "{name}"\nurls = ["json://192.0.2.1/{name}"]\n{more}\n'

    telling.write(
        route("all", 'severity = "low"')
        + route("worst", 'severity = "critical"')
        + route("web", 'labels = {role = "web"}')
        + route("logins", 'types = ["login"]\ncleared = false')
    )
    web, other = hosts(telling.center, 2)
    web.register(labels={"role": "web"})
    telling.opened(web, fingerprint="1", severity="critical")
    telling.opened(other, fingerprint="2", type="login", severity="medium")
    telling.opened(other, fingerprint="3", type="cpu", severity="low")

    def told() -> list[str]:
        found = sorted(target.url.rpartition("/")[2] for target, _, _ in telling.sent)
        telling.sent.clear()
        return found

    telling.later(60, web, other)
    assert told() == ["all", "logins", "web", "worst"]
    telling.cleared(other, fingerprint="2", type="login", severity="medium")
    telling.later(60, web, other)
    assert told() == ["all"]


def test_a_restart_neither_repeats_nor_loses_anything(telling: Telling) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.opened(agent)
    telling.later(60, agent)
    telling.opened(agent, fingerprint="disk:/srv")
    telling.trouble = "connection refused"
    telling.later(60, agent)
    telling.restart()
    telling.trouble = None
    assert titles(telling.later(60, agent)) == ["[DIO HIGH] Disk is full: host0"]
    telling.restart()
    assert telling.later(100, agent) == []


def test_what_is_not_taken_is_tried_again_with_the_same_id_and_given_up_after_a_day(
    telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.trouble = "connection refused"
    telling.opened(agent)
    telling.later(60, agent)
    delivery = telling.tasks[2]
    for _ in range(60):
        telling.center.clock.advance(1800)
        delivery.step(telling.desk)
    telling.trouble = None
    telling.center.clock.advance(3600)
    delivery.step(telling.desk)
    assert telling.sent == []
    with reading(telling.center.center.engine) as connection:
        assert outbox.counts(connection) == {"waiting": 0, "sent": 0, "failed": 1}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and "connection refused" in warnings[0]
    assert any("given up after a day" in record.getMessage() for record in caplog.records)
    telling.center.clock.advance(8 * 86400)
    delivery.step(telling.desk)
    with reading(telling.center.center.engine) as connection:
        assert sum(outbox.counts(connection).values()) == 0


def test_only_one_sender_wins_a_message_and_a_dead_one_is_followed(telling: Telling) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.trouble = "not now"
    telling.opened(agent)
    telling.later(60, agent)
    steady, writer = telling.center.center.steady, telling.center.center.writer
    telling.center.clock.advance(100)
    now_us = steady.now_us()
    with reading(telling.center.center.engine) as connection:
        (letter,) = outbox.due(connection, now_us, 10)
    assert writer.submit(lambda connection: outbox.claim(connection, letter, now_us))
    assert not writer.submit(lambda connection: outbox.claim(connection, letter, now_us))
    telling.trouble = None
    assert telling.later(49, agent) == []
    assert len(telling.later(60, agent)) == 1
    assert telling.sent[0][2] == letter.id


def test_an_address_that_is_gone_from_the_file_gets_nothing_more(telling: Telling) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.trouble = "not now"
    telling.opened(agent)
    telling.later(60, agent)
    telling.trouble = None
    telling.write("")
    assert telling.later(300, agent) == []


def test_a_bad_file_is_told_and_the_one_of_before_stays_in_force(
    telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.later(7, agent)
    telling.write(OPS + "severity = 3\n")
    telling.opened(agent)
    assert len(telling.later(60, agent)) == 1
    assert f"{telling.file}:1: severity must be one of low, medium, high, critical" in caplog.text


def test_text_of_hosts_is_tamed(telling: Telling) -> None:
    (agent,) = hosts(telling.center, 1)
    telling.opened(agent, title="\x1b[31mDisk\n\n@everyone", summary="x" * 4000, next="a\nb\r\nc")
    (message,) = telling.later(60, agent)
    assert "\n" not in message.title and message.title.isprintable()
    assert len(message.body) < 2000
    assert "a b  c" in message.body


def test_a_large_fleet_is_a_message_of_bounded_length(telling: Telling) -> None:
    agents = hosts(telling.center, 30)
    for agent in agents:
        for number in range(3):
            telling.opened(
                agent, type=f"t{number}", fingerprint=f"{agent.agent_id}{number}", title=f"Kind {number}"
            )
    for number in range(20):
        telling.opened(agents[0], type=f"u{number}", fingerprint=f"u{number}", title=f"Other {number}")
    telling.write("outbreak_hosts = 1000\n" + OPS)
    (message,) = telling.later(42, *agents)
    assert "30 hosts: host" in message.body and "and 5 more" in message.body
    assert message.body.endswith("… and 8 more.")
    assert len(message.body) < 8000


class Receiver(BaseHTTPRequestHandler):
    """A webhook: keeps what comes, answers as it is told."""

    taken: list[dict[str, Any]]
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(json.loads(body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[tuple[type[Receiver], str]]:
    handler = type("Handler", (Receiver,), {"taken": [], "status": 200})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"json://user:hidden-password@127.0.0.1:{server.server_port}/hidden-token?cto=60&rto=60"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_real_webhook_gets_it(
    webhook: tuple[type[Receiver], str], caplog: pytest.LogCaptureFixture
) -> None:
    handler, url = webhook
    message = Message("Disk is full: <b>host</b>", "line *one*\nline two", "high")
    assert sender.send(Target(url), message, "a" * 32) is None
    (taken,) = handler.taken
    assert taken["title"] == message.title
    assert taken["message"] == f"{message.body}\n\nId of this notification: {'a' * 32}"
    handler.status = 500
    why = sender.send(Target(url), message, "b" * 32)
    assert why
    for text in (why, caplog.text, repr(Target(url)), Target(url).shown):
        assert "hidden" not in text
    assert "form" in (sender.send(Target("nosuch://x"), message, "c" * 32) or "")


def run(telling: Telling, *words: str) -> Result:
    """nervectl with the file of notifications."""
    config = telling.file.with_name("center.toml")
    config.write_text(f'[notify]\nfile = "{telling.file}"\n')
    return CliRunner().invoke(main, ["--config", str(config), "notify", *words])


def test_nervectl_lists_and_tests_routes(telling: Telling, webhook: tuple[type[Receiver], str]) -> None:
    handler, url = webhook
    telling.write(
        f'[[route]]\nname = "hook"\nurls = ["{url}"]\nlabels = {{role = "web"}}\ntypes = ["offline"]\n'
    )
    listed = run(telling, "list")
    assert (listed.exit_code, "hidden" in listed.output) == (0, False)
    assert listed.output.splitlines()[1].split() == ["hook", "medium", "role=web", "offline", "json://…"]
    assert run(telling, "test", "hook").output == "json://… sent\n"
    assert handler.taken[0]["title"] == "DIO: test of hook"
    handler.status = 500
    failed = run(telling, "test", "hook")
    assert (failed.exit_code, "hidden" in failed.output) == (1, False)
    assert "1 of 1 addresses did not take it" in failed.output
    unknown = run(telling, "test", "nobody")
    assert (unknown.exit_code, "routes in" in unknown.output) == (1, True)
    telling.write("[[route]]\n")
    assert run(telling, "list").exit_code == 78
    telling.write("")
    assert "Nobody is notified" in run(telling, "list").output
