"""The continuity report: right about every seq, because it looks at every seq."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from nerve_center.continuity import holes
from nerve_center.nervectl import main
from nerve_center.store.tables import samples

from .harness import CenterUnderTest


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), max_size=20), st.integers(0, 50))
def test_holes_agree_with_counting(starts: list[tuple[int, int]], last: int) -> None:
    ranges = [(first, first + length) for first, length in starts]
    counts: dict[int, int] = {}
    for first, end in ranges:
        for seq in range(first, end + 1):
            counts[seq] = counts.get(seq, 0) + 1
    missing, overlapping = holes(ranges, last)
    found = {seq for first, end in missing for seq in range(first, end + 1)}
    assert found >= {seq for seq in range(1, last + 1) if seq not in counts}
    assert all(seq not in counts for seq in found)
    beyond = max([0, *counts]) - last
    doubled = sum(count - 1 for count in counts.values())
    assert overlapping == doubled + max(0, beyond)


def test_records_gaps_and_duplicates_account_for_everything(center: CenterUnderTest) -> None:
    agent = center.agent()
    first = [agent.record(n) for n in range(1, 6)]
    agent.deliver(*first)
    gap = agent.record(9, "gap", from_seq=6, data={"count": 4, "reason": "spool_full"})
    agent.deliver(gap, agent.record(10))
    agent.epoch, agent.marks = "f" * 16, {}
    again = [{**record, "seq": n, "from_seq": n} for n, record in enumerate([*first[2:], gap], 1)]
    agent.deliver(*again, agent.record(5))
    agent.deliver(agent.record(1, "event"), stream="events")
    report = center.get(f"/api/v1/agents/{agent.agent_id}/continuity").json
    assert report["complete"]
    assert report["unaccounted"] == 0
    assert report["in_gaps"] == 4
    one, two, three = report["streams"]
    assert (one["records"], one["last_seq"], one["gaps"]) == (6, 10, [{"reason": "spool_full", "count": 4}])
    assert (two["records"], two["last_seq"], two["duplicates_skipped"]) == (1, 5, 4)
    assert (three["stream"], three["records"]) == ("events", 1)


def test_what_is_gone_from_the_tables_is_missing(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(*[agent.record(n) for n in range(1, 11)])
    center.center.writer.submit(
        lambda connection: connection.execute(delete(samples).where(samples.c.seq.in_([3, 4, 10])))
    )
    report = center.get(f"/api/v1/agents/{agent.agent_id}/continuity").json
    assert not report["complete"]
    assert report["unaccounted"] == 3
    assert report["streams"][0]["missing"] == [{"from_seq": 3, "seq": 4}, {"from_seq": 10, "seq": 10}]


def test_since_leaves_old_histories_out(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    center.clock.advance(3600)
    report = center.get(f"/api/v1/agents/{agent.agent_id}/continuity", since="2026-01-01T00:30:00Z").json
    assert report["streams"] == []
    assert center.get(f"/api/v1/agents/{agent.agent_id}/continuity", since="x").status_code == 400


@pytest.mark.parametrize("broken", [False, True])
def test_nervectl_continuity(center: CenterUnderTest, tmp_path: Path, broken: bool) -> None:
    agent = center.agent()
    agent.deliver(*[agent.record(n) for n in range(1, 4)])
    if broken:
        center.center.writer.submit(
            lambda connection: connection.execute(delete(samples).where(samples.c.seq == 2))
        )
    settings = center.configuration()
    command = ["--config", str(settings), "continuity"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == (1 if broken else 0), done.output
    assert agent.agent_id in done.output
    document = json.loads(
        CliRunner().invoke(main, [*command, "--json", "--since", "2026-01-01T00:00:00Z"]).output
    )
    assert document["agents"][0]["unaccounted"] == (1 if broken else 0)
    assert CliRunner().invoke(main, [*command, "--agent", "agent-none"]).exit_code == 1
    assert CliRunner().invoke(main, [*command, "--since", "yesterday"]).exit_code == 2
