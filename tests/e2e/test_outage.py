"""Scenarios 4 and 5: what breaks in operation heals by itself, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host
from harness.network import Network

FAST = {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n"}


def _both(make_host: MakeHost, files: dict[str, str] | None = None) -> Host:
    host = make_host("alpha", files=files)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    assert host.active(dio.AGENT)
    return host


def _samples(host: Host) -> list[dict[str, object]]:
    api = dio.Api(host)
    (agent,) = api.agents()
    return api.samples(agent["id"])


@pytest.mark.long
def test_center_away_for_90_s(make_host: MakeHost) -> None:
    """warning, offline, registered again, resumed, with every constant as shipped; no sample is missing."""
    host = _both(make_host)
    dio.wait_acknowledged(host)
    host.run(f"systemctl stop {dio.CENTER}")
    away_since = time.monotonic()
    wait_for("warning", lambda: dio.status(host)["state"] == "warning", within_s=20)
    assert dio.status_text(host).startswith("warning: ")
    assert host.active(dio.AGENT)
    wait_for("offline", lambda: dio.status(host)["state"] == "offline", within_s=75)
    text = dio.status_text(host)
    assert text.startswith("offline since ") and "records wait" in text, text
    assert host.active(dio.AGENT)
    wait_for("90 s are over", lambda: time.monotonic() - away_since >= 90, within_s=90)
    host.run(f"systemctl start {dio.CENTER}")
    wait_for("active", lambda: dio.status(host)["state"] == "active", within_s=20)
    dio.wait_acknowledged(host)

    dio.in_order(host.messages(dio.AGENT), [*dio.started("alpha"), *dio.OUTAGE, *dio.RECOVERED])
    warnings = dio.wrong(host)
    dio.in_order(warnings, dio.OUTAGE)
    assert all("refused" in line for line in warnings if line.startswith("Failed to send metrics")), warnings
    assert not any(line.startswith(("Successfully", "Resumed")) for line in warnings)
    assert len(warnings) <= 10, warnings
    assert host.messages(dio.AGENT, "-p err") == []
    samples = _samples(host)
    dio.nothing_missing(samples, hole_s=12)
    host.run("nervectl continuity")
    assert dio.time_of(samples[-1]) - dio.time_of(samples[0]) >= 80
    assert host.prop(dio.AGENT, "NRestarts") == "0"


def test_kill_the_agent(make_host: MakeHost) -> None:
    """kill -9: started again within seconds, the target follows, and its records go on where they were."""
    host = _both(make_host, FAST)
    dio.wait_acknowledged(host)
    wait_for("the target", lambda: host.active(dio.WATCHED), within_s=5)
    pid = host.prop(dio.AGENT, "MainPID")
    host.run(f"kill -9 {pid}")
    wait_for("another process", lambda: host.prop(dio.AGENT, "MainPID") not in (pid, "0"), within_s=10)
    dio.wait_active(host, within_s=15)
    wait_for("the target again", lambda: host.active(dio.WATCHED), within_s=5)
    dio.wait_acknowledged(host)
    dio.nothing_missing(_samples(host), hole_s=10)


def test_kill_a_worker_and_the_web_server(make_host: MakeHost) -> None:
    """kill -9 of a gunicorn worker is mended by its master, of the master by systemd; no record is lost."""
    host = _both(make_host, FAST)
    dio.wait_acknowledged(host)
    main = int(host.prop(dio.CENTER, "MainPID"))
    master = _children(host, main)[0]
    workers = _children(host, master)
    assert len(workers) == 2
    host.run(f"kill -9 {workers[0]}")

    def mended() -> bool:
        now = _children(host, master)
        return len(now) == 2 and workers[0] not in now

    wait_for("another worker", mended, within_s=10)
    assert host.prop(dio.CENTER, "NRestarts") == "0"
    wait_for("health", lambda: dio.healthy(host), within_s=5)
    before = dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"]
    _acknowledged_beyond(host, before + 1)

    host.run(f"kill -9 {master}")
    wait_for("it is started again", lambda: int(host.prop(dio.CENTER, "NRestarts")) >= 1, within_s=15)
    dio.wait_active(host, dio.CENTER, within_s=20)
    assert _children(host, master) == []
    before = dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"]
    _acknowledged_beyond(host, before + 1)

    main = int(host.prop(dio.CENTER, "MainPID"))
    host.run(f"kill -9 {main}")
    wait_for("it is started again", lambda: int(host.prop(dio.CENTER, "NRestarts")) >= 2, within_s=15)
    dio.wait_active(host, dio.CENTER, within_s=20)
    before = dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"]
    _acknowledged_beyond(host, before + 1)
    dio.wait_acknowledged(host)
    dio.nothing_missing(_samples(host), hole_s=10)
    assert host.prop(dio.AGENT, "NRestarts") == "0"


def _acknowledged_beyond(host: Host, seq: int) -> None:
    def done() -> bool:
        return bool(dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"] > seq)

    wait_for(f"acknowledged beyond {seq}", done, within_s=30)


def _children(host: Host, pid: int) -> list[int]:
    printed = host.run(f"cat /proc/{pid}/task/*/children 2>/dev/null || true")
    return [int(word) for word in printed.split()]


@pytest.mark.long
def test_a_hung_thread(make_host: MakeHost) -> None:
    """Any one thread that hangs gets the service restarted by the watchdog; the host is under watch again."""
    first = _both(make_host, FAST)
    hosts = [first, *(_both(make_host, FAST) for _ in range(3))]
    held: list[subprocess.Popen[str]] = []
    pids = [host.prop(dio.AGENT, "MainPID") for host in hosts]
    try:
        for index, host in enumerate(hosts):
            threads = _threads(host)
            assert len(threads) >= 4, "main, sampler, link and control were expected"
            held.append(_hold(threads[index]))
        for host, pid in zip(hosts, pids, strict=True):
            # A thread may say that its step takes long (name resolution: 45 s); then comes WatchdogSec.
            wait_for(
                "a new process",
                lambda h=host, p=pid: h.prop(dio.AGENT, "MainPID") not in (p, "0"),
                within_s=170,
            )
            dio.wait_active(host, within_s=20)
            assert "watchdog" in host.run(dio.SAID_BY_SYSTEMD).lower()
            dio.wait_acknowledged(host)
    finally:
        for process in held:
            process.kill()
            process.communicate(timeout=10)


def _threads(host: Host) -> list[int]:
    """The agent's threads as this machine numbers them: main, the lasting ones, then those that come and go."""
    pid = host.host_pid(int(host.prop(dio.AGENT, "MainPID")))
    return sorted(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())


def _hold(tid: int) -> subprocess.Popen[str]:
    script = Path(__file__).parent / "harness/hold_thread.py"
    process = subprocess.Popen([sys.executable, str(script), str(tid)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    return process


@pytest.mark.long
def test_hung_while_starting(make_host: MakeHost) -> None:
    """No extension comes from a start that hangs: systemd kills it and tries again."""
    host = make_host("alpha")
    start = host.start(f"systemctl start {dio.AGENT}")
    dio.wait_line(host, "(attempt 1)", within_s=15)
    pid = host.prop(dio.AGENT, "MainPID")
    os.kill(host.host_pid(int(pid)), signal.SIGSTOP)
    begun = time.monotonic()
    wait_for("it was killed", lambda: host.prop(dio.AGENT, "MainPID") not in (pid, "0"), within_s=130)
    assert time.monotonic() - begun < 120
    assert start.wait(10) != 0
    host.run(f"systemctl start {dio.CENTER}")
    dio.wait_active(host, within_s=20)


def test_three_reboots(make_host: MakeHost) -> None:
    """Each boot ends registered as the same agent, and no record of the boots before is missing."""
    host = make_host("alpha")
    host.run(f"systemctl enable --now {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()
    for _ in range(3):
        host.reboot()
        dio.wait_active(host, within_s=30)
        assert host.run("systemctl is-system-running").strip() == "running"
        assert dio.wrong(host) == []
        assert [found["id"] for found in dio.Api(host).agents()] == [agent["id"]]
        dio.wait_acknowledged(host)
    dio.nothing_missing(_samples(host), hole_s=60)


def test_the_database_lost(make_host: MakeHost) -> None:
    """A center that has lost its database, and whose token was rotated, is filled up again without a hand."""
    host = _both(make_host, FAST)
    host.run("nervectl token rotate")
    kept = host.run("stat -c '%a %U:%G' /etc/dio-nerve-center/enrollment-token").strip()
    assert kept == "640 root:dio-nerve-center"
    dio.wait_acknowledged(host)
    (before,) = dio.Api(host).agents()
    host.run(f"systemctl stop {dio.CENTER} && rm /var/lib/dio-nerve-center/nerve-center.db*")
    host.run(f"systemctl start {dio.CENTER}")
    wait_for(
        "it is back", lambda: [agent["id"] for agent in dio.Api(host).agents()] == [before["id"]], within_s=40
    )
    dio.wait_acknowledged(host)
    # From the first sample on: what the lost database had acknowledged was kept.
    dio.nothing_missing(_samples(host), hole_s=10)
    assert host.prop(dio.AGENT, "NRestarts") == "0"


def test_revoked_and_allowed(make_host: MakeHost) -> None:
    """A revoked agent is refused (77) and says so; once it is allowed it is back by itself."""
    host = _both(make_host, FAST)
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()
    host.run(f"nervectl agents revoke {agent['id']}")
    wait_for("it is refused", lambda: "status=77" in host.run(dio.SAID_BY_SYSTEMD), within_s=20)
    assert any("revoked" in line for line in dio.wrong(host)), dio.wrong(host)
    assert host.prop(dio.AGENT, "ActiveState") == "activating"
    host.run(f"nervectl agents allow {agent['id']}")
    dio.wait_active(host, within_s=45)
    dio.wait_acknowledged(host)
    dio.nothing_missing(_samples(host), hole_s=10)


def test_goodbye_at_a_stop(make_host: MakeHost) -> None:
    """SIGTERM: delivered, goodbye said, exit 0, and the center knows it as stopped, not as lost."""
    host = _both(make_host)
    begun = time.monotonic()
    host.run(f"systemctl stop {dio.AGENT}")
    assert time.monotonic() - begun < 10
    assert host.show(dio.AGENT, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    (agent,) = dio.Api(host).agents()
    assert agent["state"] == "stopped"
    assert not host.active(dio.WATCHED)


def test_the_network_cut_while_starting(make_host: MakeHost, network: Network) -> None:
    """A host that boots before its network: the start waits, told apart from a refusal, and goes on with the cable."""
    center = make_host(
        "center",
        files={"/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml": '[server]\nhost = "0.0.0.0"\n'},
    )
    host = make_host("agent")
    center.run(f"systemctl start {dio.CENTER}")
    network.cut(host.address)
    dio.enroll(host, center)
    start = host.start(f"systemctl start {dio.AGENT}")
    dio.wait_line(host, "(attempt 1)", within_s=15)
    assert not any("refused" in line for line in host.messages(dio.AGENT)), host.messages(dio.AGENT)
    assert start.poll() is None
    network.connect(host.address)
    assert start.wait(25) == 0
    dio.ready_after_registration(host)
    assert host.messages(dio.AGENT, "-p err") == []


def test_the_network_cut(make_host: MakeHost, network: Network) -> None:
    """The cable of an agent's host is pulled without a word: timeouts, offline, and all is delivered afterwards."""
    quick = "[agent]\ninterval_s = 2\n[delivery]\nconnect_timeout_s = 2\ntotal_timeout_s = 3\n"
    center = make_host(
        "center",
        files={"/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml": '[server]\nhost = "0.0.0.0"\n'},
    )
    host = make_host("agent", files={"/etc/dio-agent/agent.toml.d/20-quick.toml": quick})
    center.run(f"systemctl start {dio.CENTER}")
    host.run("rm -f /etc/dio-agent/enrollment-token")
    token = center.run("nervectl token show")
    host.run(f"dioctl enroll http://{center.address}:8000 --allow-plain-http", stdin=token)
    dio.wait_acknowledged(host)

    network.cut(host.address)
    wait_for("offline", lambda: dio.status(host)["state"] == "offline", within_s=60)
    assert not any("refused" in line for line in dio.wrong(host)), dio.wrong(host)
    network.connect(host.address)
    wait_for("active", lambda: dio.status(host)["state"] == "active", within_s=40)
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(center).agents()
    dio.nothing_missing(dio.Api(center).samples(agent["id"]), hole_s=5)
    dio.in_order(host.messages(dio.AGENT), [*dio.started("agent"), *dio.OUTAGE, *dio.RECOVERED])
