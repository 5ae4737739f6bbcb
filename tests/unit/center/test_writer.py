import sqlite3
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from nerve_center.errors import DatabaseUnavailable
from nerve_center.store import migrate
from nerve_center.store.engine import reading, reading_engine
from nerve_center.store.place import Place
from nerve_center.store.writer import Writer, WriterFailed
from tests.unit.center.harness import FakeClock


class Fixture:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.clock = FakeClock()
        migrate.prepare(place, self.clock)
        self.writer = Writer(place, self.clock)
        self.engine = reading_engine(place)

    def names(self) -> list[str]:
        with reading(self.engine) as connection:
            rows = connection.execute(text("SELECT name FROM meta WHERE name LIKE 't-%' ORDER BY name"))
            return [row.name for row in rows]

    def together(self, *works: object) -> list[object]:
        """Submit from one thread each, all before the writer starts; what each one got."""
        outcomes: list[object] = [None] * len(works)

        def submit(index: int) -> None:
            try:
                outcomes[index] = self.writer.submit(works[index])
            except Exception as exc:  # noqa: BLE001 the outcome is what the test looks at
                outcomes[index] = exc

        threads = [threading.Thread(target=submit, args=(index,)) for index in range(len(works))]
        for thread in threads:
            thread.start()
        while len(self.writer._queue) < len(works):
            threading.Event().wait(0.001)
        self.writer.start()
        for thread in threads:
            thread.join()
        return outcomes


@pytest.fixture
def fixture(place: Place) -> Iterator[Fixture]:
    found = Fixture(place)
    yield found
    found.writer.stop()
    found.engine.dispose()


class Put:
    """Work that writes one row and, if told so, fails afterwards."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.error = f"t-{name}", error

    def __call__(self, connection: Connection) -> str:
        connection.execute(text("INSERT INTO meta VALUES (:name, '')"), {"name": self.name})
        if self.error is not None:
            raise self.error
        return self.name


def test_one_that_fails_hurts_nobody_else(fixture: Fixture) -> None:
    error = ValueError("mine")
    outcomes = fixture.together(Put("a"), Put("b", error), Put("c"), Put("c"))
    assert outcomes[:2] == ["t-a", error]
    assert sorted(type(outcome).__name__ for outcome in outcomes[2:]) == ["IntegrityError", "str"]
    assert fixture.names() == ["t-a", "t-c"]


def test_a_group_is_one_transaction(fixture: Fixture) -> None:
    seen: list[int] = []

    def look(connection: Connection) -> None:
        seen.append(len(fixture.names()))

    fixture.together(Put("a"), look, Put("b"), look, Put("c"), look)
    assert seen == [0, 0, 0]
    assert fixture.names() == ["t-a", "t-b", "t-c"]


def test_a_group_ends_after_a_moment_and_others_have_their_turn(fixture: Fixture) -> None:
    seen: list[int] = []

    def slow(connection: Connection) -> None:
        fixture.clock.advance(0.15)
        seen.append(len(fixture.names()))
        Put(str(len(seen)))(connection)

    assert fixture.together(slow, slow, slow, slow, slow) == [None] * 5
    assert seen == [0, 0, 2, 2, 4], "two of them take longer than a moment"
    assert len(fixture.names()) == 5


def test_what_is_to_be_first_goes_before_what_waits(fixture: Fixture) -> None:
    order: list[str] = []
    for name in ("a", "b"):
        threading.Thread(
            target=fixture.writer.submit, args=(lambda _, name=name: order.append(name),), daemon=True
        ).start()
        while name == "a" and not fixture.writer._queue:
            threading.Event().wait(0.001)
    while len(fixture.writer._queue) < 2:
        threading.Event().wait(0.001)
    threading.Timer(0.05, fixture.writer.start).start()
    fixture.writer.submit(lambda _: order.append("probe"), first=True)
    fixture.writer.submit(lambda _: None)
    assert order == ["probe", "a", "b"]


def test_the_answer_comes_after_the_commit(fixture: Fixture) -> None:
    fixture.writer.start()
    for number in range(5):
        fixture.writer.submit(Put(str(number)))
        assert f"t-{number}" in fixture.names()


@pytest.mark.sqlite("how its lock is waited for; that of PostgreSQL is in test_postgresql")
def test_while_another_process_has_the_lock(fixture: Fixture) -> None:
    other = sqlite3.connect(str(fixture.place), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    fixture.writer.start()
    with pytest.raises(DatabaseUnavailable) as caught:
        fixture.writer.submit(Put("a"))
    assert (caught.value.kind, caught.value.reason) == ("locked", "database is locked")
    assert fixture.writer.blocked_since is not None
    assert 5 <= fixture.clock.monotonic() - 1000 < 6
    other.execute("COMMIT")
    other.close()
    assert fixture.writer.submit(Put("b")) == "t-b"
    assert fixture.writer.blocked_since is None
    assert fixture.names() == ["t-b"]


@pytest.mark.sqlite("its lock")
def test_a_lock_that_goes_away_in_time(fixture: Fixture) -> None:
    other = sqlite3.connect(str(fixture.place), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.1, lambda: other.execute("COMMIT"))
    release.start()
    fixture.writer.start()
    assert fixture.writer.submit(Put("a"), patience_s=1000) == "t-a"
    release.join()
    other.close()


@pytest.mark.sqlite("the size of its file")
def test_a_full_disk(fixture: Fixture) -> None:
    fixture.writer.start()

    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def large(connection: Connection) -> None:
        connection.execute(text("INSERT INTO meta VALUES ('t-large', :value)"), {"value": "x" * 1_000_000})

    fixture.writer.submit(limit)
    with pytest.raises(DatabaseUnavailable) as caught:
        fixture.writer.submit(large)
    assert (caught.value.kind, caught.value.reason) == ("full", "disk is full")
    assert fixture.writer.submit(Put("small")) == "t-small"


@pytest.mark.sqlite("its own way to forbid writing")
def test_a_read_only_database(fixture: Fixture) -> None:
    fixture.writer.start()
    fixture.writer.submit(lambda connection: connection.exec_driver_sql("PRAGMA query_only = ON") and None)
    with pytest.raises(DatabaseUnavailable) as caught:
        fixture.writer.submit(Put("a"))
    assert (caught.value.kind, caught.value.reason) == ("read_only", "database is read-only")
    assert fixture.writer.submit(Put("b")) == "t-b"


def test_a_bug_in_the_writer_ends_nothing(fixture: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    fixture.writer.start()

    def spoil(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")

    with pytest.raises(WriterFailed):
        fixture.writer.submit(spoil)
    assert fixture.writer.submit(Put("a")) == "t-a"
    assert "unexpected error" in caplog.text


def test_after_the_stop_nothing_is_taken(fixture: Fixture) -> None:
    fixture.writer.start()
    fixture.writer.submit(Put("a"))
    fixture.writer.stop()
    with pytest.raises(DatabaseUnavailable) as caught:
        fixture.writer.submit(Put("b"))
    assert caught.value.kind == "closed"


@pytest.mark.sqlite("its settings for a connection")
def test_connections_are_durable_and_cannot_write_where_they_only_read(fixture: Fixture) -> None:
    fixture.writer.start()
    pragmas = ("synchronous", "foreign_keys", "journal_mode", "auto_vacuum")
    found = fixture.writer.submit(
        lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    )
    assert found == [2, 1, "wal", 2]
    with pytest.raises(DatabaseUnavailable), reading(fixture.engine) as connection:
        connection.execute(text("INSERT INTO meta VALUES ('t-x', '')"))
