"""Tests of the nerve center run on both kinds of database, unless they say otherwise.

`mark.databases("sqlite")` is for what is about one kind, and for what is decided before the store is reached.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.center.harness import CenterUnderTest, databases

_BOTH = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        kinds = marker.args if marker else _BOTH
        metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database that centers of this test have."""
    databases.postgresql = request.param == "postgresql"
    yield request.param
    databases.end()


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
