"""Fixtures: a network and hosts for each test, on each release, closed whatever happens."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator

import pytest
from harness import host as hosts
from harness import network as networks
from harness.host import Host
from harness.network import Network
from harness.roots import RELEASES

MakeHost = Callable[..., Host]
Note = Callable[[str, object], None]
_failed = pytest.StashKey[bool]()
# A search by chance, run on demand.
collect_ignore = [] if "DIO_MIXED_SECONDS" in os.environ else ["test_faults_mixed.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Say what is missing before anything is built."""
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests boot containers and need root; run scripts/e2e as root", 4)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Clear away what a killed run left."""
    networks.sweep()
    hosts.sweep()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: the run is over when the last of them is."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, None]:
    """Note that a test failed, so that its hosts tell their state before they are closed."""
    outcome: object = yield
    report = outcome.get_result()
    if report.failed:
        item.stash[_failed] = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured, on the machine as it was."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for what, figure in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {what}: {figure}")


@pytest.fixture
def note(record_property: Note) -> Note:
    """Have a figure shown at the end of the run: `note("active again after, seconds", 3.2)`."""
    return record_property


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """The Debian release of this test's hosts."""
    name: str = request.param
    return name


@pytest.fixture
def network() -> Iterator[Network]:
    """A switch for this test's hosts."""
    made = Network(uuid.uuid4().hex[:6])
    yield made
    made.close()


@pytest.fixture
def make_host(request: pytest.FixtureRequest, release: str, network: Network) -> Iterator[MakeHost]:
    """Make and boot a host: `make_host("alpha", "installed")`; keyword `boot=False` leaves it off."""
    made: list[Host] = []

    def make(
        name: str, stage: str = "installed", *, boot: bool = True, files: dict[str, str] | None = None
    ) -> Host:
        namespace, address = network.add()
        host = Host(name, release, stage, namespace, address=address, files=files)
        made.append(host)
        if boot:
            host.boot()
        return host

    yield make
    if request.node.stash.get(_failed, False):  # of all of them, before any is taken from the others
        for host in made:
            print(host.story())
    for host in made:
        host.close()
