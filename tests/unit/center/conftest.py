"""Tests of the nerve center run on both kinds of database, unless they say otherwise.

`mark.databases("sqlite")` is for what is decided before the store is reached, which one kind is enough for;
`mark.sqlite(reason)` for what is about SQLite itself. With DIO_TEST_DATABASE=postgresql everything but that runs on
PostgreSQL.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nerve_center.store.place import Place
from tests.support.stores import ON_POSTGRESQL
from tests.unit.center.harness import CenterUnderTest, databases

_BOTH = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        kinds = marker.args if marker else _BOTH
        if metafunc.definition.get_closest_marker("sqlite"):
            kinds = ("sqlite",)
        elif ON_POSTGRESQL:
            kinds = ("postgresql",)
        metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database that centers of this test have."""
    before = databases.begin(request.param == "postgresql")
    yield request.param
    databases.end(before)


@pytest.fixture
def place(database: str, tmp_path: Path) -> Place:
    """Where a database may be made; there is none yet."""
    return databases.empty(tmp_path)


@pytest.fixture
def center(database: str, tmp_path: Path) -> Iterator[CenterUnderTest]:
    under_test = CenterUnderTest(tmp_path)
    yield under_test
    under_test.close()


@pytest.fixture
def other(center: CenterUnderTest, tmp_path: Path) -> Iterator[CenterUnderTest]:
    """A second nerve center on the same database."""
    made = CenterUnderTest(tmp_path, center.clock)
    yield made
    made.close()
