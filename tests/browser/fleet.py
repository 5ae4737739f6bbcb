"""Hosts of all kinds, told to a nerve center over its own API as agents would, for pages to be looked at."""

from __future__ import annotations

import json
import math
import secrets
import time
import urllib.request
from datetime import UTC, datetime
from typing import Any

HOSTILE = "<script>document.title='hacked'</script>"
KINDS = ("web", "db", "cache", "mail", "build", "edge")
MINUTES = 60
TROUBLE = ("stopped", "paused", "offline", "never", *(f"ill{number}" for number in range(1, 7)))
OUTBREAK = {
    "type": "new_setuid_file",
    "severity": "high",
    "fingerprint": "setuid:/usr/local/bin/x",
    "state": "open",
    "title": "A new setuid file that no package knows",
    "summary": "/usr/local/bin/x is setuid root and belongs to no package.",
    "evidence": {"path": "/usr/local/bin/x", "sha256": "3f" * 32, "owner": HOSTILE},
}


class Host:
    """An agent that only talks."""

    def __init__(
        self,
        url: str,
        token: str,
        hostname: str,
        labels: dict[str, str],
        level: float,
        interval_s: float = 60,
    ) -> None:
        self.url, self.hostname, self.level, self.interval_s = url, hostname, level, interval_s
        self.agent_id = f"agent-{secrets.token_hex(8)}"
        self._credential = secrets.token_hex(32)
        self._ids = {"instance_id": secrets.token_hex(16), "run_id": secrets.token_hex(16), "boot_id": None}
        self._epoch = secrets.token_hex(8)
        self._marks: dict[str, dict[str, Any]] = {}
        body = {
            "protocol": 1,
            "agent_id": self.agent_id,
            **self._ids,
            "agent_version": "0.1.0",
            "interval_s": self.interval_s,
            "sent_at": stamp(time.time()),
            "labels": labels,
            "host": {
                "hostname": hostname,
                "os": "Debian GNU/Linux 12 (bookworm)",
                "kernel": "6.1.0-37-amd64",
                "architecture": "x86_64",
            },
        }
        self._post("/api/v1/agents/register", body, {"DIO-Enrollment-Token": token})

    def tell(self, stream: str, kind: str, *told: tuple[float, dict[str, Any]]) -> None:
        """Deliver records, each with its time."""
        mark = self._marks.get(stream, {"seq": 0, "tag": None})
        records = [
            {
                "seq": mark["seq"] + number,
                "from_seq": mark["seq"] + number,
                "tag": secrets.token_hex(8),
                "kind": kind,
                "time": stamp(at),
                "data": data,
            }
            for number, (at, data) in enumerate(told, start=1)
        ]
        body = {
            **self._ids,
            "sent_at": stamp(time.time()),
            "interval_s": self.interval_s,
            "epoch": self._epoch,
            "stream": stream,
            "after": mark,
            "records": records,
        }
        self._marks[stream] = self._post(f"/api/v1/agents/{self.agent_id}/reports", body, {})["mark"]

    def goodbye(self) -> None:
        """Stop on purpose."""
        said = {key: self._ids[key] for key in ("instance_id", "run_id")}
        body = {**said, "sent_at": stamp(time.time()), "reason": "stopped"}
        self._post(f"/api/v1/agents/{self.agent_id}/goodbye", body, {})

    def sample(self, at: float, cpu: float | None = None) -> dict[str, Any]:
        """A sample that depends on the host and the time alone."""
        wave = math.sin(at / 700 + self.level) * 8 + math.sin(at / 97) * 3
        share = min(99.0, max(1.0, self.level + wave)) if cpu is None else cpu
        total, used = 16 * 2**30, round(2**30 * (4 + self.level / 10 + wave / 20))
        return {
            "cpu": {"percent": share, "user_percent": share * 0.6, "system_percent": share * 0.4, "count": 8},
            "memory": {"percent": used / total * 100, "used_bytes": used, "total_bytes": total},
            "swap": {"used_bytes": 2**28, "total_bytes": 2**31, "percent": 12.5},
            "load": {"load_1m": share / 12, "load_5m": share / 14, "load_15m": share / 16},
            "pressure": {"cpu_some_percent": abs(wave), "io_some_percent": abs(wave) / 2},
            "disks": [
                {
                    "mount": "/",
                    "status": "ok",
                    "percent": min(97.0, 30 + self.level),
                    "total_bytes": 40 * 2**30,
                    "free_bytes": 12 * 2**30,
                },
                {"mount": "/mnt/backup", "status": "unreachable"},
            ],
            "disk_io": [
                {"device": "vda", "read_bytes_per_s": abs(wave) * 2e5, "write_bytes_per_s": share * 9e4}
            ],
            "network": {"rx_bytes_per_s": share * 4e4, "tx_bytes_per_s": share * 9e4},
            "processes": {
                "count": 210,
                "running": 2,
                "zombies": 0,
                "top": [
                    {
                        "pid": 812,
                        "name": "postgres",
                        "user": "postgres",
                        "cpu_percent": share,
                        "rss_bytes": 9 * 2**26,
                    },
                    {"pid": 913, "name": HOSTILE, "user": "www-data", "cpu_percent": 1.5, "rss_bytes": 2**26},
                    {"pid": 1, "name": "systemd", "user": "root", "cpu_percent": 0.1, "rss_bytes": 2**24},
                ],
            },
            "uptime_s": 864000.0,
        }

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {self._credential}", **headers}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), sent)
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
        return found


def fill(url: str, token: str) -> list[Host]:
    """Sixty hosts with an hour behind them, some of them with something to look at."""
    now = time.time()
    hosts: list[Host] = []
    for number in range(60):
        name = f"{KINDS[number % 6]}{number // 6 + 1:02}.example.net"
        labels = {"env": ("prod", "stage", "test")[number % 3], "site": ("ams", "fra")[number % 2]}
        hosts.append(Host(url, token, HOSTILE if number == 59 else name, labels, 12.0 + number * 37 % 61))
        minutes = MINUTES if number < 12 else 12
        told = [
            (now - minute * 60, hosts[-1].sample(now - minute * 60))
            for minute in range(minutes, 0, -1)
            if number or not 20 <= minute < 28  # the first one has a gap
        ]
        hosts[-1].tell("samples", "sample", *told)
    disk = {
        "type": "disk_filling",
        "severity": "high",
        "confidence": 0.9,
        "fingerprint": "disk_filling:/",
        "state": "open",
        "title": "A disk will be full in 5 hours",
        "summary": "/ grows by 2.1 GiB an hour and has 11 GiB left.",
        "why": "When it is full, databases stop and logs are lost.",
        "next": "See what grows: du -xh --max-depth=2 / | sort -h | tail",
        "evidence": {
            "mount": "/",
            "percent": 93.2,
            "free_bytes": 11 * 2**30,
            "growth": {"bytes": 2254857830, "over_s": 3600},
            "largest": ["/var/log/journal", "/var/lib/postgresql/15/main"],
        },
    }
    hosts[0].tell(
        "events",
        "threat",
        (now - 2400, disk),
        (
            now - 1500,
            {
                "type": "new_setuid_file",
                "severity": "critical",
                "fingerprint": "setuid:/usr/local/bin/x",
                "state": "open",
                "title": "A new setuid file that no package knows",
                "summary": "/usr/local/bin/x is setuid root and belongs to no package.",
                "evidence": {"path": "/usr/local/bin/x", "sha256": "3f" * 32, "owner": "root"},
            },
        ),
    )
    for host in hosts[6:12:3]:
        host.tell("events", "threat", (now - 900, {**disk, "severity": "medium"}))
    hosts[0].tell("events", "event", (now - 3000, {"type": "agent.start", "message": HOSTILE}))
    return hosts


def trouble(url: str, token: str) -> list[Host]:
    """Hosts in each state but active, and one finding on six of them, which is an outbreak."""
    now = time.time()
    hosts = [Host(url, token, f"{name}.example.net", {"env": "lab"}, 20.0, 1) for name in TROUBLE]
    stopped, paused, _offline, _never, *ill = hosts
    for host in hosts[:3]:
        host.tell("samples", "sample", (now - 5, host.sample(now - 5)))
    stopped.goodbye()
    window = {"type": "maintenance.begin", "message": "a new disk", "for_s": 3600}
    paused.tell("events", "event", (now, window))
    for host in ill:
        host.tell("events", "threat", (now, OUTBREAK))
    return hosts


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
