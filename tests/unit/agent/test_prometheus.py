"""The metrics' text: what Prometheus reads, figure by figure, and nothing that is not known."""

import re
from dataclasses import replace
from typing import Any

from dio_daemon.lifecycle import Snapshot, State
from dio_daemon.prometheus import exposition
from tests.support.control import SAMPLE

SNAPSHOT = Snapshot(
    State.WARNING,
    0.0,
    "2026-01-01T00:00:00.000Z",
    failures=2,
    agent_id="agent-x",
    last_acknowledged=90.0,
    conditions={"spool_filling": "s", "collect_cpu": "c"},
)
STREAM = {"next_seq": 8, "acknowledged_seq": 3, "pending": 4, "kept": 7, "gaps": {"thinned": 5}}
SPOOL = {
    "bytes": 10,
    "max_bytes": 100,
    "dead_letters": 1,
    "streams": {"events": {**STREAM, "gaps": {}, "pending": 0}, "samples": STREAM},
}
THREADS = {"link": {"hung_in_s": 5.0}, "sampler": {"hung_in_s": -1.0}}

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
_LINE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? ([-+0-9.e]+)")


def parsed(text: str) -> dict[str, float]:
    """Name with labels to value, held to the format: HELP and TYPE once and before, one group a name."""
    found: dict[str, float] = {}
    told: list[str] = []
    current = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in told, f"{current} comes twice"
            told.append(current)
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {current} gauge"
        else:
            match = _LINE.fullmatch(line)
            assert match, line
            assert match[1] == current
            key = line.rpartition(" ")[0]
            assert key not in found
            found[key] = float(match[match.re.groups])
    return found


def text(sample: dict[str, Any] | None = SAMPLE, snapshot: Snapshot = SNAPSHOT, paused_s: float = 0.0) -> str:
    return exposition(snapshot, SPOOL, THREADS, sample, "0.1.0", paused_s, 100.0)


def test_the_agent() -> None:
    found = parsed(text(paused_s=7.5))
    assert found['dio_agent_info{version="0.1.0",agent_id="agent-x"}'] == 1
    assert found['dio_agent_state{state="warning"}'] == 1
    assert sum(value for key, value in found.items() if key.startswith("dio_agent_state")) == 1
    assert found["dio_agent_consecutive_failures"] == 2
    assert found["dio_agent_acknowledged_age_seconds"] == 10
    assert found["dio_agent_paused_seconds"] == 7.5
    assert found['dio_agent_condition{code="collect_cpu"}'] == 1
    assert found['dio_agent_thread_left_seconds{thread="sampler"}'] == -1


def test_the_spool() -> None:
    found = parsed(text())
    assert found["dio_spool_bytes"] == 10
    assert found["dio_spool_max_bytes"] == 100
    assert found["dio_spool_dead_letters"] == 1
    assert found['dio_spool_pending{stream="samples"}'] == 4
    assert found['dio_spool_acknowledged_seq{stream="events"}'] == 3
    assert found['dio_spool_gap_records{stream="samples",reason="thinned"}'] == 5


def test_the_host() -> None:
    found = parsed(text())
    assert found["dio_host_cpu_percent"] == 12.5
    assert found["dio_host_load_1m"] == 0.25
    assert found['dio_host_disk_percent{mount="/"}'] == 40
    assert found['dio_host_network_rx_bytes_per_s{interface="eth0"}'] == 1500
    assert found["dio_host_processes_count"] == 100
    assert found["dio_host_uptime_seconds"] == 86400.5


def test_what_is_not_known_is_left_out_and_never_0() -> None:
    found = parsed(text())
    assert not any("pressure" in key or "swap_percent" in key for key in found)
    assert not any("odd" in key for key in found)
    empty = parsed(text(sample=None, snapshot=replace(SNAPSHOT, last_acknowledged=None)))
    assert not any(key.startswith("dio_host_") or "acknowledged_age" in key for key in empty)


def test_labels_are_escaped() -> None:
    odd = 'a"b\\c\nd'
    sample = {"disks": [{"mount": odd, "percent": 1.0}]}
    assert 'dio_host_disk_percent{mount="a\\"b\\\\c\\nd"} 1.0' in text(sample)
    parsed(text(sample))
