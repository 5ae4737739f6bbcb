"""What people are told, by a real keeper through Apprise to a real webhook.

A threat that opens, escalates and clears, from the report to the message; a webhook that refuses; a keeper that is
killed while it sends: a message comes again, with the id that it had.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import update

from nerve_center.alerts import letters
from nerve_center.alerts.routes import load
from nerve_center.clock import SystemClock
from nerve_center.store import migrate, tables
from nerve_center.store.engine import begin_writing, reading, reading_engine, writing_engine
from nerve_center.store.steady import Steady
from tests.browser.fleet import Host
from tests.support.processes import RealCenter, Service, wait_for

MESSAGES = 3


class Webhook(ThreadingHTTPServer):
    """Keeps what came and the ids; `silent`, it takes a message and never answers; `refusing`, it answers with 503."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ids: list[str] = []
        self.taken: list[dict[str, str]] = []
        self.silent = True
        self.refusing = False
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = re.search(r"Id of this notification: ([0-9a-f]{32})", body["message"])
        assert found is not None
        self.server.ids.append(found[1])
        if self.server.silent:
            self.server.over.wait(90)
            return
        if not self.server.refusing:
            self.server.taken.append(body)
        self.send_response(503 if self.server.refusing else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    server = Webhook()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_message_outlives_the_keeper_that_was_sending_it(tmp_path: Path, webhook: Webhook) -> None:
    database, file, config = tmp_path / "center.db", tmp_path / "notify.toml", tmp_path / "center.toml"
    file.touch(mode=0o600)
    file.write_text(
        f'[[route]]\nname = "ops"\nurls = ["json://127.0.0.1:{webhook.server_port}/?cto=80&rto=80"]\n'
    )
    config.write_text(f'[database]\npath = "{database}"\n[keeper]\nlease_s = 4\n[notify]\nfile = "{file}"\n')
    migrate.prepare(database, SystemClock())
    (route,) = load(file).routes
    engine = reading_engine(database)
    writing = writing_engine(database)
    first = Service(tmp_path, "first", "nerve_center.keeper.main", config)
    second = Service(tmp_path, "second", "nerve_center.keeper.main", config)
    try:
        first.start()
        first.wait_ready()
        now_us = Steady(engine, SystemClock()).now_us()
        with writing.connect() as connection:
            begin_writing(connection)
            for _ in range(MESSAGES):
                letters.put_trial(connection, route, SystemClock().now_us(), now_us)
            connection.commit()
        wait_for(lambda: webhook.ids, "the first message is on its way")
        first.kill()
        (taken,) = webhook.ids
        webhook.silent = False
        with (
            writing.connect() as connection
        ):  # the claim of whoever is dead ends after a minute: it has passed
            begin_writing(connection)
            connection.execute(update(tables.outbox).values(claimed_until_us=None))
            connection.commit()
        second.start()

        def all_sent() -> bool:
            with reading(engine) as connection:
                return all(row.done_us is not None for row in connection.execute(tables.outbox.select()))

        wait_for(all_sent, "every message was taken")
        with reading(engine) as connection:
            written = [row.id for row in connection.execute(tables.outbox.select())]
        assert sorted(webhook.ids) == sorted([*written, taken]), "each once, the one in flight twice"
    finally:
        first.close()
        second.close()
        engine.dispose()
        writing.dispose()


def test_a_threat_is_told_from_its_opening_to_its_end(tmp_path: Path, webhook: Webhook) -> None:
    notify = tmp_path / "notify.toml"
    notify.touch(mode=0o600)
    notify.write_text(
        f'group_s = 0\ncenter_url = "https://center.example"\n'
        f'[[route]]\nname = "ops"\nurls = ["json://127.0.0.1:{webhook.server_port}/"]\ntypes = ["disk_full"]\n'
    )
    center = RealCenter(tmp_path, f'[keeper]\nlease_s = 4\n[notify]\nfile = "{notify}"\n')
    keeper = Service(tmp_path, "keeper", "nerve_center.keeper.main", center.config)
    webhook.silent, webhook.refusing = False, True
    data = {
        "type": "disk_full",
        "severity": "medium",
        "fingerprint": "disk_full:/srv",
        "state": "open",
        "title": "A filesystem is full",
        "summary": "/srv is 91 % full.",
        "why": "Programs fail.",
        "next": "du -xh /srv",
    }

    def told(mark: str, number: int) -> str:
        """The message of this number that was taken, and that it is so marked."""
        wait_for(lambda: len(webhook.taken) >= number, f"message {number}, {mark}")
        assert len(webhook.taken) == number
        message = webhook.taken[-1]
        assert message["title"] == f"[DIO {mark}] A filesystem is full: db1.example", message
        return message["message"]

    try:
        center.start()
        center.healthy()
        keeper.start()
        keeper.wait_ready()
        host = Host(center.url, center.token_file.read_text(), "db1.example", {"role": "db"}, 20.0)
        host.tell("events", "threat", (time.time(), data))
        wait_for(lambda: webhook.ids, "the message is sent, and refused")
        webhook.refusing = False
        opened = told("MEDIUM", 1)
        (threat,) = center.get("/api/v1/threats")["threats"]
        link = f"https://center.example/threats/{threat['id']}"
        for part in ("Host: db1.example", "/srv is 91 % full.", "Programs fail.", "du -xh /srv", link):
            assert part in opened
        assert set(webhook.ids) == {webhook.ids[0]}, "a refused message comes again as the one that it was"
        host.tell("events", "threat", (time.time(), {**data, "severity": "critical"}))
        worse = told("CRITICAL", 2)
        assert "Worse now:" in worse and link in worse
        host.tell("events", "threat", (time.time(), {**data, "state": "cleared"}))
        assert "Over since:" in told("OVER", 3)
        assert len(set(webhook.ids)) == 3
        assert "json://" not in keeper.log(), "addresses are secrets"
    finally:
        keeper.close()
        center.close()
