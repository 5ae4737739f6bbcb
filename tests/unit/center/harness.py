"""A real nerve center without a server: the Flask app over a real database, and a clock that tests turn.

The database is a file of SQLite or, for the same test once more, one of PostgreSQL; see `conftest`.
"""

from __future__ import annotations

import functools
import gzip
import json
import secrets
import sqlite3
import tempfile
import threading
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy.engine import Connection, make_url
from werkzeug.test import TestResponse

from nerve_center import auth, config
from nerve_center.app import create_app
from nerve_center.center import Center
from nerve_center.clock import format_time
from nerve_center.config import Config
from nerve_center.contract import Contract
from nerve_center.passwords import Cost, Passwords
from nerve_center.store import migrate, tokens
from nerve_center.store.engine import writing_engine
from nerve_center.store.place import Place
from nerve_center.store.tables import meta
from nerve_center.web import EXTENSION
from tests.support import postgresql
from tests.support.stores import ON_POSTGRESQL

TOKEN = "an-enrollment-token-of-some-length"
CHEAP = Cost(n=16, r=8, p=1)
"""Of passwords in tests: the usual cost is a fifth of a second, on purpose."""
API_TOKEN = "an-api-token-that-is-long-enough-for-it"


class Databases:
    """Which kind of database the test at hand runs on; for PostgreSQL one for each folder."""

    def __init__(self) -> None:
        self.postgresql = ON_POSTGRESQL
        self._made: dict[Path, str] = {}

    def begin(self, on_postgresql: bool) -> frozenset[Path]:
        """A test begins; for `end`."""
        self.postgresql = on_postgresql
        return frozenset(self._made)

    def url(self, folder: Path) -> str:
        """The URL of a folder's database, "" where it is a file of SQLite in it."""
        if not self.postgresql:
            return ""
        cluster = postgresql.cluster()
        if folder not in self._made:
            self._made[folder] = cluster.create(postgresql.template(_make_empty))
        return cluster.url(self._made[folder])

    def empty(self, folder: Path) -> Place:
        """Where a database may be made, in which there is nothing yet."""
        if not self.postgresql:
            return folder / "n.db"
        cluster = postgresql.cluster()
        self._made[folder] = cluster.create()
        return make_url(cluster.url(self._made[folder]))

    def copy(self, folder: Path, aside: Path) -> None:
        """Copy the database of a folder to that of another one; nobody may be using them."""
        if not self.postgresql:
            for suffix in ("", "-wal", "-shm"):
                (aside / f"nerve-center.db{suffix}").unlink(missing_ok=True)
            with (
                closing(sqlite3.connect(folder / "nerve-center.db")) as source,
                closing(sqlite3.connect(aside / "nerve-center.db")) as target,
            ):
                source.backup(target)
            return
        cluster = postgresql.cluster()
        if aside in self._made:
            cluster.drop(self._made[aside])
        self._made[aside] = cluster.create(self._made[folder])

    def end(self, before: frozenset[Path]) -> None:
        """Remove what the test has made."""
        self.postgresql = ON_POSTGRESQL
        for folder in self._made.keys() - before:
            postgresql.cluster().drop(self._made.pop(folder))


databases = Databases()


class FakeClock:
    """Stands until it is turned; short waits turn it, long ones are for real (another thread ends them)."""

    def __init__(self) -> None:
        self.time_us = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
        self.monotonic_s = 1000.0
        self.waits: list[float] = []

    def now_us(self) -> int:
        return self.time_us

    def monotonic(self) -> float:
        return self.monotonic_s

    def boottime_us(self) -> int:
        return round(self.monotonic_s * 1_000_000)

    def advance(self, seconds: float) -> None:
        self.time_us += round(seconds * 1_000_000)
        self.monotonic_s += seconds

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        if timeout_s is None or timeout_s >= 5:
            return event.wait(30)
        self.waits.append(timeout_s)
        self.advance(timeout_s)
        return event.is_set()


def settings(folder: Path, **sections: dict[str, Any]) -> Config:
    """A configuration with everything in `folder`."""
    (folder / "token").write_text(TOKEN + "\n")
    found = Config(
        database=config.Database(path=folder / "nerve-center.db", url=databases.url(folder)),
        enrollment=config.Enrollment(token_file=folder / "token"),
    )
    return replace(
        found, **{name: replace(getattr(found, name), **values) for name, values in sections.items()}
    )


@functools.cache
def contract() -> Contract:
    """The one of all centers under test: to read and compile it takes longer than the rest of a start."""
    return Contract()


@functools.cache
def _empty_database() -> bytes:
    """A database as migrations leave it, without the rows of one center; making it takes most of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        migrate.prepare(path, FakeClock())
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM meta WHERE name != 'oldest'")
        connection.commit()
        connection.close()
        return path.read_bytes()


def _make_empty(url: str) -> None:
    """The same of PostgreSQL."""
    migrate.prepare(make_url(url), FakeClock())
    engine = writing_engine(make_url(url))
    with engine.begin() as connection:
        connection.execute(meta.delete().where(meta.c.name != "oldest"))
    engine.dispose()


def make_database(path: Path) -> None:
    """Put an empty database there, if there is none."""
    if not path.exists():
        path.touch(0o600)
        path.write_bytes(_empty_database())


class CenterUnderTest:
    """The app, its parts, and short ways to ask it."""

    def __init__(self, folder: Path, clock: FakeClock | None = None, **sections: dict[str, Any]) -> None:
        self.clock = clock or FakeClock()
        self.settings = settings(folder, **sections)
        if not self.settings.database.url:
            make_database(self.settings.database.path)
        migrate.prepare(self.settings.database.place, self.clock)
        self.app: Flask = create_app(self.settings, self.clock, contract())
        self.center: Center = self.app.extensions[EXTENSION]
        self.center.people.passwords = Passwords(CHEAP)
        self.center.writer.start()
        self.client = self.app.test_client()
        self.center.writer.submit(self._add_api_token)

    def _add_api_token(self, connection: Connection) -> None:
        if tokens.named(connection, "test") is None:
            tokens.add(connection, "test", auth.hash_of(API_TOKEN), self.clock.now_us(), "threats")

    def close(self) -> None:
        self.center.stop()

    def configuration(self) -> Path:
        """A configuration file for commands on this center's database."""
        folder = self.settings.database.path.parent
        where = (
            f'url = "{self.settings.database.url}"'
            if self.settings.database.url
            else 'path = "nerve-center.db"'
        )
        file = folder / "nerve-center.toml"
        file.write_text(f'[database]\n{where}\n[enrollment]\ntoken_file = "token"\n')
        return file

    def get(self, path: str, token: str | None = API_TOKEN, **query: Any) -> TestResponse:
        return self.client.get(path, headers=_bearer(token), query_string=query)

    def post(
        self, path: str, body: Any, token: str | None, raw: bytes | None = None, **headers: str
    ) -> TestResponse:
        data = raw if raw is not None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **_bearer(token)}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.client.post(path, data=data, headers=sent)

    def agent(self, **changes: Any) -> AgentUnderTest:
        """An agent that is enrolled."""
        made = AgentUnderTest(self, **changes)
        response = made.register(TOKEN)
        assert response.status_code == 201, response.text
        made.agent_id = response.json["agent_id"]
        return made


@dataclass
class AgentUnderTest:
    """What one agent knows, and its messages."""

    center: CenterUnderTest
    agent_id: str = field(default_factory=lambda: "agent-" + secrets.token_hex(8))
    instance_id: str = field(default_factory=lambda: secrets.token_hex(16))
    run_id: str = field(default_factory=lambda: secrets.token_hex(16))
    credential: str = field(default_factory=lambda: secrets.token_hex(32))
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    interval_s: float = 10
    hostname: str = "host.example"
    marks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def registration(self) -> dict[str, Any]:
        return {
            "protocol": 1,
            "agent_id": self.agent_id,
            "instance_id": self.instance_id,
            "run_id": self.run_id,
            "boot_id": None,
            "agent_version": "0.1.0",
            "interval_s": self.interval_s,
            "sent_at": format_time(self.center.clock.now_us()),
            "host": {"hostname": self.hostname},
        }

    def register(self, token: str | None = None, **changes: Any) -> TestResponse:
        headers = {} if token is None else {"DIO_Enrollment_Token": token}
        body = {**self.registration(), **changes}
        return self.center.post("/api/v1/agents/register", body, self.credential, **headers)

    def record(self, seq: int, kind: str = "sample", **changes: Any) -> dict[str, Any]:
        data = {
            "sample": {"cpu": {"percent": seq % 100}},
            "gap": {"count": 1, "reason": "spool_full"},
            "event": {"type": "test.event", "message": "something happened"},
            "threat": {"type": "test", "severity": "low", "fingerprint": "f1", "state": "open"},
        }.get(kind, {})
        return {
            "seq": seq,
            "from_seq": seq,
            "tag": secrets.token_hex(8),
            "kind": kind,
            "time": format_time(self.center.clock.now_us() + seq),
            "data": data,
            **changes,
        }

    def report(
        self, records: list[dict[str, Any]], stream: str = "samples", **changes: Any
    ) -> dict[str, Any]:
        return {
            "instance_id": self.instance_id,
            "run_id": self.run_id,
            "boot_id": None,
            "sent_at": format_time(self.center.clock.now_us()),
            "interval_s": self.interval_s,
            "epoch": self.epoch,
            "stream": stream,
            "after": self.marks.get(stream, {"seq": 0, "tag": None}),
            "records": records,
            **changes,
        }

    def send(self, body: Any, raw: bytes | None = None, **headers: str) -> TestResponse:
        path = f"/api/v1/agents/{self.agent_id}/reports"
        return self.center.post(path, body, self.credential, raw, **headers)

    def deliver(self, *records: dict[str, Any], stream: str = "samples") -> dict[str, Any]:
        """Send records that fit, and keep the mark."""
        response = self.send(self.report(list(records), stream))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json
        self.marks[stream] = answer["mark"]
        return answer

    def goodbye(self, **changes: Any) -> TestResponse:
        body = {
            "instance_id": self.instance_id,
            "run_id": self.run_id,
            "sent_at": format_time(self.center.clock.now_us()),
            **changes,
        }
        return self.center.post(f"/api/v1/agents/{self.agent_id}/goodbye", body, self.credential)

    def seen(self) -> dict[str, Any]:
        """The agent as the center shows it."""
        response = self.center.get(f"/api/v1/agents/{self.agent_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json
        return found

    def samples(self, **query: Any) -> TestResponse:
        return self.center.get(f"/api/v1/agents/{self.agent_id}/samples", **query)


def problem(response: TestResponse) -> str:
    """The code of a problem document, after a look at its shape."""
    assert response.mimetype == "application/problem+json", response.text
    document = response.json
    assert document["status"] == response.status_code
    assert document["title"]
    prefix, _, code = document["type"].rpartition(":")
    assert prefix == "urn:dio:problem"
    return str(code)


def packed(body: Any) -> bytes:
    return gzip.compress(json.dumps(body).encode())


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}
