"""Which of several nerve centers is in use: fails over at once, comes back later, both with jitter."""

import random
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dio_daemon.centers import FAIL_OVER_S, FALL_BACK_S, Centers
from dio_daemon.errors import CenterError, Rejected, Unreachable
from dio_daemon.lifecycle import State
from dio_daemon.transport import Answer
from tests.support.link import Agent, ScriptedTransport

DOWN = Unreachable("connection refused")


class FakeCenter:
    """A center that is well or not."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.well = True
        self.asked = 0

    def check_health(self) -> None:
        self.asked += 1
        if not self.well:
            raise Unreachable(f"connection refused by {self.url}")


def make(count: int) -> tuple[Centers, list[FakeCenter]]:
    fakes = [FakeCenter(f"https://{number}") for number in range(count)]
    return Centers(fakes, random.Random(3)), fakes


def test_one_center_is_never_left() -> None:
    centers, _ = make(1)
    assert centers.fail_over(DOWN, 0.0) is None
    assert centers.current.url == "https://0"
    assert not centers.fall_back_due(1e9)


def test_each_is_tried_once_in_a_row_and_then_the_usual_wait_comes() -> None:
    centers, _ = make(3)
    waits = [centers.fail_over(DOWN, 0.0) for _ in range(6)]
    assert [wait is None for wait in waits] == [False, False, True] * 2
    assert all(0 <= wait < FAIL_OVER_S for wait in waits if wait is not None)
    assert len({wait for wait in waits if wait is not None}) == 4, "with jitter"


def test_the_word_of_a_center_holds_for_all_of_them() -> None:
    centers, _ = make(2)
    assert centers.fail_over(Rejected("busy", 503, "overloaded", 5.0, {}), 0.0) is None
    assert centers.fail_over(Rejected("no", 403, "instance-revoked", None, {}), 0.0) is None
    assert centers.current.url == "https://0"
    # A proxy in front of a center that is away is no word of a center.
    assert centers.fail_over(Rejected("bad gateway", 502, "", None, {}), 0.0) is not None
    assert centers.current.url == "https://1"


@pytest.mark.parametrize(("status", "code"), [(503, "database-unavailable"), (500, "internal")])
def test_one_that_is_cut_off_from_the_database_speaks_for_itself_alone(status: int, code: str) -> None:
    centers, _ = make(2)
    assert centers.fail_over(Rejected("not now", status, code, 60.0, {}), 0.0) is not None
    assert centers.current.url == "https://1"
    assert centers.fail_over(Rejected("not now", status, code, 60.0, {}), 0.0) is None, (
        "both of them: the usual wait"
    )


def test_the_healthy_one_is_found_and_the_first_error_told() -> None:
    centers, fakes = make(3)
    fakes[0].well = fakes[1].well = False
    centers.find_healthy(0.0)
    assert centers.current.url == "https://2"
    fakes[2].well = False
    with pytest.raises(CenterError, match="refused by https://2"):
        centers.find_healthy(0.0)
    assert centers.current.url == "https://2"


def test_the_preferred_one_is_taken_again_when_it_is_well() -> None:
    centers, fakes = make(2)
    fakes[0].well = False
    centers.fail_over(DOWN, 100.0)
    centers.acknowledged()
    assert not centers.fall_back(100.0 + 0.49 * FALL_BACK_S)
    assert fakes[0].asked == 0, "too early to ask"
    assert not centers.fall_back(100.0 + 1.5 * FALL_BACK_S)
    assert fakes[0].asked == 1
    fakes[0].well = True
    assert not centers.fall_back(100.0 + 1.6 * FALL_BACK_S), "it was asked a moment ago"
    assert centers.fall_back(100.0 + 3 * FALL_BACK_S)
    assert centers.current.url == "https://0"
    assert not centers.fall_back_due(1e9)


class TwoHosts(ScriptedTransport):
    """Two centers on one database: `down` names the hosts that refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.hosts: list[str] = []

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_s: float,
        total_s: float,
    ) -> Answer:
        host = urlsplit(url).hostname or ""
        self.hosts.append(host)
        if host in self.down:
            raise ConnectionRefusedError
        return super().exchange(method, url, headers, body, connect_s, total_s)


def test_the_link_reports_to_the_next_and_goes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    agent = Agent(tmp_path, urls=("http://a:1", "http://b:1"))
    agent.transport = both = TwoHosts()
    agent.link = agent.make_link()
    agent.run_until(State.ACTIVE)
    while agent.link.step() == "acknowledged":
        pass
    both.down = {"a"}
    both.hosts.clear()
    agent.sample()
    assert agent.link.step().startswith("report failed: connection refused by a:1")
    assert agent.state is State.WARNING
    agent.run_until(State.ACTIVE)
    assert both.hosts == ["a", "b"], "no health check and no registration: they share a database"
    assert agent.board.snapshot.center_url == "http://b:1"
    assert "Reporting to http://b:1 now, not to http://a:1" in caplog.text
    both.down = set()
    agent.clock.advance(2 * FALL_BACK_S)
    agent.sample()
    assert agent.link.step() == "acknowledged"
    assert agent.board.snapshot.center_url == "http://a:1"
    agent.sample()
    assert agent.link.step() == "acknowledged"
    assert both.hosts[-1] == "a"
    assert agent.spool.pending == 0
    agent.spool.close()


def test_a_start_finds_the_one_that_is_there(tmp_path: Path) -> None:
    agent = Agent(tmp_path, urls=("http://a:1", "http://b:1"))
    agent.transport = both = TwoHosts()
    both.down = {"a"}
    agent.link = agent.make_link()
    agent.run_until(State.ACTIVE)
    assert both.hosts == ["a", "b", "b"]
    assert agent.clock.waits == []
    agent.spool.close()
