"""Three nerve centers on one PostgreSQL with a replica, behind HAProxy; one machine after the other fails.

The set-up is that of docs/scaling.md, HAProxy's configuration is taken from there word for word. DIO_E2E_AGENTS says
how many agents are simulated beside the three real ones.
"""

from __future__ import annotations

import json
import os
import time

import pytest
from conftest import MakeHost, Note
from harness import dio
from harness.cluster import URL, Cluster
from harness.commands import wait_for
from harness.network import Network
from harness.packaged import upgrade_center

AGENTS = int(os.environ.get("DIO_E2E_AGENTS", "40"))
LEASE_S = 15
PASSWORD = "a password of the cluster"


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_any_machine_may_fail(make_host: MakeHost, network: Network, note: Note) -> None:
    """Nothing is lost or stored twice, whatever fails; what one center learns holds at the others."""
    cluster = Cluster(make_host, network)
    cluster.simulate(AGENTS)
    cluster.all_well()
    _people_are_known_everywhere(cluster)
    _a_rolling_upgrade_refuses_nothing(cluster)
    note("another keeper is at work after, seconds", _the_machine_of_the_keeper_dies(cluster))
    _the_network_of_a_center_is_cut(cluster)
    _the_primary_dies_and_its_replica_has_all(cluster)
    note(
        "acknowledged samples that were lost and sent again", _the_primary_dies_and_its_replica_lags(cluster)
    )

    assert cluster.end("db-1") == 0


def _people_are_known_everywhere(cluster: Cluster) -> None:
    """HAProxy gives each request to another center: the form, the login and the page after it."""
    cluster.centers[1].run("nervectl user add ann --role viewer --password-file -", stdin=PASSWORD + "\n")
    by_proxy = {"url": URL, "ca": "/etc/haproxy/ca.pem"}
    assert [dio.log_in(cluster.proxy, "ann", PASSWORD, **by_proxy) for _ in range(4)] == [[303, 200]] * 4
    wrong = [dio.log_in(cluster.proxy, "ann", "a wrong one", **by_proxy)[0] for _ in range(7)]
    assert wrong[:5] == [401] * 5 and wrong[-1] == 429, wrong


def _a_rolling_upgrade_refuses_nothing(cluster: Cluster) -> None:
    """One center after the other gets the next version, the first one newer tables; the old ones go on with them.

    One of the old ones is even started again. No report is refused and no agent notices.
    """
    before = cluster.simulated()["answers"]
    *_, last = cluster.centers
    for host in cluster.centers:
        tables = upgrade_center(host)
        cluster.wait_healthy(host)
        _proxy_uses_all(cluster)
        assert cluster.sql("db-1", "SELECT version_num FROM alembic_version") == tables
        if host is cluster.centers[0]:
            last.run(f"systemctl restart {dio.CENTER}")
            cluster.wait_healthy(last)
            _proxy_uses_all(cluster)
    after = cluster.simulated()["answers"]
    new = {status: count - before.get(status, 0) for status, count in after.items()}
    assert {status for status, count in new.items() if count} == {"200"}, new
    cluster.all_well()


def _proxy_uses_all(cluster: Cluster) -> None:
    """Wait until HAProxy has seen that all are there."""
    wait_for("HAProxy uses all centers", lambda: cluster.in_use() == 3, within_s=60)


def _the_machine_of_the_keeper_dies(cluster: Cluster) -> float:
    holder = wait_for("a keeper is at work", lambda: cluster.holder("db-1"), within_s=30)
    cluster.hosts[holder].lose_power()
    began = time.monotonic()

    def another() -> str | None:
        found = cluster.holder("db-1")
        return found if found not in ("", holder) else None

    wait_for("another keeper is at work", another, within_s=LEASE_S + 30)
    took = time.monotonic() - began
    cluster.boot(holder)
    cluster.start_agent(holder)
    cluster.wait_healthy(cluster.hosts[holder])
    cluster.all_well()
    return round(took, 1)


def _the_network_of_a_center_is_cut(cluster: Cluster) -> None:
    cluster.cut("center-2")
    cluster.proxy.run("sleep 20")
    cluster.connect("center-2")
    cluster.wait_healthy(cluster.hosts["center-2"])
    cluster.all_well()


def _the_primary_dies_and_its_replica_has_all(cluster: Cluster) -> None:
    """A synchronous replica has every commit that was acknowledged."""
    cluster.sql("db-1", "ALTER SYSTEM SET synchronous_standby_names = '*'")
    cluster.sql("db-1", "SELECT pg_reload_conf()")
    wait_for(
        "the replica is synchronous",
        lambda: cluster.sql("db-1", "SELECT sync_state FROM pg_stat_replication") == "sync",
        within_s=30,
    )
    stored = cluster.stored("db-1")
    cluster.hosts["db-1"].lose_power()
    wait_for("the replica has all of it", lambda: cluster.stored("db-2") >= stored, within_s=30)
    status, body = wait_for("a center notices", lambda: _unhealthy(cluster), within_s=60)
    assert status == 503 and "database" in json.loads(body)["reason"], body
    cluster.promote("db-2")
    cluster.all_well()
    cluster.boot("db-1")
    cluster.follow("db-1", "db-2")


def _the_primary_dies_and_its_replica_lags(cluster: Cluster) -> int:
    """What it had acknowledged and its replica never got comes again: how many samples that were."""
    cluster.cut("db-1")
    before = cluster.stored("db-2")
    wait_for(
        "the replica lags", lambda: cluster.stored("db-2") >= before + 2 * AGENTS, within_s=90, every_s=1
    )
    stored = cluster.stored("db-2")
    cluster.hosts["db-2"].lose_power()
    cluster.connect("db-1")
    lost = stored - cluster.stored("db-1")
    assert lost > 0
    cluster.promote("db-1")
    cluster.all_well()
    # Whose last report was acknowledged by db-2 learns with its next sample that it has to send that again.
    sampled = cluster.simulated()["sampled"]
    wait_for(
        "every agent has sampled since",
        lambda: cluster.simulated()["sampled"] >= sampled + 2 * AGENTS,
        within_s=90,
        every_s=1,
    )
    cluster.all_well()
    return lost


def _unhealthy(cluster: Cluster) -> tuple[int, str] | None:
    found = dio.get(cluster.centers[0], dio.CENTER_URL + "/health")
    return found if found[0] == 503 else None
