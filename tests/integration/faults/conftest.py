"""Real nerve centers and real agents whose surroundings can be made to fail."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.hosts import Host
from tests.support.processes import RealAgent, RealCenter
from tests.support.proxy import PASS

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


@dataclass
class Site:
    """A nerve center and two hosts that report to it."""

    center: RealCenter
    hosts: list[Host]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One that lives through all faults of a module, so that each also finds what the one before has left."""
    folder = tmp_path_factory.mktemp("site")
    center = RealCenter(folder / "center")
    made = Site(center, [Host(folder / name, center, random.Random(0), QUICK) for name in ("one", "two")])
    yield made
    for host in made.hosts:
        host.close()
    center.close()


@pytest.fixture
def hosts(site: Site) -> list[Host]:
    """The site's hosts, active, with something delivered by each."""
    site.center.before = []
    if not site.center.alive:
        site.center.start()
    for host in site.hosts:
        host.proxy.fault = PASS
        if not host.agent.alive:
            host.start()
    site.center.healthy()
    for host in site.hosts:
        host.active(30)
        host.wait(lambda status, host=host: len(host.committed()) >= 2, "some records")
        host.exits.clear()
    site.center.exits.clear()
    return site.hosts
