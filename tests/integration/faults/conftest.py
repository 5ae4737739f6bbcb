"""Real nerve centers and real agents whose surroundings can be made to fail."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Host
from tests.support.processes import RealAgent, RealCenter, wait_for

QUICK = (
    "[delivery]\nconnect_timeout_s = 1\ntotal_timeout_s = 2\n"
    "[startup]\nhealth_waits_s = [0.2, 0.4]\nhealth_timeout_s = 1\nready_within_s = 60\n"
)
"""Settings of agents that notice faults soon."""

MakeHost = Callable[..., Host]


@pytest.fixture
def center(tmp_path: Path) -> Iterator[RealCenter]:
    """A nerve center that a test may break; not started."""
    made = RealCenter(tmp_path / "center")
    yield made
    made.close()


@pytest.fixture(scope="session")
def calm_center(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCenter]:
    """A running nerve center for faults that are not its own."""
    made = RealCenter(tmp_path_factory.mktemp("calm") / "center")
    made.start()
    made.wait_ready()
    yield made
    made.close()


@pytest.fixture
def agent(tmp_path: Path, center: RealCenter) -> Iterator[RealAgent]:
    made = RealAgent(tmp_path / "agent", center.url, center.token_file)
    made.module = "tests.support.faulty_agent"
    yield made
    made.close()


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[MakeHost]:
    """Hosts by name, each with an agent behind a proxy; not started."""
    made: list[Host] = []

    def make(center: RealCenter, name: str = "host", settings: str = QUICK, url: str = "") -> Host:
        made.append(Host(tmp_path / name, center, random.Random(0), settings, url))
        return made[-1]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def hosts(center: RealCenter, make_host: MakeHost) -> list[Host]:
    """Two hosts that report to a center of their own, and have delivered something."""
    center.start()
    center.wait_ready()
    made = [make_host(center, "one"), make_host(center, "two")]
    for host in made:
        host.start()
    for host in made:
        host.active(30)
        wait_for(lambda host=host: len(host.committed()) >= 2, "some records")
    return made
