"""What the tests ask of DIO on a host, and the lines that its journal has to have."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from .commands import wait_for
from .host import Host

AGENT = "dio-agent.service"
CENTER = "dio-nerve-center.service"
KEEPER = "dio-nerve-center-keeper.service"
WATCHED = "dio-agent-watched.target"
SAID_BY_SYSTEMD = "journalctl -q -b -o cat UNIT=dio-agent.service"
CENTER_URL = "http://127.0.0.1:8000"

_GET = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers=json.loads(sys.argv[2]))
try:
    with urllib.request.urlopen(request, timeout=10) as answer:
        status, body = answer.status, answer.read()
except urllib.error.HTTPError as error:
    status, body = error.code, error.read()
except OSError as error:
    status, body = 0, str(error).encode()
print(json.dumps([status, body.decode()]))
"""

_LOG_IN = """
import http.cookiejar, json, re, sys, urllib.error, urllib.parse, urllib.request

class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None

jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
opener = urllib.request.build_opener(jar, Stay)

def ask(path, form=None):
    data = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with opener.open(sys.argv[1] + path, data, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

token = re.search('name="csrf" value="([^"]*)"', ask("/login")[1])[1]
form = {"csrf": token, "name": sys.argv[2], "password": sys.argv[3], "next": "/account"}
print(json.dumps([ask("/login", form)[0], ask("/account")[0]]))
"""


class Api:
    """A nerve center's API, asked on its own host with a token made there."""

    def __init__(self, host: Host, url: str = CENTER_URL) -> None:
        """Make an API token; the nerve center must be running."""
        self._host = host
        self._url = url
        printed = host.run("nervectl api-token add e2e-$(cat /proc/sys/kernel/random/uuid)")
        self._token = printed.split()[-1]

    def get(self, path: str) -> Any:
        """GET a path of /api/v1 and return its JSON."""
        status, body = get(
            self._host, f"{self._url}/api/v1/{path}", {"Authorization": f"Bearer {self._token}"}
        )
        assert status == 200, (status, body)
        return json.loads(body)

    def agents(self) -> list[dict[str, Any]]:
        """All agents."""
        agents: list[dict[str, Any]] = self.get("agents")["agents"]
        return agents

    def samples(self, agent_id: str) -> list[dict[str, Any]]:
        """All samples of an agent, oldest first."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.get(f"agents/{agent_id}/samples?limit=1000{after}")
            found += page["samples"]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"


def get(host: Host, url: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """GET inside a host; status 0 when nobody answered, then the body is the reason."""
    status, body = json.loads(host.run(f"python3 - '{url}' '{json.dumps(headers or {})}'", stdin=_GET))
    return status, body


def log_in(host: Host, name: str, password: str, *, url: str = CENTER_URL, ca: str = "") -> list[int]:
    """Log in on a nerve center, the host's own one; the statuses of the login and of the account page after it.

    `ca` is a PEM file of the authority behind an https `url`.
    """
    command = ["env", *([f"SSL_CERT_FILE={ca}"] if ca else []), "python3", "-", url, name, password]
    found: list[int] = json.loads(host.run(shlex.join(command), stdin=_LOG_IN))
    return found


def healthy(host: Host) -> bool:
    """Whether the nerve center on the host says so."""
    status, body = get(host, f"{CENTER_URL}/health")
    return status == 200 and json.loads(body)["status"] == "healthy"


def status(host: Host) -> dict[str, Any]:
    """What `dioctl status --json` says."""
    document: dict[str, Any] = json.loads(host.run("dioctl status --json"))
    return document


def status_text(host: Host) -> str:
    """The agent's Status line."""
    return host.prop(AGENT, "StatusText")


def wait_active(host: Host, unit: str = AGENT, *, within_s: float) -> None:
    """Wait until a unit is active."""
    wait_for(f"{unit} is active on {host.name}", lambda: host.active(unit), within_s=within_s)


def wait_line(host: Host, text: str, *, within_s: float, unit: str = AGENT, count: int = 1) -> None:
    """Wait until the unit's journal has `text` in at least `count` lines."""

    def there() -> bool:
        return sum(text in message for message in host.messages(unit)) >= count

    wait_for(f"{text!r} in the journal of {unit}", there, within_s=within_s, every_s=0.5)


def wait_acknowledged(host: Host, *, within_s: float = 20.0) -> None:
    """Wait until nothing waits in the agent's spool and something was acknowledged."""

    def done() -> bool:
        document = status(host)
        samples = document["spool"]["streams"]["samples"]
        return document["spool"]["pending"] == 0 and samples["acknowledged_seq"] > 0

    wait_for("everything is acknowledged", done, within_s=within_s)


def enroll(host: Host, center: Host) -> None:
    """Give a host's agent the address and the token of another host's nerve center; it is not started."""
    host.run("rm -f /etc/dio-agent/enrollment-token")
    host.run(
        f"dioctl enroll http://{center.address}:8000 --allow-plain-http --no-start",
        stdin=center.run("nervectl token show"),
    )


def in_order(messages: Sequence[str], expected: Iterable[str]) -> None:
    """Assert that lines that match the regular expressions stand in `messages` in this order."""
    rest = list(messages)
    for pattern in expected:
        for index, message in enumerate(rest):
            if re.fullmatch(pattern, message):
                del rest[: index + 1]
                break
        else:
            raise AssertionError(f"no line {pattern!r} (in this place) in:\n" + "\n".join(messages))


def started(name: str, waits: Sequence[int] = ()) -> list[str]:
    """The lines of a start against a nerve center that was not ready `len(waits)` times, word for word."""
    lines = [rf"Starting DIO Agent: DIO-Agent-{name}"]
    lines += [
        rf"Nerve center not ready yet, waiting {wait}s\.\.\. \(attempt {number}\)"
        for number, wait in enumerate(waits, 1)
    ]
    lines += [
        r"Nerve center is ready, proceeding with registration",
        r"Successfully registered agent: agent-[0-9a-f]{16}",
        rf"Starting system monitoring for DIO-Agent-{name}",
    ]
    return lines


OUTAGE = (
    r"Failed to send metrics \(consecutive failures: 1\): .*",
    r"Failed to send metrics \(consecutive failures: 2\): .*",
    r"Failed to send metrics \(consecutive failures: 3\): .*",
    r"Failed to send metrics \(consecutive failures: 4\): .*",
    r"Failed to send metrics \(consecutive failures: 5\): .*",
    r"Too many consecutive failures, attempting to re-register\.\.\.",
)
RECOVERED = (
    r"Successfully re-registered with nerve center",
    r"Resumed monitoring after re-registration",
)


def wrong(host: Host, unit: str = AGENT) -> list[str]:
    """What `journalctl -p warning` shows of a unit, without what is wrong with the host: its disk may be full."""
    return [line for line in host.messages(unit, "-p warning") if not line.startswith("Threat ")]


def time_of(record: dict[str, Any]) -> float:
    """A record's time, in seconds since the epoch."""
    return datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()


def nothing_missing(samples: Sequence[dict[str, Any]], *, hole_s: float) -> None:
    """Assert that the samples' numbers are contiguous and no two neighbours are further apart than `hole_s`."""
    numbers = [(sample["epoch"], sample["seq"]) for sample in samples]
    assert len({epoch for epoch, _ in numbers}) == 1, f"more than one epoch: {numbers}"
    seqs = [seq for _, seq in numbers]
    assert seqs == list(range(1, len(seqs) + 1)), f"not contiguous: {seqs}"
    times = [time_of(sample) for sample in samples]
    holes = [round(later - earlier, 1) for earlier, later in pairwise(times)]
    assert max(holes, default=0.0) <= hole_s, f"a hole of more than {hole_s} s: {holes}"


def ready_after_registration(host: Host) -> None:
    """Assert that the agent became active only after it had been registered."""
    registered = [
        int(entry["__MONOTONIC_TIMESTAMP"])
        for entry in host.journal(AGENT)
        if "Successfully registered agent" in str(entry.get("MESSAGE"))
    ]
    active = int(host.prop(AGENT, "ActiveEnterTimestampMonotonic"))
    # journald stamps a line when it reads it: allow for its delay.
    assert registered and min(registered) <= active + 250_000, (registered, active)
