"""Scenarios 1 to 3: whatever order they start in, and whatever else is on the port, READY is honest."""

from __future__ import annotations

import subprocess
import time

import pytest
from conftest import MakeHost
from harness import dio, doubles
from harness.commands import wait_for
from harness.host import Host


def test_center_first(make_host: MakeHost) -> None:
    """A center that is up from the start: a quick start, and a journal without a warning."""
    host = make_host("alpha")
    host.run(f"systemctl start {dio.CENTER}")
    assert dio.healthy(host)
    host.run(f"systemctl start {dio.AGENT}", timeout_s=10)
    assert host.active(dio.AGENT)
    dio.ready_after_registration(host)
    dio.in_order(host.messages(dio.AGENT), dio.started("alpha"))
    assert dio.wrong(host) == []
    assert dio.wrong(host, dio.CENTER) == []
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()
    assert f"active: {agent['id']} reporting to {dio.CENTER_URL}, last acknowledged" in dio.status_text(host)
    assert dio.status(host)["state"] == "active"
    assert agent["state"] == "active" and agent["hostname"] == "alpha"


def test_agent_first(make_host: MakeHost) -> None:
    """The center comes 25 s after the agent: `systemctl start` blocks until then, and returns 0 soon after."""
    host = make_host("alpha")
    start = host.start(f"systemctl start {dio.AGENT}")
    # The fifth wait begins after 2 + 4 + 8 + 10 s, and up to 20 % more.
    dio.wait_line(host, "(attempt 5)", within_s=35)
    assert start.poll() is None
    assert host.prop(dio.AGENT, "SubState") == "start"
    assert "waiting for nerve center" in dio.status_text(host)
    assert "attempt 5" in dio.status_text(host) and "next try in" in dio.status_text(host)

    host.run(f"systemctl start {dio.CENTER}")
    healthy_at = time.monotonic()
    assert start.poll() is None
    assert start.wait(12) == 0
    assert time.monotonic() - healthy_at <= 12

    dio.ready_after_registration(host)
    dio.in_order(host.messages(dio.AGENT), dio.started("alpha", (2, 4, 8, 10, 10)))
    assert dio.wrong(host) == []
    assert host.prop(dio.AGENT, "NRestarts") == "0"
    # Sampled from the first second, and delivered.
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()
    samples = dio.Api(host).samples(agent["id"])
    dio.nothing_missing(samples, hole_s=12)
    active_s = int(host.prop(dio.AGENT, "ActiveEnterTimestampMonotonic")) / 1e6
    began_s = int(host.prop(dio.AGENT, "ExecMainStartTimestampMonotonic")) / 1e6
    assert samples[0]["data"]["boottime_s"] - began_s < 3
    assert sum(sample["data"]["boottime_s"] < active_s for sample in samples) >= 3


@pytest.mark.long
def test_center_never(make_host: MakeHost) -> None:
    """Without a center a start fails after about 60 s, is tried again for ever, and heals when the center comes."""
    host = make_host("alpha")
    begun = time.monotonic()
    done = host.run_full(f"systemctl start {dio.AGENT}", check=False, timeout_s=90)
    assert done.returncode != 0
    assert 55 <= time.monotonic() - begun <= 70
    state = host.show(dio.AGENT, "ActiveState", "ExecMainStatus", "Result", "NRestarts", "StatusText")
    assert state["ActiveState"] == "activating", state
    assert not host.active(dio.WATCHED)
    wait_for("it is started again", lambda: int(host.prop(dio.AGENT, "NRestarts")) >= 1, within_s=10)
    wait_for("it waits", lambda: "waiting for nerve center" in dio.status_text(host), within_s=10)
    assert any("not ready after 60 s" in line for line in dio.wrong(host)), dio.wrong(host)
    exits = host.run(dio.SAID_BY_SYSTEMD)
    assert "status=75" in exits

    host.run(f"systemctl start {dio.CENTER}")
    dio.wait_active(host, within_s=15)
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()
    samples = dio.Api(host).samples(agent["id"])
    dio.nothing_missing(samples, hole_s=15)
    assert dio.time_of(samples[-1]) - dio.time_of(samples[0]) >= 55
    wait_for("the target follows", lambda: host.active(dio.WATCHED), within_s=5)


@pytest.mark.long
def test_boot_without_a_center(make_host: MakeHost) -> None:
    """A center that never comes holds up a boot for a bounded time; the agent goes on trying."""
    host = make_host("alpha", boot=False)
    host.boot()
    host.run(f"systemctl enable {dio.AGENT}")
    host.poweroff()
    begun = time.monotonic()
    host.boot(until=lambda: host.active("multi-user.target"), within_s=90)
    assert time.monotonic() - begun <= 75
    wait_for("it is started again", lambda: int(host.prop(dio.AGENT, "NRestarts")) >= 1, within_s=10)
    assert host.prop(dio.AGENT, "ActiveState") == "activating"
    host.run(f"systemctl start {dio.CENTER}")
    dio.wait_active(host, within_s=15)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("page", "not a nerve center"),
        ("silent", "timeout: no"),
        ("unhealthy", "the database takes no writes"),
    ],
)
def test_something_else_on_the_port(make_host: MakeHost, kind: str, words: str) -> None:
    """Never READY, and Status and journal tell what it is; the real center then makes it well."""
    host = make_host("alpha")
    doubles.start(host, kind)
    wait_for("it listens", lambda: _listening(host), within_s=10)
    start = host.start(f"systemctl start {dio.AGENT}")
    wait_for(f"the status says {words!r}", lambda: words in dio.status_text(host), within_s=15)
    dio.wait_line(host, "(attempt 3)", within_s=30)
    assert words in dio.status_text(host)
    assert any(words in line for line in host.messages(dio.AGENT)), host.messages(dio.AGENT)
    _still_blocked(host, start)

    doubles.stop(host)
    host.run(f"systemctl start {dio.CENTER}")
    assert start.wait(20) == 0
    dio.ready_after_registration(host)


def _listening(host: Host) -> bool:
    return ":1F40 00000000:0000 0A" in host.run("cat /proc/net/tcp")


def _still_blocked(host: Host, start: subprocess.Popen[str]) -> None:
    assert start.poll() is None
    assert host.prop(dio.AGENT, "SubState") == "start"
    assert host.prop(dio.AGENT, "ActiveEnterTimestampMonotonic") == "0"
    assert not any("Successfully registered" in line for line in host.messages(dio.AGENT))
