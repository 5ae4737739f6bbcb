"""The agent and the nerve center as processes: READY is honest, outages lose nothing."""

import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.processes import RealAgent, RealCenter, wait_for


def numbers(center: RealCenter, agent_id: str) -> list[int]:
    return [sample["seq"] for sample in center.samples(agent_id)]


def test_center_first(center: RealCenter, agent: RealAgent) -> None:
    center.start()
    center.wait_ready()
    agent.start()
    agent.wait_ready()
    expected = [
        r"Starting DIO Agent: DIO-Agent-\S+\n",
        r"Nerve center is ready, proceeding with registration\n",
        r"Successfully registered agent: agent-[0-9a-f]{16}\n",
        r"Starting system monitoring for DIO-Agent-\S+\n",
    ]
    wait_for(lambda: re.search(".*".join(expected), agent.log(), re.DOTALL), "these lines in this order")
    assert "WARNING" not in agent.log()
    assert "ERROR" not in agent.log()
    status = agent.wait_state("active")
    wait_for(lambda: numbers(center, status["agent_id"]), "a sample at the center")


def test_agent_first(center: RealCenter, agent: RealAgent) -> None:
    agent.start()
    wait_for(
        lambda: agent.said.lines("STATUS=waiting for nerve center"), "a status that says what it waits for"
    )
    assert not agent.said.lines("READY")
    agent.wait_state("waiting")
    refused = "connection refused by 127.0.0.1:"
    wait_for(lambda: str((agent.look() or {}).get("reason")).startswith(refused), "why it waits")
    center.start()
    center.wait_ready()
    agent.wait_ready()
    accepted = wait_for(
        lambda: "enrolled agent-" in center.log() or None, "the registration in the center's log"
    )
    assert accepted
    extensions = agent.said.lines("EXTEND_TIMEOUT_USEC=")
    assert extensions
    assert all(0 < int(line.partition("=")[2]) <= 120e6 for line in extensions)
    status = agent.wait_state("active")
    wait_for(lambda: 1 in numbers(center, status["agent_id"]), "the sample taken before the center was there")


def test_center_never(agent: RealAgent) -> None:
    (agent.folder / "agent.toml.d/20-test.toml").write_text("[startup]\nready_within_s = 2\n")
    agent.start()
    said = agent.said
    assert agent.ended() == 75
    assert not said.lines("READY")
    assert "not ready after 2 s: connection refused by" in said.lines("STATUS=")[-1]
    agent.start()
    assert agent.ended() == 75
    assert agent.log().count("Giving up for now") == 1, "the second cycle is quiet"


def test_an_outage_loses_no_sample(center: RealCenter, agent: RealAgent) -> None:
    center.start()
    center.wait_ready()
    agent.start()
    agent.wait_ready()
    agent_id = agent.status()["agent_id"]
    center.kill(signal.SIGTERM)
    agent.wait_state("offline")
    assert agent.status()["spool"]["pending"] > 0
    center.start()
    center.wait_ready()
    status = agent.wait_state("active")
    last = status["spool"]["streams"]["samples"]["next_seq"] - 1
    wait_for(lambda: last in numbers(center, agent_id), "the newest sample of the outage")
    assert sorted(numbers(center, agent_id))[:last] == list(range(1, last + 1))
    log = agent.log()
    for line in (
        "Failed to send metrics (consecutive failures: 1): connection refused by ",
        "Too many consecutive failures, attempting to re-register...",
        "Successfully re-registered with nerve center",
        "Resumed monitoring after re-registration",
    ):
        assert line in log


def test_kill_9_of_the_agent_loses_and_doubles_nothing(center: RealCenter, agent: RealAgent) -> None:
    center.start()
    center.wait_ready()
    for _ in range(3):
        agent.start()
        agent.wait_ready()
        wait_for(
            lambda: agent.status()["spool"]["streams"]["samples"]["acknowledged_seq"],
            "something acknowledged",
        )
        agent.kill()
    agent.start()
    agent.wait_ready()
    agent_id = agent.wait_state("active")["agent_id"]
    last = agent.status()["spool"]["streams"]["samples"]["next_seq"] - 1
    wait_for(lambda: last in numbers(center, agent_id), "the newest sample")
    found = numbers(center, agent_id)
    assert sorted(found) == list(range(1, max(found) + 1))


def test_stop_says_goodbye_and_exits_0(center: RealCenter, agent: RealAgent) -> None:
    center.start()
    center.wait_ready()
    agent.start()
    agent.wait_ready()
    agent_id = agent.status()["agent_id"]
    said = agent.said
    assert agent.process is not None
    agent.process.send_signal(signal.SIGTERM)
    assert agent.ended() == 0
    assert said.lines("STOPPING=1")
    assert center.get(f"/api/v1/agents/{agent_id}")["state"] == "stopped"
    assert not (agent.folder / "agent.sock").exists()


def test_wrong_token_then_the_right_one(center: RealCenter, agent: RealAgent) -> None:
    token = center.token_file.read_text()
    wrong = agent.folder / "wrong-token"
    wrong.write_text("wrong")
    (agent.folder / "agent.toml.d/20-test.toml").write_text(
        f'[nerve_center]\nenrollment_token_file = "{wrong}"\n'
    )
    center.start()
    center.wait_ready()
    agent.start()
    said = agent.said
    assert agent.ended() == 77
    assert f"the enrollment token in {wrong} is not the nerve center's" in said.lines("STATUS=")[-1]
    assert "wrong" not in center.log().replace("wrong-token", "")
    wrong.write_text(token)
    agent.start()
    agent.wait_ready()


def test_reload(center: RealCenter, agent: RealAgent) -> None:
    center.start()
    center.wait_ready()
    agent.start()
    agent.wait_ready()
    command = [sys.executable, "-m", "dio_daemon.ctl", "--socket", str(agent.folder / "agent.sock"), "reload"]
    extra = agent.folder / "agent.toml.d/30-extra.toml"
    extra.write_text("[agent]\ninterval_s = 2\n")
    assert subprocess.run(command, check=False).returncode == 0
    lines = agent.said.lines()
    reloading = lines.index("RELOADING=1")
    assert lines[reloading + 1].startswith("MONOTONIC_USEC=")
    assert "READY=1" in lines[reloading:]
    extra.write_text("[agent]\ninterval_s = 0\n")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{extra}:2: agent.interval_s must be from 1 to 3600" in done.stderr
    assert agent.said.lines().count("READY=1") == 3
    extra.unlink()
    assert agent.process is not None
    agent.process.send_signal(signal.SIGHUP)
    wait_for(lambda: agent.said.lines().count("READY=1") == 4, "READY after the reload by SIGHUP")


def test_reload_before_ready_forges_no_readiness(agent: RealAgent) -> None:
    agent.start()
    agent.wait_state("waiting")
    command = [sys.executable, "-m", "dio_daemon.ctl", "--socket", str(agent.folder / "agent.sock"), "reload"]
    assert subprocess.run(command, check=False).returncode == 0
    assert not agent.said.lines("READY")
    assert not agent.said.lines("RELOADING")


@pytest.mark.parametrize("kind", ["page", "silent", "unhealthy"])
def test_something_else_on_the_port(tmp_path: Path, kind: str) -> None:
    bodies = {
        "page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        "silent": b"",
        "unhealthy": b"HTTP/1.1 503 X\r\nContent-Type: application/json\r\nContent-Length: 71\r\n\r\n"
        b'{"component": "nerve_center", "status": "unhealthy", "reason": "disk!"}',
    }
    expected = {
        "page": "not a nerve center at 127.0.0.1:",
        "silent": "timeout: no answer from 127.0.0.1:",
        "unhealthy": "is unhealthy: disk!",
    }
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                held.append(client)
                if bodies[kind]:
                    client.recv(65536)
                    client.sendall(bodies[kind])

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        agent = RealAgent(
            tmp_path / "agent",
            f"http://127.0.0.1:{port}",
            tmp_path / "none",
            "[startup]\nready_within_s = 2\nhealth_timeout_s = 0.5\n",
        )
        agent.start()
        said = agent.said
        assert agent.ended() == 75
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for client in held:
        client.close()
    assert not said.lines("READY")
    assert expected[kind] in said.lines("STATUS=")[-1]
    assert expected[kind] in agent.log()
