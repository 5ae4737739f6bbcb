"""nervectl database: backups of a database in use, restored whole, and what is wrong is said."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from nerve_center.cli import base
from nerve_center.cli import database as command
from nerve_center.store import copies, migrate
from nerve_center.store.tables import meta
from tests.unit.center.harness import CenterUnderTest, FakeClock
from tests.unit.center.test_nervectl import run

pytestmark = pytest.mark.sqlite("copies of its file; those of PostgreSQL are in test_postgresql")


@pytest.fixture
def backup(center: CenterUnderTest, tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "backup.db"
    file.parent.mkdir()
    done = run(center, "database", "backup", str(file))
    assert (done.exit_code, done.output.startswith(f"{file}: ")) == (0, True), done.output
    return file


def values(path: Path, name: str) -> list[str]:
    raw = sqlite3.connect(path)
    try:
        return [row[0] for row in raw.execute("SELECT value FROM meta WHERE name = ?", (name,))]
    finally:
        raw.close()


def test_check(center: CenterUnderTest) -> None:
    done = run(center, "database", "check")
    assert done.exit_code == 0 and f"is sound: tables {migrate.HEAD}" in done.output
    assert run(center, "database", "check", "--quick").exit_code == 0


def test_a_damaged_database_is_found(center: CenterUnderTest) -> None:
    center.close()
    path = center.settings.database.path
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.execute("INSERT INTO dirty_hours VALUES (999, 1, 1)")
    raw.commit()
    raw.close()
    done = run(center, "database", "check")
    assert done.exit_code == 1
    assert "a row of dirty_hours refers to a row of agents that is not there" in done.output
    path.write_bytes(b"nothing of the kind" * 1000)
    assert "cannot be checked" in run(center, "database", "check").output


def test_migrate(center: CenterUnderTest) -> None:
    done = run(center, "database", "migrate")
    assert (done.exit_code, migrate.HEAD in done.output) == (0, True)


def test_a_backup_is_one_moment_of_a_database_in_use(
    center: CenterUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows that are always equal are equal in the copy, whatever is committed meanwhile, and it comes to an end."""
    monkeypatch.setattr(copies, "_STEP_PAGES", 10)
    stop = threading.Event()

    def both(connection: Connection, number: int) -> None:
        for name in ("one", "two"):
            connection.execute(meta.delete().where(meta.c.name == name))
            connection.execute(meta.insert().values(name=name, value=str(number)))

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            center.center.writer.submit(lambda connection, number=number: both(connection, number))

    center.center.writer.submit(lambda connection: both(connection, 0))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            file = tmp_path / f"backup-{number}.db"
            assert run(center, "database", "backup", str(file)).exit_code == 0
            assert values(file, "one") == values(file, "two") != []
            assert copies.check(file).faults == ()
            assert file.stat().st_mode & 0o777 == 0o600
    finally:
        stop.set()
        writer.join()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_restored_database_is_the_one_that_was_backed_up(center: CenterUnderTest, backup: Path) -> None:
    path = center.settings.database.path
    agent = center.agent()
    agent.deliver(agent.record(1))
    center.close()
    before = values(path, "center_id")
    done = run(center, "database", "restore", str(backup))
    assert done.exit_code == 0, done.output
    aside = path.with_name(path.name + ".before-restore.1")
    assert str(aside) in done.output and aside.exists()
    assert values(path, "center_id") == before
    assert copies.check(path).current
    assert '"agents": []' in run(center, "agents", "--json").output
    assert agent.agent_id in sqlite3_agents(aside)
    assert run(center, "database", "restore", str(backup)).exit_code == 0
    assert path.with_name(path.name + ".before-restore.2").exists()


def sqlite3_agents(path: Path) -> list[str]:
    raw = sqlite3.connect(path)
    try:
        return [row[0] for row in raw.execute("SELECT id FROM agents")]
    finally:
        raw.close()


def test_what_is_no_sound_backup_changes_nothing(
    center: CenterUnderTest, backup: Path, tmp_path: Path
) -> None:
    path = center.settings.database.path
    id_before = values(path, "center_id")
    wrong = tmp_path / "wrong.db"
    wrong.write_text("nothing of the kind\n" * 100)
    assert "cannot be checked" in run(center, "database", "restore", str(wrong)).output
    empty = tmp_path / "empty.db"
    empty.touch()
    assert "no tables of a nerve center" in run(center, "database", "restore", str(empty)).output
    newer = sqlite3.connect(backup)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.commit()
    newer.close()
    assert "of a newer version" in run(center, "database", "restore", str(backup)).output
    assert values(path, "center_id") == id_before
    assert list(path.parent.glob("*.before-restore*")) == list(path.parent.glob(".restore-*")) == []


def test_refusals(
    center: CenterUnderTest, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(center, "database", "backup", str(backup))
    assert done.exit_code == 1 and "is there already" in done.output
    done = run(center, "database", "backup", str(tmp_path / "none" / "b.db"))
    assert done.exit_code == 1 and "No such file" in done.output
    monkeypatch.setattr(copies, "room_for", lambda size, folder: False)
    done = run(center, "database", "backup", str(tmp_path / "b.db"))
    assert done.exit_code == 1 and "no room" in done.output
    assert not (tmp_path / "b.db").exists() and not list(tmp_path.glob(".b.db*"))
    monkeypatch.setattr(command.healthcheck, "ask", lambda *_: command.healthcheck.Answer(True, True))
    done = run(center, "database", "restore", str(backup))
    assert done.exit_code == 1 and "systemctl stop dio-nerve-center" in done.output


def test_an_older_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "nerve-center.db"
    migrate.prepare(path, FakeClock())
    raw = sqlite3.connect(path)
    raw.execute("UPDATE alembic_version SET version_num = '0001'")
    raw.commit()
    raw.close()
    assert not copies.check(path).current
    assert issubclass(base.Failed, Exception)
