from typing import Any

import pytest

from nerve_center.ingest import MOST_DATA_BYTES
from tests.unit.center.harness import CenterUnderTest, packed, problem


def test_records_are_stored_and_the_mark_moves(center: CenterUnderTest) -> None:
    agent = center.agent()
    records = [agent.record(seq) for seq in (1, 2, 3)]
    answer = agent.deliver(*records)
    assert answer["mark"] == {"seq": 3, "tag": records[-1]["tag"]}
    assert (answer["stored"], answer["skipped"]) == (3, 0)
    page = agent.samples().json
    assert [item["data"] for item in page["samples"]] == [item["data"] for item in records]
    assert [item["tag"] for item in page["samples"]] == [item["tag"] for item in records]
    assert page["samples"][0]["epoch"] == agent.epoch
    assert page["next"] is None


def test_a_report_that_comes_twice_is_stored_once(center: CenterUnderTest) -> None:
    agent = center.agent()
    body = agent.report([agent.record(1), agent.record(2)])
    first, second = agent.send(body), agent.send(body)
    assert first.json["mark"] == second.json["mark"]
    assert (second.json["stored"], second.json["skipped"]) == (0, 2)
    assert agent.seen()["records"]["samples"] == 2


def test_only_what_is_new_of_an_overlapping_report(center: CenterUnderTest) -> None:
    agent = center.agent()
    records = [agent.record(seq) for seq in (1, 2, 3)]
    agent.send(agent.report(records[:2]))
    answer = agent.send(agent.report(records)).json
    assert (answer["stored"], answer["skipped"], answer["mark"]["seq"]) == (1, 2, 3)


def test_without_records_it_asks_for_the_mark(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    same = agent.send(agent.report([]))
    assert (same.status_code, same.json["mark"]) == (200, agent.marks["samples"])
    other = agent.send(agent.report([], after={"seq": 7, "tag": "0" * 16}))
    assert (other.status_code, problem(other), other.json["mark"]) == (
        409,
        "mark-mismatch",
        agent.marks["samples"],
    )


@pytest.mark.parametrize(
    "case", ["hole", "ahead", "another tag", "other record at the mark", "not in the report", "gap too short"]
)
def test_what_does_not_continue_the_mark_is_answered_with_it(center: CenterUnderTest, case: str) -> None:
    agent = center.agent()
    known = [agent.record(1), agent.record(2)]
    agent.deliver(*known)
    mark = agent.marks["samples"]
    body = {
        "hole": lambda: agent.report([agent.record(4)]),
        "ahead": lambda: agent.report([agent.record(10)], after={"seq": 9, "tag": "0" * 16}),
        "another tag": lambda: agent.report([agent.record(3)], after={"seq": 2, "tag": "0" * 16}),
        "other record at the mark": lambda: agent.report(
            [known[0], agent.record(2), agent.record(3)], after={"seq": 0, "tag": None}
        ),
        "not in the report": lambda: agent.report(
            [known[0], agent.record(3, "gap", from_seq=2)], after={"seq": 0, "tag": None}
        ),
        "gap too short": lambda: agent.report([agent.record(5, "gap", from_seq=4)]),
    }[case]()
    response = agent.send(body)
    assert (response.status_code, problem(response), response.json["mark"]) == (409, "mark-mismatch", mark)
    assert agent.seen()["records"]["samples"] == 2


def test_the_first_report_of_a_center_that_lost_everything(center: CenterUnderTest) -> None:
    agent = center.agent()
    response = agent.send(agent.report([agent.record(8)], after={"seq": 7, "tag": "0" * 16}))
    assert (response.status_code, response.json["mark"]) == (409, {"seq": 0, "tag": None})


def test_gaps_are_counted_and_continue_the_stream(center: CenterUnderTest) -> None:
    agent = center.agent()
    gap = agent.record(9, "gap", from_seq=2, data={"count": 8, "reason": "spool_full"})
    agent.deliver(agent.record(1), gap, agent.record(10))
    assert agent.seen()["records"] == {"samples": 2, "events": 0, "gaps": 1}


def test_the_same_record_under_another_epoch_is_skipped_and_counted(center: CenterUnderTest) -> None:
    agent = center.agent()
    records = [agent.record(1), agent.record(2)]
    agent.deliver(*records)
    agent.epoch, agent.marks = "f" * 16, {}
    moved = [{**records[1], "seq": 1, "from_seq": 1}, agent.record(2)]
    answer = agent.deliver(*moved)
    assert (answer["stored"], answer["skipped"]) == (1, 1)
    assert agent.seen()["records"]["samples"] == 3


def test_streams_and_kinds_go_their_own_ways(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    unknown = agent.record(2, "sensor.from-the-future", data={"anything": [1, None, {"x": "y"}]})
    agent.deliver(agent.record(1, "event"), unknown, agent.record(3, "threat"), stream="events")
    assert agent.seen()["records"] == {"samples": 1, "events": 3, "gaps": 0}


def test_threats_open_change_and_clear(center: CenterUnderTest) -> None:
    agent = center.agent()

    def active() -> int:
        center.center.probe.step()
        return int(center.center.probe.health()["threats_active"])

    threat = {"type": "disk", "severity": "low", "fingerprint": "disk:/", "state": "open"}
    agent.deliver(agent.record(1, "threat", data=threat), stream="events")
    agent.deliver(agent.record(2, "threat", data={**threat, "severity": "high"}), stream="events")
    assert active() == 1
    agent.deliver(agent.record(3, "threat", data={**threat, "state": "cleared"}), stream="events")
    assert active() == 0
    late = agent.record(4, "threat", data=threat, time="2020-01-01T00:00:00Z")
    agent.deliver(late, stream="events")
    assert active() == 0
    agent.deliver(agent.record(5, "threat", data=threat), stream="events")
    assert active() == 1


def test_presence_follows_the_reports(center: CenterUnderTest) -> None:
    agent = center.agent(interval_s=1)
    agent.deliver(agent.record(1))
    states = []
    for _ in range(7):
        states.append(agent.seen()["state"])
        center.clock.advance(1)
    assert states == ["active"] * 5 + ["warning", "offline"]
    agent.deliver(agent.record(2))
    assert agent.seen()["state"] == "active"


def test_the_clock_of_the_agent_against_ours(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.send(agent.report([], sent_at="2026-01-01T00:01:00Z"))
    assert agent.seen()["clock_skew_s"] == pytest.approx(60)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"kind": "Sample"}, "records.1.kind"),
        ({"tag": "xyz"}, "records.1.tag"),
        ({"seq": 1, "from_seq": 1}, "records.1.seq"),
        ({"from_seq": 1}, "records.1.from_seq"),
        ({"time": "2026-13-01T00:00:00Z"}, "records.1.time"),
        ({"time": "2026-02-30T00:00:00Z"}, "records.1.time"),
        ({"data": {"cpu": {"percent": "high"}}}, "records.1.data.cpu.percent"),
        ({"data": {"cpu": {"percent": True}}}, "records.1.data.cpu.percent"),
        ({"data": {"x": "y" * MOST_DATA_BYTES}}, "records.1.data"),
        ({"data": {"x": "\ud800"}}, "records.1.data"),
        ({"kind": "gap", "data": {"count": 0, "reason": "x"}}, "records.1.data.count"),
        ({"kind": "gap", "from_seq": 3, "data": {"count": 1, "reason": "x"}}, "records.1.from_seq"),
        ({"kind": "threat", "data": {"type": "x"}}, "records.1.data"),
        (
            {
                "kind": "threat",
                "data": {"type": "x", "severity": "low", "fingerprint": "\0", "state": "open"},
            },
            "records.1.data.fingerprint",
        ),
        ({"kind": "event", "data": {"type": "x", "message": "y" * 5000}}, "records.1.data.message"),
    ],
)
def test_an_invalid_record_is_named_and_nothing_is_stored(
    center: CenterUnderTest, changes: dict[str, Any], path: str
) -> None:
    agent = center.agent()
    response = agent.send(agent.report([agent.record(1), {**agent.record(2), **changes}, agent.record(3)]))
    assert (response.status_code, problem(response)) == (422, "invalid-record"), response.text
    assert (response.json["index"], response.json["seq"]) == (1, changes.get("seq", 2))
    assert response.json["errors"][0]["path"] == path
    assert agent.seen()["records"] == {"samples": 0, "events": 0, "gaps": 0}


def test_a_number_that_json_makes_infinite(center: CenterUnderTest) -> None:
    agent = center.agent()
    body = agent.report([agent.record(1, data={"x": 12345})])
    import json

    response = agent.send(None, json.dumps(body).replace("12345", "1e999").encode())
    assert (response.status_code, problem(response)) == (422, "invalid-record")


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "changes",
    [
        {"stream": "other"},
        {"epoch": "x"},
        {"after": {}},
        {"after": {"seq": -1, "tag": None}},
        {"records": {}},
        {"interval_s": 1e9},
        {"run_id": 5},
        {"sent_at": "2026-02-30T00:00:00Z"},
        {"boot_id": "a\0"},
    ],
)
def test_a_report_that_does_not_fit(center: CenterUnderTest, changes: dict[str, Any]) -> None:
    agent = center.agent()
    response = agent.send({**agent.report([]), **changes})
    assert (response.status_code, problem(response)) == (422, "invalid-body"), response.text
    assert len(response.json["errors"]) == 1


def test_whole_numbers_may_be_written_with_a_point(center: CenterUnderTest) -> None:
    agent = center.agent()
    record = {**agent.record(1), "seq": 1.0, "from_seq": 1.0}
    assert agent.deliver(record)["mark"]["seq"] == 1
    assert agent.deliver(agent.record(2))["mark"]["seq"] == 2


def test_too_many_records(center: CenterUnderTest) -> None:
    agent = center.agent()
    response = agent.send(agent.report([agent.record(seq) for seq in range(1, 502)]))
    assert problem(response) == "invalid-body"


def test_a_compressed_report(center: CenterUnderTest) -> None:
    agent = center.agent()
    body = packed(agent.report([agent.record(seq) for seq in range(1, 201)]))
    response = agent.send(None, body, Content_Encoding="gzip")
    assert (response.status_code, response.json["stored"]) == (200, 200)


def test_times_long_ago_and_far_ahead(center: CenterUnderTest) -> None:
    agent = center.agent()
    times = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z", "9999-12-31T23:59:59.999999Z"]
    agent.deliver(*(agent.record(seq, time=time) for seq, time in enumerate(times, start=1)))
    assert [item["time"] for item in agent.samples().json["samples"]] == [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.500Z",
        "9999-12-31T23:59:59.999999Z",
    ]


def test_an_announced_maintenance_is_no_outage(center: CenterUnderTest) -> None:
    agent = center.agent()
    begin = agent.record(1, "event", data={"type": "maintenance.begin", "for_s": 3600})
    agent.deliver(begin, stream="events")
    center.clock.advance(600)
    assert agent.seen()["state"] == "maintenance"
    assert agent.seen()["maintenance_until"] == "2026-01-01T01:00:00Z"
    center.clock.advance(3001)
    assert agent.seen()["state"] == "offline"
    agent.deliver(agent.record(2, "event", data={"type": "maintenance.end"}), stream="events")
    assert agent.seen()["maintenance_until"] is None
