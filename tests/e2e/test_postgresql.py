"""A nerve center that outgrows SQLite: its database is copied into PostgreSQL, which then goes away and comes back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from conftest import MakeHost
from harness import dio, faults
from harness.clocks import WrongClock
from harness.commands import wait_for
from harness.host import Host

_SETTINGS = "/etc/dio-nerve-center/nerve-center.toml.d/20-postgresql.toml"
_RETENTION = "/etc/dio-nerve-center/nerve-center.toml.d/30-retention.toml"
_SERVER = "postgresql.service"


def _why_unhealthy(host: Host) -> str:
    """What the center says of itself with 503; empty where it says that it is healthy."""
    status, body = dio.get(host, dio.CENTER_URL + "/health")
    return str(json.loads(body)["reason"]) if status == 503 else ""


def _keep(host: Host, raw_h: int) -> None:
    """Keep samples for so long, from now on."""
    host.write(_RETENTION, f"[retention]\nraw_h = {raw_h}\n")
    host.run(f"systemctl restart {dio.CENTER} {dio.KEEPER}")


def _sql(host: Host, statement: str) -> str:
    return host.run(f'runuser -u postgres -- psql -qAt dio -c "{statement}"').strip()


def _days_go_whole(host: Host) -> None:
    """What a host with a clock of four days ago sampled goes with its day's table, and nothing is unaccounted for."""
    begun = datetime.now(UTC).date() - timedelta(days=4)
    _keep(host, 240)
    tables = [f"samples_{begun + timedelta(days=later):%Y%m%d}" for later in (0, 1)]  # midnight may come
    wait_for("its table", lambda: _sql(host, f"SELECT to_regclass('{tables[1]}')"), within_s=90)
    clock = WrongClock(host, dio.AGENT)
    clock.set(-4 * 86400)
    host.run(f"systemctl restart {dio.AGENT}")

    def stored() -> bool:
        return any(len(_sql(host, f"TABLE {table}").splitlines()) > 2 for table in tables)

    wait_for("samples of four days ago", stored, within_s=60)
    clock.set(0)
    host.run(f"systemctl restart {dio.AGENT}")
    _keep(host, 48)
    wait_for("the table is gone", lambda: not _sql(host, f"SELECT to_regclass('{tables[0]}')"), within_s=180)
    faults.healed(host)


@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_grow_to_postgresql(make_host: MakeHost) -> None:
    """Nothing is lost or stored twice by the move, by 20 s without the server, or by its crash."""
    host = make_host("alpha", "postgresql", files=faults.FAST)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT} {_SERVER}")
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()
    tags = {sample["tag"] for sample in dio.Api(host).samples(agent["id"])}
    assert tags
    host.run("runuser -u postgres -- createuser dio-nerve-center")
    host.run("runuser -u postgres -- createdb -T template0 -E UTF8 -O dio-nerve-center dio")

    assert "running" in host.run_full("nervectl database copy postgresql:///dio", check=False).stderr
    host.run(f"systemctl stop {dio.CENTER}")
    assert "counted and compared" in host.run("nervectl database copy postgresql:///dio")
    host.run(f"printf '[database]\\nurl = \"postgresql:///dio\"\\n' > {_SETTINGS}")
    host.run(f"systemctl start {dio.CENTER}")
    faults.healed(host)
    assert not faults.stored_once(host, agent["id"], tags)

    _days_go_whole(host)

    host.run(f"systemctl stop {_SERVER} postgresql@*")
    # Asked once: each worker looks for itself, and another one may not have looked yet.
    gone = wait_for("the center is not healthy", lambda: _why_unhealthy(host), within_s=20)
    assert "cannot be reached" in gone, gone
    host.run("sleep 20")
    assert host.active(dio.CENTER)
    host.run(f"systemctl start {_SERVER}")
    faults.healed(host)

    host.run("kill -9 $(head -n 1 /var/lib/postgresql/*/main/postmaster.pid)")
    host.run(f"systemctl stop {_SERVER} postgresql@*; systemctl start {_SERVER}")
    faults.healed(host)
    wait_for("the keeper", lambda: host.active(dio.KEEPER), within_s=30)
    assert not faults.stored_once(host, agent["id"], tags)

    assert "can be read" in host.run("nervectl database check")
    host.run("nervectl database backup /root/copy")
    host.run(f"systemctl stop {dio.CENTER}")
    host.run("runuser -u postgres -- dropdb -f dio")
    host.run("runuser -u postgres -- createdb -T template0 -E UTF8 -O dio-nerve-center dio")
    assert "restored" in host.run("nervectl database restore /root/copy")
    host.run(f"systemctl start {dio.CENTER}")
    faults.healed(host)
    for unit in (dio.CENTER, dio.KEEPER):
        assert not [line for line in host.messages(unit) if line.startswith("Traceback")]
