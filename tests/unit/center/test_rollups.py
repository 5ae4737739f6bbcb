"""Rollups hold what the samples held, whenever those come; the grid for charts is read from all of it."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from typing import Any

import pytest

from nerve_center.clock import format_time
from nerve_center.dashboard import series as charts
from nerve_center.figures import LATE, Chunk, Clock, figures, lateness, short, unpack
from nerve_center.keeper import rollups as task
from nerve_center.keeper.task import Desk
from nerve_center.means import Means
from nerve_center.store import agents, removal, rollups, series
from nerve_center.store.engine import reading
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest, problem
from tests.unit.center.keeping import desk

__all__ = ["desk"]

T0 = 1_767_225_600
"""2026-01-01T00:00:00Z, an hour's and a day's beginning; where the clock of these tests begins."""
KEPT = series.Kept(48 * 3600, 30 * 86400)


class Sampled:
    """An agent and what it sampled: one cpu figure at each time."""

    def __init__(self, center: CenterUnderTest) -> None:
        self.center = center
        self.agent: AgentUnderTest = center.agent()
        self.said: list[tuple[int, float]] = []

    @property
    def key(self) -> int:
        with reading(self.center.center.engine) as connection:
            key = agents.agent_key(connection, self.agent.agent_id)
        assert key is not None
        return key

    def deliver(self, *said: tuple[int, float]) -> None:
        """Samples at seconds since T0."""
        first = len(self.said) + 1
        self.agent.deliver(
            *[
                self.agent.record(
                    seq, time=format_time((T0 + at) * 1_000_000), data={"cpu": {"percent": value}}
                )
                for seq, (at, value) in enumerate(said, first)
            ]
        )
        self.said += said

    def expected(self, from_s: int, to_s: int, step_s: int) -> list[tuple[float, float, float] | None]:
        found: list[tuple[float, float, float] | None] = []
        for start in range(from_s - T0, to_s - T0, step_s):
            values = [value for at, value in self.said if start <= at < start + step_s]
            found.append((min(values), sum(values) / len(values), max(values)) if values else None)
        return found

    def shown(self, from_s: int, to_s: int, step_s: int) -> list[tuple[float, float, float] | None]:
        length = max(1, (to_s - from_s) // step_s)
        grid, means = Chunk(from_s, step_s, length), Means(from_s, step_s, length)
        with reading(self.center.center.engine) as connection:
            for found in (grid, means):
                series.fill(connection, self.key, found, Clock(10.0, 0.0))
        row = grid.cells.get("cpu.percent", [None] * grid.length)
        expected = [None if cell is None else pytest.approx(cell[2] / cell[0]) for cell in row]
        assert means.rows().get("cpu.percent", [None] * length) == expected
        return [None if cell is None else (cell[1], cell[2] / cell[0], cell[3]) for cell in row]

    def check(self, *steps: int) -> None:
        """What is shown is what was sampled, at every resolution."""
        for step_s in steps or (10, 60, 300, 900, 3600, 21600, 86400):
            to_s = T0 + 2 * 86400
            for shown, wanted in zip(
                self.shown(T0, to_s, step_s), self.expected(T0, to_s, step_s), strict=True
            ):
                assert (shown is None) == (wanted is None), step_s
                assert shown is None or shown == pytest.approx(wanted, rel=1e-3), step_s


@pytest.fixture
def sampled(center: CenterUnderTest) -> Sampled:
    return Sampled(center)


def regular(from_s: int, to_s: int, every_s: int = 40) -> list[tuple[int, float]]:
    return [(at, at * 7 % 101) for at in range(from_s, to_s, every_s)]


def test_hours_that_are_over_are_gathered_and_the_last_one_is_read_from_samples(
    sampled: Sampled, desk: Desk
) -> None:
    sampled.deliver(*regular(0, 9000))
    sampled.check()
    sampled.center.clock.advance(9000)
    assert task.step(desk) == "2 hours gathered"
    assert task.step(desk) == ""
    sampled.check()


def test_late_samples_are_gathered_again(sampled: Sampled, desk: Desk) -> None:
    sampled.deliver(*regular(0, 1000), *regular(7200, 8000))
    sampled.center.clock.advance(86400)
    assert task.step(desk) == "2 hours gathered"
    sampled.deliver(*regular(1000, 7200))
    sampled.check(60, 300, 900, 3600)
    assert task.step(desk) == "2 hours gathered"
    sampled.check()


def test_an_hour_that_is_marked_while_it_is_made_is_made_again(sampled: Sampled, desk: Desk) -> None:
    sampled.deliver(*regular(0, 1000))
    sampled.center.clock.advance(86400)
    task._claim(desk, (T0 + 86400) // 3600)
    with desk.reading() as connection:
        (item,) = rollups.dirty(connection, (-1, 0), 10)
        made = rollups.make(connection, item)
    sampled.deliver(*regular(1000, 1200))
    desk.write(lambda connection: rollups.put(connection, made))
    assert task.step(desk) == "1 hours gathered"
    sampled.check()


def test_samples_that_come_after_retention_are_counted_in(sampled: Sampled, desk: Desk) -> None:
    sampled.deliver(*regular(0, 3600))
    sampled.center.clock.advance(86400)
    task.step(desk)
    assert desk.write(lambda connection: removal.seal_hour(connection, sampled.key, T0 // 3600)) == 90
    sampled.check(60, 900, 21600)
    for number in (1, 3):
        sampled.deliver(*[(at + number, 100.0) for at, _ in regular(0, 3600, 200)])
        assert task.step(desk) == "1 hours gathered"
        sampled.check(60, 900, 21600)
    report = sampled.center.get(f"/api/v1/agents/{sampled.agent.agent_id}/continuity").json
    assert report["complete"] and report["records"] == 0


def test_a_clock_that_ran_ahead_harms_nothing(sampled: Sampled, desk: Desk) -> None:
    sampled.deliver(*regular(0, 4000))
    sampled.center.clock.time_us += 400 * 86400 * 1_000_000
    task.step(desk)
    sampled.deliver(*regular(4000, 5000))
    task.step(desk)
    sampled.check()
    sampled.center.clock.time_us -= 400 * 86400 * 1_000_000
    task.step(desk)
    sampled.deliver(*regular(5000, 9000))
    task.step(desk)
    sampled.check()


def test_packing_keeps_five_digits_and_what_is_missing() -> None:
    chunk = Chunk(0, 60, 3)
    chunk.add(0, {"a": 123456.789, "b": 0.0})
    chunk.add(1_000_000, {"a": 1.0})
    chunk.add(125_000_000, {"b": -2.5})
    again = unpack(chunk.pack(), 0, 60, 3)
    assert again.cells["b"] == [[1, 0, 0, 0], None, [1, -2.5, -2.5, -2.5]]
    assert again.cells["a"][0] == [2, 1, short(61728.89) * 2, 123460]
    assert again.cells["a"][1:] == [None, None]


@pytest.mark.parametrize("size_s", [60, 120, 300, 900, 3600])
def test_means_are_read_from_what_is_packed(size_s: int) -> None:
    """Whatever a host calls its disks, and where buckets are empty or lie outside."""
    rng = random.Random(5)
    chunk = Chunk(3600, 60, 60)
    names = ["cpu.percent", 'disks.percent:/"]],"x":[[1],[', "disks.percent:/ä\\", "disks.percent:\\", "swap"]
    for at in range(3600, 7200, 7):
        if at // 300 % 3:
            values = {name: rng.uniform(-5, 1e12) for name in names[: rng.randrange(6)]}
            chunk.add(at * 1_000_000, values)
    grid, means = Chunk(1800, size_s, 4800 // size_s), Means(1800, size_s, 4800 // size_s)
    for found in (grid, means):
        found.absorb_packed(chunk.pack(), 3600, 60, 60, lambda name: name != "swap")
    assert set(grid.cells) == set(names[:4])
    for name, row in grid.cells.items():
        expected = [None if cell is None else pytest.approx(cell[2] / cell[0]) for cell in row]
        assert means.rows()[name] == expected, name
    means.absorb_packed(Chunk(0, 60, 60).pack(), 0, 60, 60, None)
    for text in (
        "",
        "[]",
        '{"a":[[1],[1],[1]]}',
        '{"a":[[1],[1],[1],[1]]} ',
        '{"a":1,"b":[[1],[1],[1],[1]]}',
    ):
        with pytest.raises(ValueError, match="not a packed chunk"):
            means.absorb_packed(zlib.compress(text.encode()), 0, 60, 1, None)


def test_figures_of_odd_samples() -> None:
    assert figures({}) == {}
    odd: dict[str, Any] = {
        "cpu": None,
        "memory": [],
        "load": {"load_1m": None, "load_5m": True, "load_15m": "9", "more": 1},
        "disks": [{"mount": "/", "percent": 12}, {"percent": 3}, "x", {"mount": "/" * 999, "percent": 1}],
        "network": {"rx_bytes_per_s": 1e300, "interfaces": [{"name": "eth0", "rx_bytes_per_s": 5}]},
        "disk_io": {"device": "sda"},
        "processes": {"count": 7},
    }
    assert figures(odd) == {
        "disks.percent:/": 12.0,
        "network.rx_bytes_per_s:eth0": 5.0,
        "processes.count": 7.0,
    }


@pytest.mark.parametrize(
    ("span_s", "age_s", "interval_s", "step_s"),
    [
        (3600, 3600, 10, 20),
        (3600, 3600, 1, 15),
        (86400, 86400, 10, 300),
        (7 * 86400, 7 * 86400, 10, 3600),
        (365 * 86400, 365 * 86400, 10, 172800),
        (3600, 3600, 3600, 7200),
        (3600, 3 * 86400, 1, 60),
        (3600, 40 * 86400, 1, 900),
    ],
)
def test_the_step_fits_span_age_and_interval(span_s: int, age_s: int, interval_s: float, step_s: int) -> None:
    assert series.step_for(0, span_s, 300, interval_s, age_s, KEPT) == step_s


def test_the_series_of_the_api(sampled: Sampled) -> None:
    sampled.deliver((5, 10.0), (15, 30.0), (105, 50.0))
    sampled.center.clock.advance(120)
    path = f"/api/v1/agents/{sampled.agent.agent_id}/series"
    asked = {"from": "2026-01-01T00:00:00Z", "points": "10"}
    body = sampled.center.get(path, **asked).json
    assert body == {
        "agent_id": sampled.agent.agent_id,
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-01T00:02:00Z",
        "step_s": 20,
        "series": {
            "cpu.percent": {
                "min": [10, None, None, None, None, 50],
                "mean": [20, None, None, None, None, 50],
                "max": [30, None, None, None, None, 50],
            }
        },
    }
    assert sampled.center.get(path, figures="load.load_1m,x", **asked).json["series"] == {}
    assert sampled.center.get(path).json["step_s"] == 20
    for wrong in (
        {"from": "2026-01-02T00:00:00Z"},
        {"from": "1990-01-01T00:00:00Z"},
        {"figures": ""},
        {"figures": ",".join("x" * 65)},
        {"points": "9"},
    ):
        assert problem(sampled.center.get(path, **wrong)) == "bad-parameter"
    assert problem(sampled.center.get("/api/v1/agents/agent-0000000000000000/series")) == "agent-unknown"


def test_retention_of_the_configuration() -> None:
    from nerve_center.config import Retention

    assert series.kept(replace(Retention(), raw_h=2)) == series.Kept(7200, 30 * 86400)


def test_charts_of_a_long_span_are_drawn_from_rollups(sampled: Sampled, desk: Desk) -> None:
    sampled.agent.deliver(
        *[
            sampled.agent.record(
                seq,
                time=format_time((T0 + seq * 60) * 1_000_000),
                data={
                    "cpu": {"user_percent": 10},
                    "disks": [{"mount": "/home", "percent": 40}],
                    "disk_io": [{"device": "sda", "read_bytes_per_s": 7, "write_bytes_per_s": 9}],
                },
            )
            for seq in range(1, 200)
        ]
    )
    sampled.center.clock.advance(5 * 86400)
    gathered = task.step(desk)
    assert gathered == "4 hours gathered"
    with reading(sampled.center.center.engine) as connection:
        row = agents.by_id(connection, sampled.agent.agent_id)
        assert row is not None
        now_us = sampled.center.clock.now_us()
        course = charts.between(connection, row, now_us - 7 * 86400_000_000, now_us, now_us, KEPT)
    assert (course.step_us, course.late) == (1800 * 1_000_000, [])
    found = charts.document(course.points, course.step_us, now_us - 7 * 86400_000_000, now_us)
    drawn = {
        (group, line["name"]): line["values"] for group, lines in found["groups"].items() for line in lines
    }
    assert drawn == {
        ("cpu", "user"): [10] * 7,
        ("disks", "/home"): [40] * 7,
        ("disk_io", "sda read"): [7] * 7,
        ("disk_io", "sda written"): [9] * 7,
    }


def test_what_came_after_an_outage_is_known_from_rollups_as_well(sampled: Sampled, desk: Desk) -> None:
    sampled.deliver(*regular(0, 600))
    sampled.center.clock.advance(7300)
    sampled.deliver(*regular(3600, 4200))
    sampled.deliver((7300, 1.0))
    spans = []
    for rolled in (False, True):
        if rolled:
            sampled.center.clock.advance(3600)
            assert task.step(desk) == "3 hours gathered"
        with reading(sampled.center.center.engine) as connection:
            row = agents.by_id(connection, sampled.agent.agent_id)
            assert row is not None
            since_us, until_us = T0 * 1_000_000, (T0 + 86400) * 1_000_000
            now_us = sampled.center.clock.now_us()
            spans.append(charts.between(connection, row, since_us, until_us, now_us, KEPT).late)
            grid = Chunk(T0, 60, 120)
            series.fill(connection, row.key, grid, Clock(10.0, 0.0))
        late_s = [cell for cell in grid.cells[LATE] if cell is not None]
        assert len(late_s) == 10
        assert (min(cell[1] for cell in late_s), max(cell[3] for cell in late_s)) == (3140, 3700)
    assert spans == [[[(T0 + 3600) * 1000, (T0 + 4320) * 1000]]] * 2


@pytest.mark.parametrize(
    ("after_s", "clock", "found"),
    [
        (69, Clock(10.0, 0.0), {}),
        (70, Clock(10.0, 0.0), {LATE: 70.0}),
        (600, Clock(10.0, -600.0), {}),  # the agent's clock is slow by as much
        (0, Clock(10.0, 90.0), {LATE: 90.0}),
    ],
)
def test_what_counts_as_late(after_s: int, clock: Clock, found: dict[str, float]) -> None:
    assert lateness(T0 * 1_000_000, (T0 + after_s) * 1_000_000, clock) == found
