"""Several nerve centers on one PostgreSQL with a replica, behind HAProxy, as docs/scaling.md sets them up."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import dio, faults
from .commands import wait_for
from .host import Host
from .network import Network

REPOSITORY = Path(__file__).resolve().parents[3]
URL = "https://dio.example:8443"
_DATABASES = ("db-1", "db-2")
CENTERS = ("center-1", "center-2", "center-3")
# In the order in which the hosts are made: the network gives their addresses by it.
_NAMES = (*_DATABASES, *CENTERS, "dio")
_ADDRESSES = {name: f"10.77.0.{number}" for number, name in enumerate(_NAMES, 1)}
_DATABASE = "postgresql://dio-nerve-center:hush@/dio?host=db-1.example&host=db-2.example"
_CENTER = f'[server]\nhost = "0.0.0.0"\ntrusted_proxies = ["127.0.0.1", "::1", "{_ADDRESSES["dio"]}"]\n'
_SERVER = "listen_addresses = '*'\nmax_connections = 200\nshared_buffers = 32MB\n"
_ALLOWED = "host dio,replication all 10.77.0.0/24 scram-sha-256\n"
_MAIN = "/var/lib/postgresql/15/main"
_CERTIFICATE = (
    "cd /etc/haproxy && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    " -subj /CN=dio.example -addext subjectAltName=DNS:dio.example -keyout key.pem -out ca.pem 2> /dev/null"
    " && cat ca.pem key.pem > dio.pem"
)
_AGENT = {
    "center-1": f'url = "{URL}"\nca_file = "/etc/dio-agent/ca.pem"\n',
    "center-2": 'urls = ["http://center-1.example:8000", "http://center-3.example:8000", "http://center-2.example:8000"]\n'
    "allow_plain_http = true\n",
    "center-3": f'url = "{URL}"\nca_file = "/etc/dio-agent/ca.pem"\n',
}
_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE client_addr ="
SIMULATED = "/srv/status.json"
_STATISTICS = "127.0.0.1:8404"
_STATUS = 17
"""The column of a server's status: https://docs.haproxy.org/2.6/management.html#9.1"""


def haproxy_configuration() -> str:
    """The one that the documentation shows."""
    page = (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8")
    found = re.search(r"^```haproxy\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found, "docs/scaling.md shows no configuration of HAProxy"
    return found[1]


class Cluster:
    """The hosts, running; `make` makes and boots one."""

    def __init__(self, make: Callable[..., Host], network: Network) -> None:
        known = "".join(f"{address} {name} {name}.example\n" for name, address in _ADDRESSES.items())
        files = {"/etc/hosts": "127.0.0.1 localhost\n" + known, **faults.FAST}
        self._network = network
        self.hosts = {name: make(name, "postgresql", files=files) for name in _NAMES}
        assert {name: host.address for name, host in self.hosts.items()} == _ADDRESSES
        self.proxy = self.hosts["dio"]
        self.centers = [self.hosts[name] for name in CENTERS]
        self._simulation: subprocess.Popen[str] | None = None
        self._databases()
        self._centers()
        self._proxy()
        for name in CENTERS:
            self.start_agent(name)

    def _databases(self) -> None:
        for name in _DATABASES:
            host = self.hosts[name]
            host.write("/etc/postgresql/15/main/conf.d/cluster.conf", _SERVER)
            host.run(f"printf '{_ALLOWED}' >> /etc/postgresql/15/main/pg_hba.conf")
        primary = self.hosts["db-1"]
        primary.run("systemctl start postgresql")
        self.sql("db-1", "CREATE ROLE \"dio-nerve-center\" LOGIN PASSWORD 'hush'")
        self.sql("db-1", "CREATE ROLE replica LOGIN REPLICATION PASSWORD 'hush'")
        primary.run("runuser -u postgres -- createdb -T template0 -E UTF8 -O dio-nerve-center dio")
        self.follow("db-2", "db-1")

    def _centers(self) -> None:
        token = self.centers[0].run("nervectl token rotate 2> /dev/null || nervectl token show").split()[-1]
        for host in self.centers:
            host.write("/etc/dio-nerve-center/nerve-center.toml.d/20-cluster.toml", self._settings(host))
            for path in ("/etc/dio-nerve-center/enrollment-token", "/etc/dio-agent/enrollment-token"):
                host.run(f"cat > {path}", stdin=token + "\n")
        self.proxy.write("/srv/token", token)
        for host in self.centers:
            host.run(f"systemctl start --no-block {dio.CENTER}")
        for host in self.centers:
            self.wait_healthy(host)

    @staticmethod
    def _settings(host: Host) -> str:
        path = "/etc/dio-nerve-center/database-url"
        host.write(path, _DATABASE + "\n", 0o640)
        host.run(f"chgrp dio-nerve-center {path}")
        return f'{_CENTER}\n[database]\nurl_file = "{path}"\n'

    def _proxy(self) -> None:
        self.proxy.run(_CERTIFICATE)
        statistics = f"\nlisten statistics\n    bind {_STATISTICS}\n    stats enable\n    stats uri /\n"
        self.proxy.write("/etc/haproxy/haproxy.cfg", haproxy_configuration() + statistics)
        self.proxy.run("systemctl start haproxy")
        authority = self.proxy.run("cat /etc/haproxy/ca.pem")
        for host in self.centers:
            host.write("/etc/dio-agent/ca.pem", authority)

    # Machines

    def boot(self, name: str) -> None:
        """Switch a machine on again."""
        self.hosts[name].boot()
        if name in CENTERS:
            self.hosts[name].run(f"systemctl start --no-block {dio.CENTER}")

    def start_agent(self, name: str) -> None:
        """Start a center's own agent."""
        host = self.hosts[name]
        host.write("/etc/dio-agent/agent.toml.d/30-cluster.toml", f"[nerve_center]\n{_AGENT[name]}")
        host.run(f"systemctl start --no-block {dio.AGENT}")

    def cut(self, name: str) -> None:
        """Cut a machine off, silently."""
        self._network.cut(_ADDRESSES[name])

    def connect(self, name: str) -> None:
        """Undo `cut`."""
        self._network.connect(_ADDRESSES[name])

    def cut_from_databases(self, name: str) -> None:
        """What a center sends to the databases is lost, silently; all else arrives."""
        for database in _DATABASES:
            self._network.lose(_ADDRESSES[name], _ADDRESSES[database])

    def connect_to_databases(self, name: str) -> None:
        """Undo `cut_from_databases`."""
        for database in _DATABASES:
            self._network.deliver(_ADDRESSES[name], _ADDRESSES[database])

    def wait_healthy(self, host: Host, *, within_s: float = 90) -> None:
        """Wait until the center on a machine takes reports."""
        wait_for(f"the center on {host.name} is healthy", lambda: dio.healthy(host), within_s=within_s)

    def in_use(self) -> int:
        """How many centers HAProxy gives requests to."""
        _, table = dio.get(self.proxy, f"http://{_STATISTICS}/;csv")
        rows = [line.split(",") for line in table.splitlines() if line.startswith("nerve_centers,center-")]
        return sum(row[_STATUS].startswith("UP") for row in rows)

    # PostgreSQL

    def sql(self, name: str, statement: str, database: str = "dio") -> str:
        """Run a statement as PostgreSQL's own user."""
        base = "postgres" if statement.startswith(("CREATE ROLE", "ALTER SYSTEM")) else database
        command = f"cd / && runuser -u postgres -- psql -At -v ON_ERROR_STOP=1 {base}"
        return self.hosts[name].run(command, stdin=statement + ";\n").strip()

    def follow(self, name: str, primary: str) -> None:
        """Make a machine's server the replica of another one."""
        slot = name.replace("-", "_")
        host = self.hosts[name]
        host.run("systemctl stop postgresql postgresql@15-main")
        host.run(
            f"rm -rf {_MAIN} && cd / && PGPASSWORD=hush runuser -u postgres --"
            f" pg_basebackup -h {primary}.example -U replica -D {_MAIN} -c fast -R -C -S {slot}"
        )
        host.run("systemctl start postgresql")
        wait_for(
            f"{name} follows {primary}",
            lambda: self.sql(primary, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
            == "1",
            within_s=60,
        )

    def promote(self, name: str) -> None:
        """Make the replica the primary."""
        assert self.sql(name, "SELECT pg_promote(true, 60)") == "t"

    def stored(self, primary: str) -> int:
        """How many samples the database holds."""
        return int(self.sql(primary, "SELECT count(*) FROM samples"))

    def busy(self, primary: str, name: str, where: str) -> int:
        """How many of a center's connections to the database are in a state (a condition on pg_stat_activity)."""
        return int(self.sql(primary, f"{_BUSY} '{_ADDRESSES[name]}' AND {where}"))

    # Keepers

    def holder(self, primary: str) -> str:
        """The machine whose keeper is at work."""
        return self.sql(primary, "SELECT holder FROM leases WHERE name = 'keeper'").partition(":")[0]

    # Agents

    def simulate(self, agents: int) -> None:
        """Start so many simulated agents."""
        for name in ("__init__.py", "exchanges.py", "simulated.py"):
            self.proxy.write(f"/srv/benchmarks/{name}", (REPOSITORY / "benchmarks" / name).read_text())
        self._simulation = self.proxy.start(
            f"cd /srv && echo $$ > simulated.pid && exec python3 -m benchmarks.simulated --url {URL}"
            f" --ca /etc/haproxy/ca.pem --agents {agents} --token-file token --status {SIMULATED} > simulated.log 2>&1"
        )

    def simulated(self) -> dict[str, Any]:
        """What the simulated agents say of themselves."""
        done = self.proxy.run_full(f"cat {SIMULATED}", check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"active": 0, "agents": -1}
        return found

    def all_well(self, *, within_s: float = 120) -> None:
        """Wait until every agent is active and delivers what it samples."""

        def well() -> bool:
            found = self.simulated()
            return found["active"] == found["agents"] and found["waiting"] <= found["agents"]

        try:
            wait_for("all simulated agents are active", well, within_s=within_s, every_s=0.5)
        except AssertionError:
            print(self.simulated(), self.proxy.run("cat /srv/simulated.log; journalctl -q -n 20 -u haproxy"))
            raise
        for host in self.centers:
            wait_for(
                f"the agent of {host.name} is active", lambda host=host: _delivers(host), within_s=within_s
            )

    def end(self, primary: str) -> int:
        """Let everybody deliver what there is, and assert that it is there once; how many are in gaps."""
        sampled = self.end_simulation()
        for host in self.centers:
            host.run(f"systemctl stop {dio.AGENT}")
        agents = faults.complete(self.centers[0])
        assert len(agents) == self.simulated()["agents"] + len(CENTERS)
        streams = [stream for agent in agents for stream in agent["streams"] if stream["stream"] == "samples"]
        gaps = faults.in_gaps(agents)
        removed = sum(stream["removed_by_retention"] for stream in streams)
        numbers = sum(stream["last_seq"] for stream in streams)
        assert self.stored(primary) + removed + gaps == numbers
        assert numbers >= sampled
        for host in self.centers:
            for unit in (dio.CENTER, dio.KEEPER, dio.AGENT):
                assert not [line for line in host.messages(unit) if line.startswith("Traceback")]
        return gaps

    def end_simulation(self) -> int:
        """Have the simulated agents deliver what they have and end; how many records they sampled."""
        assert self._simulation is not None
        self.proxy.run("kill -TERM $(cat /srv/simulated.pid)")
        code = self._simulation.wait(150)
        assert code == 0, (code, self.simulated(), self.proxy.run("cat /srv/simulated.log"))
        return int(self.simulated()["sampled"])


def _delivers(host: Host) -> bool:
    found = faults.asked(host)
    return found is not None and found["state"] == "active" and found["spool"]["pending"] <= 2
