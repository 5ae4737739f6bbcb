"""What else fails in a cluster (`test_cluster`): half of a machine, or a part that is there and does not work."""

from __future__ import annotations

import os
import time

import pytest
from conftest import MakeHost, Note
from harness import dio, faults
from harness.clocks import HOUR_S, WrongClock
from harness.cluster import URL, Cluster
from harness.commands import wait_for
from harness.host import Host
from harness.network import Network

AGENTS = int(os.environ.get("DIO_E2E_AGENTS", "40"))
LEASE_S = 15
PASSWORD = "a password of the cluster"
_SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF host(inet_client_addr()) = '{address}' THEN PERFORM pg_sleep(4); END IF; RETURN NEW;
END $$;
CREATE TRIGGER slow BEFORE UPDATE ON streams FOR EACH ROW EXECUTE FUNCTION slow()
"""


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_half_of_a_machine_may_fail(make_host: MakeHost, network: Network, note: Note) -> None:
    """Nothing is lost or stored twice, and what one machine cannot do the others go on doing."""
    cluster = Cluster(make_host, network)
    cluster.simulate(AGENTS)
    cluster.all_well()
    _the_proxy_is_killed(cluster)
    note(
        "others report again beside a frozen transaction, seconds",
        _a_center_freezes_in_a_transaction(cluster),
    )
    _a_center_is_cut_from_its_database(cluster, note)
    _the_database_has_no_connection_left(cluster)
    _the_replica_is_lost(cluster)
    _the_clock_of_a_center_is_wrong(cluster)
    note("another keeper is at work beside a frozen one after, seconds", _the_keeper_freezes(cluster))
    assert cluster.end("db-1") == 0


def _the_proxy_is_killed(cluster: Cluster) -> None:
    """systemd starts it again; what was under way is sent again."""
    cluster.proxy.run("kill -9 $(pidof haproxy)")
    cluster.proxy.run("sleep 3")
    cluster.all_well()
    cluster.proxy.run("systemctl stop haproxy; sleep 15; systemctl start haproxy")
    cluster.all_well()


def _a_center_freezes_in_a_transaction(cluster: Cluster) -> float:
    """The database takes its locks away, and the others go on; awake again, it finds its connection gone."""
    host = cluster.hosts["center-2"]
    cluster.sql("db-1", _SLOW.format(address=host.address))
    wait_for(
        "one of its transactions is slow",
        lambda: cluster.busy("db-1", "center-2", "wait_event = 'PgSleep'"),
        within_s=60,
        every_s=0.05,
    )
    host.run(f"systemctl kill -s STOP --kill-who=all {dio.CENTER}")
    began = time.monotonic()
    wait_for(
        "it is frozen in a transaction",
        lambda: cluster.busy("db-1", "center-2", "state = 'idle in transaction'"),
        within_s=30,
        every_s=0.1,
    )
    wait_for(
        "the database has ended that",
        lambda: not cluster.busy("db-1", "center-2", "state LIKE 'idle in transaction%'"),
        within_s=30,
    )
    cluster.sql("db-1", "DROP FUNCTION slow() CASCADE")
    cluster.all_well()
    took = time.monotonic() - began
    host.run(f"systemctl kill -s CONT --kill-who=all {dio.CENTER}", check=False)
    cluster.wait_healthy(host)
    cluster.all_well()
    return round(took, 1)


def _a_center_is_cut_from_its_database(cluster: Cluster, note: Note) -> None:
    """It says so, HAProxy leaves it out, and an agent that prefers it goes to the next of its list."""
    cut, agent = cluster.hosts["center-1"], cluster.hosts["center-2"]
    preferred = "http://center-1.example:8000"
    agent.run(f"systemctl restart {dio.AGENT}")  # it may have left that one for another in the faults before
    cluster.all_well()
    wait_for("it prefers the first", lambda: _reports_to(agent) == preferred, within_s=60)
    registered = _registrations(agent)
    cluster.cut_from_databases("center-1")
    began = time.monotonic()
    wait_for("it says so", lambda: not dio.healthy(cut), within_s=60)
    note("a center cut from its database says so after, seconds", round(time.monotonic() - began, 1))
    wait_for("HAProxy leaves it out", lambda: cluster.in_use() == 2, within_s=60)
    wait_for(
        "the agent reports to another one",
        lambda: _reports_to(agent) not in ("", preferred),
        within_s=60,
    )
    note("an agent reports to the next center after, seconds", round(time.monotonic() - began, 1))
    cluster.all_well()
    assert _registrations(agent) == registered, "they share a database"
    cluster.connect_to_databases("center-1")
    cluster.wait_healthy(cut)
    wait_for("HAProxy uses it", lambda: cluster.in_use() == 3, within_s=60)


def _reports_to(host: Host) -> str:
    return str((faults.asked(host) or {}).get("nerve_center", ""))


def _registrations(host: Host) -> int:
    return sum("registered" in line for line in host.messages(dio.AGENT))


def _the_database_has_no_connection_left(cluster: Cluster) -> None:
    cluster.sql("db-1", "ALTER DATABASE dio CONNECTION LIMIT 2")
    cluster.sql(
        "db-1",
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'dio-nerve-center'",
    )
    cluster.proxy.run("sleep 20")
    cluster.sql("db-1", "ALTER DATABASE dio CONNECTION LIMIT -1")
    for host in cluster.centers:
        cluster.wait_healthy(host)
    cluster.all_well()


def _the_replica_is_lost(cluster: Cluster) -> None:
    """Asynchronous, nobody notices; synchronous, nothing is acknowledged until it is back or not waited for."""
    replica = cluster.hosts["db-2"]
    before = cluster.simulated()["answers"]["200"]
    replica.run("systemctl stop postgresql@15-main")
    wait_for(
        "reports go on", lambda: cluster.simulated()["answers"]["200"] > before + 2 * AGENTS, within_s=60
    )
    cluster.all_well()
    cluster.sql("db-1", "ALTER SYSTEM SET synchronous_standby_names = '*'")
    cluster.sql("db-1", "SELECT pg_reload_conf()")
    wait_for("the centers say so", lambda: not dio.healthy(cluster.centers[0]), within_s=60)
    acknowledged = cluster.simulated()["answers"].get("200", 0)
    cluster.proxy.run("sleep 45")  # longer than any of the waits of a center or of its database
    assert cluster.simulated()["answers"].get("200", 0) == acknowledged
    replica.run("systemctl start postgresql@15-main")
    cluster.all_well()
    cluster.sql("db-1", "ALTER SYSTEM RESET synchronous_standby_names")
    cluster.sql("db-1", "SELECT pg_reload_conf()")


def _the_clock_of_a_center_is_wrong(cluster: Cluster) -> None:
    """By an hour, also where the keeper works: nobody counts as away, is logged out, or is refused."""
    host = cluster.hosts["center-3"]
    clock = WrongClock(host, dio.CENTER, dio.KEEPER)
    host.run(f"systemctl restart {dio.CENTER}")
    cluster.wait_healthy(host)
    others = [cluster.hosts[name] for name in ("center-1", "center-2")]
    for each in others:
        each.run(f"systemctl stop {dio.KEEPER}")
    wait_for("its keeper works", lambda: cluster.holder("db-1") == "center-3", within_s=60)
    host.run("nervectl user add ann --role viewer --password-file -", stdin=PASSWORD + "\n")
    for wrong_s in (HOUR_S, -HOUR_S, 0):
        clock.set(wrong_s)
        cluster.proxy.run("sleep 12")
        cluster.all_well()
        assert dio.log_in(cluster.proxy, "ann", PASSWORD, url=URL, ca="/etc/haproxy/ca.pem") == [303, 200]
        for center in (host, others[0]):
            wait_for(
                "all agents count as active",
                lambda center=center: {each["state"] for each in dio.Api(center).agents()} == {"active"},
                within_s=60,
                every_s=2,
            )
    for each in others:
        each.run(f"systemctl start {dio.KEEPER}")


def _the_keeper_freezes(cluster: Cluster) -> float:
    """Another takes over; the frozen one, awake again, writes nothing and waits."""
    holder = cluster.holder("db-1")
    host = cluster.hosts[holder]
    host.run(f"systemctl kill -s STOP --kill-who=all {dio.KEEPER}")
    began = time.monotonic()
    wait_for(
        "another keeper works", lambda: cluster.holder("db-1") not in ("", holder), within_s=LEASE_S + 30
    )
    took = time.monotonic() - began
    host.run(f"systemctl kill -s CONT --kill-who=all {dio.KEEPER}")
    wait_for("it waits", lambda: host.prop(dio.KEEPER, "StatusText").startswith("waiting"), within_s=60)
    assert cluster.holder("db-1") not in ("", holder)
    cluster.all_well()
    return round(took, 1)
