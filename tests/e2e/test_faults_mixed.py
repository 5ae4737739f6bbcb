"""All faults mixed at random on installed packages: a nerve center and agents, each a host of its own.

It is run on demand, for as long as is wanted; one that failed again by the seed that it printed:

    DIO_MIXED_SECONDS=600 DIO_MIXED_AGENTS=10 DIO_MIXED_SEED=12345 scripts/e2e -k mixed
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import MakeHost, Note
from harness import dio, faults
from harness.host import Host
from harness.mixed import Mixed
from harness.network import Network

SECONDS = float(os.environ["DIO_MIXED_SECONDS"])
AGENTS = int(os.environ.get("DIO_MIXED_AGENTS", "3"))
SEED = int(os.environ.get("DIO_MIXED_SEED", "20240229"))
LISTEN = {"/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml": '[server]\nhost = "0.0.0.0"\n'}


def _site(make_host: MakeHost) -> tuple[Host, list[Host]]:
    """A nerve center, and hosts that report to it."""
    center = make_host("center", files=LISTEN)
    center.run(f"systemctl enable --now {dio.CENTER}")
    hosts = [make_host(f"host{number}", files=faults.FAST) for number in range(1, AGENTS + 1)]
    for host in hosts:
        dio.enroll(host, center)
        host.run(f"systemctl enable {dio.AGENT}")
    return center, hosts


def _report(center: Host, agent_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(center.run(f"nervectl continuity --json --agent {agent_id}"))[
        "agents"
    ][0]
    return found


def _agent_id(host: Host) -> str:
    return str((faults.asked(host) or {})["agent_id"])


def _pss_kib(host: Host) -> int:
    printed = host.run(f"grep ^Pss: /proc/{host.prop(dio.AGENT, 'MainPID')}/smaps_rollup")
    return int(printed.split()[1])


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 60 * AGENTS + 420)
@pytest.mark.parametrize("release", ["trixie"], indirect=True)
def test_mixed_at_random(make_host: MakeHost, network: Network, note: Note) -> None:
    """Afterwards every agent is active by itself, and each sample that was seen on a disk is stored once or counted."""
    print(f"DIO_MIXED_SECONDS={SECONDS:g} DIO_MIXED_AGENTS={AGENTS} DIO_MIXED_SEED={SEED}")
    center, hosts = _site(make_host)
    mixed = Mixed(center, hosts, network, SEED)
    for host in hosts:
        host.run(f"systemctl start {dio.AGENT}")
    for host in hosts:
        dio.wait_acknowledged(host, within_s=60)
    ids = [_agent_id(host) for host in hosts]
    memory = {host.name: _pss_kib(host) for host in hosts}
    mixed.run(SECONDS)
    over = time.time()
    active = _all_active(hosts, over)
    note("seed, seconds, agents", f"{SEED}, {SECONDS:g}, {AGENTS}")
    note("faults", ", ".join(f"{count} x {name}" for name, count in sorted(Counter(mixed.done).items())))
    note("active again after, seconds", ", ".join(f"{seconds:.1f}" for seconds in sorted(active.values())))
    for host in hosts:
        mixed.witness(host)
    for host in hosts:
        # What a restored nerve center lacks may wait on a disk that is taken again half a minute after it healed.
        faults.condition(host, "spool_in_memory", there=False)
        faults.healed(host, center)
    assert [_agent_id(host) for host in hosts] == ids, "taken for another host"
    for host, agent_id in zip(hosts, ids, strict=True):
        report = _report(center, agent_id)
        lost = faults.stored_once(center, agent_id, mixed.witnessed[host.name])
        restarts = host.prop(dio.AGENT, "NRestarts")
        note(
            host.name,
            f"{len(mixed.witnessed[host.name])} witnessed, {report['records']} stored, {len(lost)} lost, "
            f"{report['in_gaps']} in gaps, {report['unaccounted']} unaccounted, "
            f"{len({stream['epoch'] for stream in report['streams']})} histories, {restarts} restarts, "
            f"{memory[host.name]} -> {_pss_kib(host)} KiB",
        )
        assert len(lost) <= report["in_gaps"], lost
        crashed = host.run(f"journalctl -q -o cat -u {dio.AGENT} | grep -A12 ^Traceback", check=False)
        assert not crashed, crashed
        gone = host.run(f"journalctl -q -o cat -u {dio.AGENT} | grep '^Threat.* was removed'", check=False)
        assert not gone, gone
    assert len(dio.Api(center).agents()) == len(hosts)
    faults.steady([*hosts, center])


def _all_active(hosts: list[Host], over: float) -> dict[str, float]:
    """By host, seconds from the end of the last fault (time of day) until a report was acknowledged.

    Each host is asked by a thread of its own: one that does not answer makes nobody look late.
    """
    with ThreadPoolExecutor(len(hosts)) as pool:
        found = pool.map(lambda host: faults.acknowledged_after(host, over), hosts)
        return {host.name: seconds for host, seconds in zip(hosts, found, strict=True)}
