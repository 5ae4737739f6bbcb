"""What Prometheus reads: the format, who may read what, and that documentation and dashboard name what exists."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.center.harness import API_TOKEN, CenterUnderTest, problem
from tests.unit.docs import pages

_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
_LINE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? ([-+0-9.e]+)")


def parsed(text: str) -> dict[str, float]:
    """Name with labels to value, held to the format: HELP and TYPE once and before, one group a name, none twice."""
    found: dict[str, float] = {}
    told: list[str] = []
    current = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in told
            told.append(current)
        elif line.startswith("# TYPE "):
            assert line.split()[2:] == [current, "counter" if current.endswith("_total") else "gauge"]
        else:
            matched = _LINE.fullmatch(line)
            assert matched is not None, line
            assert matched[1] == current
            key = line.rpartition(" ")[0]
            assert key not in found
            found[key] = float(matched[3])
    return found


def scraped(center: CenterUnderTest, token: str | None = API_TOKEN, **query: Any) -> dict[str, float]:
    response = center.get("/metrics", token, **query)
    assert response.status_code == 200, response.text
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(response.text)


def filled(center: CenterUnderTest) -> str:
    """A host with figures, a threat and an awkward name; the labels that it has."""
    agent = center.agent(hostname='we"b\\1\nx')
    sample = {
        "cpu": {"percent": 12.5},
        "memory": {"percent": 40.0},
        "load": {"load_1m": 0.5},
        "disks": [{"mount": "/srv", "percent": 70.0}],
    }
    agent.deliver(agent.record(1, data=sample), agent.record(2, data=sample))
    agent.deliver(agent.record(1, "threat"), stream="events")
    center.center.probe.step()
    return f'agent_id="{agent.agent_id}",hostname="we\\"b\\\\1\\nx"'


def test_the_center_and_the_fleet(center: CenterUnderTest) -> None:
    labels = filled(center)
    found = scraped(center)
    assert found["dio_center_healthy"] == 1
    assert found['dio_center_hosts{state="active"}'] == 1
    assert found['dio_center_hosts{state="offline"}'] == 0
    assert found['dio_center_threats{state="open",severity="low"}'] == 1
    assert found['dio_center_threats{state="open",severity="critical"}'] == 0
    assert found['dio_center_records_total{kind="samples"}'] == 2
    assert found["dio_center_database_bytes"] > 0
    assert found[f"dio_host_up{{{labels}}}"] == 1
    assert found[f"dio_host_cpu_percent{{{labels}}}"] == 12.5
    assert found[f"dio_host_memory_percent{{{labels}}}"] == 40
    assert found[f"dio_host_load_1m{{{labels}}}"] == 0.5
    assert found[f'dio_host_disk_percent{{{labels},mount="/srv"}}'] == 70
    assert found[f"dio_host_threats_active{{{labels}}}"] == 1
    at = found[f"dio_host_last_report_timestamp_seconds{{{labels}}}"]
    assert at == pytest.approx(center.clock.now_us() / 1e6, abs=1)


def test_old_figures_are_not_shown_as_new(center: CenterUnderTest) -> None:
    labels = filled(center)
    center.clock.advance(3600)
    found = scraped(center)
    assert found[f"dio_host_up{{{labels}}}"] == 0
    assert not [name for name in found if name.startswith("dio_host_cpu_percent")]


def test_who_reads_what(center: CenterUnderTest) -> None:
    filled(center)
    names = set(scraped(center, None))
    assert names and not [name for name in names if name.startswith("dio_host")]
    for address in ("192.0.2.1", "::ffff:192.0.2.1", ""):
        refused = center.client.get("/metrics", environ_base={"REMOTE_ADDR": address})
        assert problem(refused) == "credential-missing"
    forwarded = center.client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
    assert problem(forwarded) == "credential-missing"
    assert problem(center.get("/metrics", "x" * 40)) == "credential-unknown"
    assert problem(center.get("/metrics", center.agent().credential)) == "api-token-required"
    assert problem(center.get("/metrics", None, x=1)) == "bad-parameter"


def names_in(center: CenterUnderTest) -> set[str]:
    filled(center)
    return {name.partition("{")[0] for name in scraped(center)}


def test_every_metric_is_told_and_none_that_is_not_there(center: CenterUnderTest) -> None:
    table = pages.rows(pages.section(pages.page("operate"), "Prometheus and Grafana"))[1:]
    assert {word for row in table for word in pages.code(row[0])} == names_in(center)


def test_the_dashboard_asks_for_nothing_that_is_not_there(center: CenterUnderTest) -> None:
    board = json.loads((pages.DOCS / "grafana" / "dio-fleet.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [item["query"] for item in board["templating"]["list"]]
    assert set(re.findall(r"dio_[a-z0-9_]+", " ".join(asked))) == names_in(center) - {"dio_center_info"}
