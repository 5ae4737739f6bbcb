"""A nerve center that outgrows SQLite: its database is copied into PostgreSQL, which then goes away and comes back."""

from __future__ import annotations

import json

import pytest
from conftest import MakeHost
from harness import dio, faults
from harness.commands import wait_for
from harness.host import Host

_SETTINGS = "/etc/dio-nerve-center/nerve-center.toml.d/20-postgresql.toml"
_SERVER = "postgresql.service"


def _health(host: Host) -> tuple[int, str]:
    status, body = dio.get(host, dio.CENTER_URL + "/health")
    return status, str(json.loads(body).get("reason", "")) if status else body


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

    host.run(f"systemctl stop {_SERVER} postgresql@*")
    wait_for("the center says what is wrong", lambda: _health(host)[0] == 503, within_s=20)
    assert "cannot be reached" in _health(host)[1], _health(host)
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
