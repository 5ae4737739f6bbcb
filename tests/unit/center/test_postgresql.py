"""What only PostgreSQL has: servers that end, locks of other centers, copies into it and out of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select
from sqlalchemy.engine import Connection, make_url

from nerve_center.errors import DatabaseUnavailable, StartError
from nerve_center.nervectl import main
from nerve_center.store import agents, migrate, postgresql, waiting, writer
from nerve_center.store.engine import reading
from nerve_center.store.place import shown
from nerve_center.store.tables import meta, samples
from tests.support.postgresql import cluster
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest, FakeClock, databases, problem
from tests.unit.center.test_nervectl import run

pytestmark = pytest.mark.databases("postgresql")


def seqs(center: CenterUnderTest) -> list[int]:
    with reading(center.center.engine) as connection:
        return list(connection.execute(select(samples.c.seq).order_by(samples.c.seq)).scalars())


def hold(inside: threading.Event, done: threading.Event, connection: Connection) -> None:
    """Stay in a transaction until `done`; not silently, or the server would end it."""
    inside.set()
    for _ in range(600):
        connection.exec_driver_sql("SELECT 1")
        if done.wait(0.1):
            return


def cut_off(center: CenterUnderTest) -> None:
    """End every connection to the center's database, as a restart of the server does."""
    name = make_url(center.settings.database.url).database
    cluster().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        str(name),
    )


def test_a_lost_connection_is_made_again_without_a_refusal(center: CenterUnderTest) -> None:
    agent = center.agent()
    for seq in range(1, 6):
        cut_off(center)
        agent.deliver(agent.record(seq))
        assert agent.seen()["id"] == agent.agent_id
    assert seqs(center) == [1, 2, 3, 4, 5]


def test_a_connection_lost_in_the_middle_stores_nothing_of_the_group(center: CenterUnderTest) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(meta).values(name="half", value="done"))
        cut_off(center)
        connection.execute(select(meta)).all()

    with pytest.raises(DatabaseUnavailable) as caught:
        center.center.writer.submit(work)
    assert caught.value.kind == "away" and caught.value.detail
    with reading(center.center.engine) as connection:
        assert connection.execute(select(meta).where(meta.c.name == "half")).first() is None


def test_reports_of_different_agents_run_beside_each_other(
    center: CenterUnderTest, other: CenterUnderTest
) -> None:
    first, second = center.agent(), other.agent()
    inside, done = threading.Event(), threading.Event()

    key = _key(center, first)
    holding = threading.Thread(
        target=lambda: center.center.writer.submit(partial(hold, inside, done), agent=key)
    )
    holding.start()
    assert inside.wait(60)
    second.deliver(second.record(1))
    assert second.register().status_code == 200, "a fleet that comes back does not queue up"
    done.set()
    holding.join(60)
    assert seqs(center) == [1]


def test_what_is_alone_waits_for_reports_and_is_refused_when_that_takes_too_long(
    center: CenterUnderTest, other: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PAUSES_S", (4.0,))
    agent = center.agent()
    inside, done = threading.Event(), threading.Event()

    key = _key(center, agent)
    holding = threading.Thread(
        target=lambda: center.center.writer.submit(partial(hold, inside, done), agent=key)
    )
    holding.start()
    assert inside.wait(60)
    refused = AgentUnderTest(other).register("an-enrollment-token-of-some-length")
    done.set()
    holding.join(60)
    assert (refused.status_code, problem(refused)) == (503, "database-unavailable")
    assert AgentUnderTest(other).register("an-enrollment-token-of-some-length").status_code == 201


def test_the_same_report_at_two_centers_at_once_is_stored_once(
    center: CenterUnderTest, other: CenterUnderTest
) -> None:
    agent = center.agent()
    twin = replace(agent, center=other)
    body = agent.report([agent.record(seq) for seq in range(1, 40)])
    found: list[Any] = []
    sending = [
        threading.Thread(target=lambda by=sender: found.append(by.send(body))) for sender in (agent, twin) * 5
    ]
    for thread in sending:
        thread.start()
    for thread in sending:
        thread.join(120)
    assert [response.status_code for response in found] == [200] * 10
    assert sum(response.json["stored"] for response in found) == 39
    assert seqs(center) == list(range(1, 40))


def test_work_that_met_other_work_is_done_again_alone(center: CenterUnderTest) -> None:
    runs: list[int] = []

    def work(connection: Connection) -> str:
        runs.append(1)
        if len(runs) == 1:
            connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = '40P01'; END $$")
        return "done"

    assert center.center.writer.submit(work, agent=1) == "done"
    assert len(runs) == 2


def test_a_center_is_copied_into_it_and_agents_go_on(
    center: CenterUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    databases.postgresql = False
    old = CenterUnderTest(tmp_path_factory.mktemp("old"), center.clock)
    agent = old.agent()
    for seq in range(1, 30):
        agent.deliver(agent.record(seq))
    agent.deliver(agent.record(1, kind="threat"), stream="events")
    target = cluster().create()
    url = cluster().url(target)
    try:
        done = run(old, "database", "copy", url)
        assert done.exit_code == 0 and "counted and compared" in done.output, done.output
        again = run(old, "database", "copy", url)
        assert again.exit_code == 1 and "is not empty" in again.output
        old.close()
        agent.center = new = CenterUnderTest(
            old.settings.database.path.parent, center.clock, database={"url": url}
        )
        agent.deliver(agent.record(30))
        agent.deliver(agent.record(2, kind="event"), stream="events")
        assert seqs(new) == list(range(1, 31))
        assert new.agent().seen()["hostname"] == "host.example"
        told = run(new, "continuity")
        assert told.exit_code == 0, told.output
        new.close()
    finally:
        cluster().drop(target)


def test_a_password_among_the_arguments_is_refused(center: CenterUnderTest, tmp_path: Path) -> None:
    databases.postgresql = False
    folder = tmp_path / "old"
    folder.mkdir()
    old = CenterUnderTest(folder, center.clock)
    done = run(old, "database", "copy", "postgresql://dio:hush@db.example/dio")
    old.close()
    assert done.exit_code == 1 and "write the URL into a file" in done.output and "hush" not in done.output


def test_backup_restore_and_check(center: CenterUnderTest, tmp_path: Path) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1), agent.record(2))
    file = tmp_path / "copy"
    done = run(center, "database", "backup", str(file))
    assert done.exit_code == 0 and file.stat().st_mode & 0o777 == 0o600, done.output
    assert "is not empty" in run(center, "database", "restore", str(file)).output
    assert "can be read: tables" in run(center, "database", "check").output
    name = cluster().create()
    try:
        empty = tmp_path / "empty"
        empty.mkdir()
        configuration = empty / "nerve-center.toml"
        configuration.write_text(f'[database]\nurl = "{cluster().url(name)}"\n')
        done = CliRunner().invoke(main, ["--config", str(configuration), "database", "restore", str(file)])
        assert done.exit_code == 0, done.output
        assert cluster().execute("SELECT seq FROM samples ORDER BY seq", name) == [(1,), (2,)]
    finally:
        cluster().drop(name)


@pytest.mark.databases()
def test_nobody_there(tmp_path: Path) -> None:
    url = make_url(f"postgresql://dio:hush@/dio?host={tmp_path}")
    with pytest.raises(StartError) as caught:
        migrate.prepare(url, FakeClock())
    assert "cannot be reached" in str(caught.value) and "is PostgreSQL running" in str(caught.value)
    assert "hush" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_name_for_people_has_no_password() -> None:
    url = make_url("postgresql+psycopg2://dio:hush@a:5432/dio?host=b&password=hush&sslmode=require")
    assert shown(url) == "postgresql://dio@a,b:5432/dio"


def test_without_the_driver_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "psycopg2", None)
    with pytest.raises(StartError, match="apt install python3-psycopg2"):
        postgresql.writing_engine(make_url("postgresql://dio@h/dio"))


def test_a_process_without_gevent_waits_as_the_driver_does() -> None:
    waiting.cooperate(psycopg2)
    assert psycopg2.extensions.get_wait_callback() is None


_TWO_GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from sqlalchemy.engine import make_url
from nerve_center.store.postgresql import writing_engine

engine = writing_engine(make_url(sys.argv[1]))
holder, waiter = engine.connect(), engine.connect()
waiter.exec_driver_sql("SET lock_timeout = 0; SET statement_timeout = '60s'")
holder.exec_driver_sql("SELECT pg_advisory_lock(7)")
waiting = gevent.spawn(waiter.exec_driver_sql, "SELECT pg_advisory_lock(7)")
gevent.sleep(0)
assert not waiting.ready()
holder.exec_driver_sql("SELECT pg_advisory_unlock(7)")
waiting.get()
print("both went on")
"""


def test_a_worker_goes_on_while_one_of_its_requests_waits_for_the_database(center: CenterUnderTest) -> None:
    """The one who waits is helped by another one of the same thread; the driver alone would let neither go on."""
    done = subprocess.run(
        [sys.executable, "-c", _TWO_GREENLETS, center.settings.database.url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "both went on\n", done.stderr


def _key(center: CenterUnderTest, agent: AgentUnderTest) -> int:
    with reading(center.center.engine) as connection:
        key = agents.agent_key(connection, agent.agent_id)
    assert key is not None
    return key
