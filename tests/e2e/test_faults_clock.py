"""Clocks that are wrong, or step, and a host that sleeps, on installed packages: order, intervals and presence stay
right, the nerve center shows the skew that it sees, and nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from conftest import MakeHost, Note
from harness import dio, faults
from harness.clocks import HOUR_S, WrongClock
from harness.commands import wait_for
from harness.host import Host

NEVER = {dio.AGENT: 0, dio.CENTER: 0, dio.KEEPER: 0}


class Site:
    """One host whose agent and nerve center have a clock each."""

    def __init__(self, make_host: MakeHost) -> None:
        self.host: Host = make_host("alpha", files=faults.FAST)
        self.agent = WrongClock(self.host, dio.AGENT)
        # The keeper is on the same machine as its nerve center: the files are the same ones.
        self.center = WrongClock(self.host, dio.CENTER, dio.KEEPER)
        self.start()
        self.api = dio.Api(self.host)
        (self.id,) = (agent["id"] for agent in self.api.agents())

    def start(self) -> None:
        self.host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
        dio.wait_acknowledged(self.host, within_s=faults.HEALED_S)

    def more(self, count: int = 3) -> None:
        """Wait until so many more samples were taken in."""
        before = faults.reported(self.host)
        wait_for("more samples", lambda: faults.reported(self.host) >= before + count, within_s=30)

    def stepped(self, what: str, skew_s: float, note: Note) -> None:
        """A clock was set: reports go on, the agent counts as active, and this skew is shown."""
        note(f"{what}: active again after, seconds", f"{faults.active_again(self.host):.1f}")

        def shown() -> bool:
            agent = self.api.get(f"agents/{self.id}")
            assert agent["state"] == "active", agent
            return agent["clock_skew_s"] is not None and abs(agent["clock_skew_s"] - skew_s) < 20

        wait_for(f"a skew of {skew_s:g} s is shown", shown, within_s=faults.HEALED_S)
        self.more()

    def samples(self) -> list[dict[str, Any]]:
        """All samples; in the order of their numbers, of one history, and nothing is lost."""
        assert faults.in_gaps(faults.healed(self.host)) == 0
        found = sorted(self.api.samples(self.id), key=lambda sample: sample["seq"])
        assert len({sample["epoch"] for sample in found}) == 1
        assert [sample["seq"] for sample in found] == list(range(1, len(found) + 1))
        return found


def _steps(times: Iterable[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def _hours(steps: Iterable[float]) -> list[int]:
    """Each step of minutes and more, in whole hours."""
    return [round(step / HOUR_S) for step in steps if abs(step) > 300]


def test_clocks_that_step(make_host: MakeHost, note: Note) -> None:
    """An hour both ways, of the host and of the nerve center, and back."""
    began = time.monotonic()
    site = Site(make_host)
    for hours in (1, 0, -1, 0):
        site.agent.set(hours * HOUR_S)
        site.stepped(f"host's clock at {hours:+} h", hours * HOUR_S, note)
    for hours in (1, 0, -1, 0):
        site.center.set(hours * HOUR_S)
        site.stepped(f"nerve center's clock at {hours:+} h", -hours * HOUR_S, note)
    samples = site.samples()
    assert _hours(_steps(dio.time_of(sample) for sample in samples)) == [1, -1, -1, 1]
    received = [dio.time_of({"time": sample["received_at"]}) for sample in samples]
    assert _hours(_steps(received)) == [1, -1, -1, 1]
    # A sample a second by a clock that never steps, no burst and no hole.
    intervals = _steps(sample["data"]["boottime_s"] for sample in samples)
    assert all(0.2 < interval < 15 for interval in intervals), intervals
    assert len(samples) <= time.monotonic() - began + 2
    faults.calm(site.host, NEVER)


def test_booted_in_1970_and_corrected_later(make_host: MakeHost, note: Note) -> None:
    """The host alone, then everything, nerve center and all; in the end every clock is right."""
    site = Site(make_host)
    host, then = site.host, 60 - int(time.time())
    host.run(f"systemctl stop {dio.AGENT}")
    site.agent.set(then)
    site.start()
    site.stepped("host booted in 1970", then, note)
    host.run(f"systemctl stop {dio.CENTER}")
    faults.waiting(host, 3)
    site.agent.set(0)
    faults.waiting(host, 2)
    host.run(f"systemctl start {dio.CENTER}")
    site.stepped("host corrected while the nerve center was away", 0, note)
    years = [int(sample["time"][:4]) for sample in site.samples()]
    assert sorted({year == 1970 for year in years}) == [False, True]

    host.run(f"systemctl stop {dio.AGENT} {dio.CENTER}")
    site.agent.set(then)
    site.center.set(then)
    site.start()
    site.stepped("everything booted in 1970", 0, note)
    site.agent.set(0)
    site.center.set(0)
    site.stepped("everything corrected", 0, note)
    assert site.samples()[-1]["received_at"] > "2024"
    assert [agent["id"] for agent in site.api.agents()] == [site.id]
    faults.calm(host, NEVER)


def test_suspended(make_host: MakeHost, note: Note) -> None:
    """For an hour, the whole machine: it goes on where it stood, and nothing makes up for the time asleep."""
    site = Site(make_host)
    host = site.host
    site.more()
    units = f"{dio.AGENT} {dio.CENTER} {dio.KEEPER}"
    host.run(f"systemctl freeze {units}")
    before = len(faults.spooled(host))
    site.agent.set(HOUR_S, HOUR_S)
    site.center.set(HOUR_S, HOUR_S)
    host.run(f"sleep 3; systemctl thaw {units}")
    site.stepped("suspended for an hour", 0, note)
    samples = site.samples()
    for clock in ([dio.time_of(one) for one in samples], [one["data"]["boottime_s"] for one in samples]):
        assert _hours(_steps(clock)) == [1]
    assert len(samples) >= before
    assert all(step > 0 for step in _steps(dio.time_of(sample) for sample in samples))
    faults.calm(host, NEVER)
