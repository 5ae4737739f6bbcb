import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from nerve_center.errors import StartError
from nerve_center.store import engine as engines
from nerve_center.store import migrate, sqlite
from nerve_center.store.engine import writing_engine
from nerve_center.store.tables import metadata
from tests.unit.center.harness import FakeClock


def start(path: Path) -> FakeClock:
    clock = FakeClock()
    migrate.prepare(path, clock)
    return clock


def at(path: Path, revision: str) -> None:
    """Make a database as an older version left it."""
    sqlite.make_file(path)
    engine = writing_engine(path)
    settings = Config()
    settings.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with engine.connect() as connection:
        engines.begin_writing(connection)
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
        connection.commit()
    engine.dispose()


def refusal(path: Path) -> str:
    with pytest.raises(StartError) as caught:
        start(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def center_id(path: Path) -> str:
    raw = sqlite3.connect(path)
    try:
        return str(raw.execute("SELECT value FROM meta WHERE name = 'center_id'").fetchone()[0])
    finally:
        raw.close()


def test_a_new_database_has_the_tables_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "100%.db"
    start(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(center_id(path)) == 32
    engine = writing_engine(path)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_head_is_the_newest_script() -> None:
    settings = Config()
    settings.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(settings).get_current_head() == migrate.HEAD


def test_starting_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    start(path)
    before = center_id(path)
    start(path)
    assert center_id(path) == before


def test_an_empty_file_counts_as_new(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    path.touch()
    start(path)
    assert migrate.is_current(path)


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    start(path)
    raw = sqlite3.connect(path)
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.execute("UPDATE meta SET value = '9999' WHERE name = 'oldest'")
    raw.commit()
    raw.close()
    assert "made by a newer version" in refusal(path)
    assert not migrate.is_current(path)


def test_a_newer_version_that_only_added_is_worked_with(tmp_path: Path) -> None:
    """As while several nerve centers on one database are upgraded one after the other."""
    path = tmp_path / "n.db"
    start(path)
    raw = sqlite3.connect(path)
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.execute("UPDATE meta SET value = ? WHERE name = 'oldest'", (migrate.HEAD,))
    raw.commit()
    start(path)
    assert migrate.is_current(path)
    assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    assert raw.execute("SELECT value FROM meta WHERE name = 'oldest'").fetchone() == (migrate.HEAD,)
    raw.execute("UPDATE meta SET value = '9999' WHERE name = 'oldest'")
    raw.commit()
    raw.close()
    assert "made by a newer version" in refusal(path)


def test_scripts_that_an_older_version_can_live_with_only_add() -> None:
    folder = Path(migrate.__file__).parent / "migrations" / "versions"
    scripts = [script for script in folder.glob("[0-9]*.py") if script.name[:4] > migrate.OLDEST]
    assert migrate.OLDEST <= migrate.HEAD
    for script in scripts:
        used = set(re.findall(r"\b(?:op|batch)\.(\w+)", script.read_text()))
        assert used <= {"add_column", "create_table", "create_index"}, (
            f"{script.name} does more than add: make it the OLDEST of nerve_center/store/migrate.py, one version after "
            "the one that no longer uses what it takes away"
        )


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE other (x)")
    raw.close()
    assert "something else" in refusal(path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    path.write_text("nothing of the kind\n" * 100)
    assert "not a database" in refusal(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert f"no folder {tmp_path}/none" in refusal(tmp_path / "none" / "n.db")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    assert "cannot open the database" in refusal(tmp_path)


def test_locked_while_there_is_something_to_migrate(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("BEGIN IMMEDIATE")
    assert "another program holds it" in refusal(path)
    raw.close()


def test_locked_while_there_is_nothing_to_migrate(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    start(path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN EXCLUSIVE")
    clock = start(path)
    raw.close()
    assert clock.waits == []


def test_many_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    code = (
        "import sys; from pathlib import Path; from nerve_center.clock import SystemClock; "
        "from nerve_center.store import migrate; migrate.prepare(Path(sys.argv[1]), SystemClock())"
    )
    root = Path(migrate.__file__).parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=root, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert results == [(b"", 0)] * 4


def test_threats_of_before_have_not_been_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    at(path, "0001")
    raw = sqlite3.connect(path)
    raw.execute(
        "INSERT INTO agents (key, id, hostname, agent_version, host, labels, interval_s, run_id, registered_us,"
        " last_registered_us, samples, events, gaps) VALUES (1, 'a', 'h', '', '{}', '{}', 1, '', 0, 0, 0, 0, 0)"
    )
    for fingerprint, state in (("disk:/", "open"), ("cpu", "cleared")):
        raw.execute(
            "INSERT INTO threats (agent_key, fingerprint, type, severity, state, summary, evidence, opened_us,"
            " updated_us, times_opened) VALUES (1, ?, 'test', 'high', ?, '', x'', 0, 0, 1)",
            (fingerprint, state),
        )
    raw.commit()
    start(path)
    found = raw.execute("SELECT fingerprint, subject, status, triage, rank, title FROM threats").fetchall()
    raw.close()
    assert sorted(found) == [
        ("cpu", "cpu", "cleared", "none", 3, "test"),
        ("disk:/", "disk:/", "open", "none", 3, "test"),
    ]
