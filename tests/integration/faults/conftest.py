"""A real nerve center and a real agent whose collaborators can be made to fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import RealAgent, RealCenter


@pytest.fixture
def center(tmp_path: Path) -> Iterator[RealCenter]:
    made = RealCenter(tmp_path / "center")
    yield made
    made.close()


@pytest.fixture
def agent(tmp_path: Path, center: RealCenter) -> Iterator[RealAgent]:
    made = RealAgent(tmp_path / "agent", center.url, center.token_file)
    made.module = "tests.support.faulty_agent"
    yield made
    made.close()
