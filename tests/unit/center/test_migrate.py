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
from sqlalchemy import text

from nerve_center.errors import StartError
from nerve_center.store import engine as engines
from nerve_center.store import migrate, sqlite
from nerve_center.store.engine import writing_engine
from nerve_center.store.place import Place
from nerve_center.store.tables import metadata
from tests.unit.center.harness import FakeClock


def start(place: Place) -> FakeClock:
    clock = FakeClock()
    migrate.prepare(place, clock)
    return clock


def at(place: Place, revision: str) -> None:
    """Make a database as an older version left it."""
    if isinstance(place, Path):
        sqlite.make_file(place)
    engine = writing_engine(place)
    settings = Config()
    settings.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with engine.connect() as connection:
        engines.begin_writing(connection)
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
        connection.commit()
    engine.dispose()


def refusal(place: Place) -> str:
    with pytest.raises(StartError) as caught:
        start(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run(place: Place, statement: str, **values: object) -> list[tuple[object, ...]]:
    """Run one statement behind the center's back; the rows that it gives."""
    engine = writing_engine(place)
    try:
        with engine.connect() as connection:
            engines.begin_writing(connection)
            result = connection.execute(text(statement), values)
            found = [tuple(row) for row in result] if result.returns_rows else []
            connection.commit()
            return found
    finally:
        engine.dispose()


def center_id(place: Place) -> str:
    return str(run(place, "SELECT value FROM meta WHERE name = 'center_id'")[0][0])


@pytest.mark.sqlite("the mode of its file")
def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "100%.db"
    start(path)
    assert path.stat().st_mode & 0o777 == 0o600


def without_partitions(name: str | None, type_: str, _parents: object) -> bool:
    """Whether a thing of the database counts: partitions of the samples are made as they are needed."""
    return type_ != "table" or not str(name).startswith("samples_")


def test_a_new_database_has_the_tables(place: Place) -> None:
    start(place)
    assert len(center_id(place)) == 32
    engine = writing_engine(place)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": without_partitions})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_head_is_the_newest_script() -> None:
    settings = Config()
    settings.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(settings).get_current_head() == migrate.HEAD


def test_starting_again_changes_nothing(place: Place) -> None:
    start(place)
    before = center_id(place)
    start(place)
    assert center_id(place) == before


@pytest.mark.sqlite("its file")
def test_an_empty_file_counts_as_new(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    path.touch()
    start(path)
    assert migrate.is_current(path)


def test_a_database_of_a_newer_version(place: Place) -> None:
    start(place)
    run(place, "UPDATE alembic_version SET version_num = '9999'")
    run(place, "UPDATE meta SET value = '9999' WHERE name = 'oldest'")
    assert "made by a newer version" in refusal(place)
    assert not migrate.is_current(place)


def test_a_newer_version_that_only_added_is_worked_with(place: Place) -> None:
    """As while several nerve centers on one database are upgraded one after the other."""
    start(place)
    run(place, "UPDATE alembic_version SET version_num = '9999'")
    run(place, "UPDATE meta SET value = :head WHERE name = 'oldest'", head=migrate.HEAD)
    start(place)
    assert migrate.is_current(place)
    assert run(place, "SELECT version_num FROM alembic_version") == [("9999",)]
    assert run(place, "SELECT value FROM meta WHERE name = 'oldest'") == [(migrate.HEAD,)]
    run(place, "UPDATE meta SET value = '9999' WHERE name = 'oldest'")
    assert "made by a newer version" in refusal(place)


def oldest(place: Place) -> object:
    return run(place, "SELECT value FROM meta WHERE name = 'oldest'")[0][0]


def test_only_a_later_version_ends_what_an_older_one_may_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of the two steps: older versions go on with what is there. The second is for good."""
    at(place, "0009")
    start(place)
    assert oldest(place) == migrate.OLDEST < migrate.HEAD
    with monkeypatch.context() as later:
        later.setattr(migrate, "OLDEST", migrate.HEAD)
        start(place)
        assert oldest(place) == migrate.HEAD
    start(place)
    assert oldest(place) == migrate.HEAD


def test_a_new_database_was_never_an_older_versions(place: Place) -> None:
    start(place)
    assert oldest(place) == migrate.HEAD


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


def test_a_database_of_something_else(place: Place) -> None:
    run(place, "CREATE TABLE other (x INTEGER)")
    assert "something else" in refusal(place)


@pytest.mark.sqlite("its file")
def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    path.write_text("nothing of the kind\n" * 100)
    assert "not a database" in refusal(path)


@pytest.mark.sqlite("its file")
def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert f"no folder {tmp_path}/none" in refusal(tmp_path / "none" / "n.db")


@pytest.mark.sqlite("its file")
def test_a_folder_in_its_place(tmp_path: Path) -> None:
    assert "cannot open the database" in refusal(tmp_path)


@pytest.mark.sqlite("its lock")
def test_locked_while_there_is_something_to_migrate(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("BEGIN IMMEDIATE")
    assert "another program holds it" in refusal(path)
    raw.close()


@pytest.mark.sqlite("its lock")
def test_locked_while_there_is_nothing_to_migrate(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    start(path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN EXCLUSIVE")
    clock = start(path)
    raw.close()
    assert clock.waits == []


def test_many_processes_at_once(place: Place) -> None:
    code = (
        "import sys; from pathlib import Path; from sqlalchemy.engine import make_url\n"
        "from nerve_center.clock import SystemClock; from nerve_center.store import migrate\n"
        "place = make_url(sys.argv[1]) if '://' in sys.argv[1] else Path(sys.argv[1])\n"
        "migrate.prepare(place, SystemClock())"
    )
    root = Path(migrate.__file__).parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(place)], cwd=root, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert results == [(b"", 0)] * 4


def test_threats_of_before_have_not_been_looked_at(place: Place) -> None:
    at(place, "0001")
    run(
        place,
        "INSERT INTO agents (key, id, hostname, agent_version, host, labels, interval_s, run_id, registered_us,"
        " last_registered_us, samples, events, gaps) VALUES (1, 'a', 'h', '', '{}', '{}', 1, '', 0, 0, 0, 0, 0)",
    )
    for fingerprint, state in (("disk:/", "open"), ("cpu", "cleared")):
        run(
            place,
            "INSERT INTO threats (agent_key, fingerprint, type, severity, state, summary, evidence, opened_us,"
            " updated_us, times_opened) VALUES (1, :fingerprint, 'test', 'high', :state, '', :nothing, 0, 0, 1)",
            fingerprint=fingerprint,
            state=state,
            nothing=b"",
        )
    start(place)
    assert sorted(run(place, "SELECT fingerprint, subject, status, triage, rank, title FROM threats")) == [
        ("cpu", "cpu", "cleared", "none", 3, "test"),
        ("disk:/", "disk:/", "open", "none", 3, "test"),
    ]
