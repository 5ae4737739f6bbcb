"""A real keeper that is killed while it sends: the message comes again, with the id that it had."""

from __future__ import annotations

import json
import re
import threading
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
from tests.support.processes import Service, wait_for

MESSAGES = 3


class Webhook(ThreadingHTTPServer):
    """Keeps the ids that came; while `silent`, it takes a message and never answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ids: list[str] = []
        self.silent = True
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
        self.send_response(200)
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
