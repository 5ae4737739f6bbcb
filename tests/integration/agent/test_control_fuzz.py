"""Callers of every bad kind on a real agent's socket: it neither grows nor leaks nor stops reporting."""

import contextlib
import json
import os
import random
import threading
import time
from pathlib import Path

import pytest

from dio_daemon.ipc import callers
from tests.support.bad_callers import call, connected, exchange
from tests.support.processes import RealAgent, RealCenter, wait_for

SEED = 20261124
MOST_GROWTH_KIB = 24 * 1024


def private_kib(agent: RealAgent) -> int:
    assert agent.process is not None
    text = Path(f"/proc/{agent.process.pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0])


def descriptors(agent: RealAgent) -> int:
    assert agent.process is not None
    return len(list(Path(f"/proc/{agent.process.pid}/fd").iterdir()))


def threads(agent: RealAgent) -> int:
    assert agent.process is not None
    return len(list(Path(f"/proc/{agent.process.pid}/task").iterdir()))


def acknowledged(agent: RealAgent) -> int:
    document = wait_for(agent.look, "an answer")
    return int(document["spool"]["streams"]["samples"]["acknowledged_seq"])


@pytest.fixture
def reporting(center: RealCenter, agent: RealAgent) -> RealAgent:
    center.start()
    center.wait_ready()
    agent.start()
    agent.wait_ready()
    wait_for(lambda: acknowledged(agent) >= 2, "reports")
    return agent


def test_random_bytes_half_requests_and_huge_heads(reporting: RealAgent) -> None:
    """600 bad callers from four threads, seeded; the first hundred are for warming up."""
    path = reporting.folder / "agent.sock"

    def attack(seed: int, count: int) -> None:
        letters = random.Random(seed)
        for _ in range(count):
            call(path, letters)

    def together(seed: int, count: int) -> None:
        workers = [threading.Thread(target=attack, args=(seed + number, count)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(90)
            assert not worker.is_alive()

    together(SEED, 25)
    wait_for(lambda: threads(reporting) <= 5, "quiet")
    memory, files, reported = private_kib(reporting), descriptors(reporting), acknowledged(reporting)
    together(SEED + 10, 125)
    wait_for(lambda: threads(reporting) <= 5, "quiet")
    assert private_kib(reporting) - memory < MOST_GROWTH_KIB
    wait_for(lambda: descriptors(reporting) <= files, "descriptors are given back", 10)
    wait_for(lambda: acknowledged(reporting) > reported + 1, "it goes on reporting", 90)
    assert reporting.status()["state"] == "active"
    assert "Traceback" not in reporting.log()


def test_two_hundred_at_once(reporting: RealAgent) -> None:
    """Silent ones, and ones that follow and never read: some are served, the others told to come again."""
    path = reporting.folder / "agent.sock"
    memory, files, reported = private_kib(reporting), descriptors(reporting), acknowledged(reporting)
    silent = []
    for number in range(200):
        client = connected(path)
        with contextlib.suppress(BrokenPipeError):
            if number % 2:
                client.sendall(b"GET /v1/events HTTP/1.1\r\n\r\n")
        silent.append(client)
    assert threads(reporting) <= 3 + 1 + 2 * 8
    assert private_kib(reporting) - memory < MOST_GROWTH_KIB
    answered = 0
    for client in silent:
        client.settimeout(0.01)
        with contextlib.suppress(OSError):
            answered += client.recv(100).startswith(b"HTTP/1.1 503")
    assert answered > 150
    for client in silent:
        client.close()
    assert reporting.status()["state"] == "active"
    wait_for(lambda: acknowledged(reporting) > reported + 1, "it goes on reporting")
    wait_for(lambda: descriptors(reporting) <= files, "descriptors are given back", 90)
    wait_for(lambda: threads(reporting) <= 5, "threads end", 90)


def test_those_that_only_hold_on_are_cut_off(reporting: RealAgent) -> None:
    """Those that send a byte a second hold every place for 30 s at most; silent ones for 5 s."""
    path = reporting.folder / "agent.sock"
    began = time.monotonic()
    places = callers.MAX_CLIENTS + (callers.ROOT_CLIENTS if os.geteuid() == 0 else 0)
    held = [connected(path) for _ in range(places)]
    for client in held:
        client.sendall(b"GET /v1/status HTTP/1.1\r\nX: ")

    def served() -> bool:
        for client in held:
            with contextlib.suppress(OSError):
                client.sendall(b"y")
        answer = exchange(path, b"GET /v1/status HTTP/1.1\r\n\r\n")
        return (
            answer.startswith(b"HTTP/1.1 200")
            and json.loads(answer.partition(b"\r\n\r\n")[2])["state"] == "active"
        )

    assert not served()
    wait_for(served, "a place")
    assert time.monotonic() - began > 20
    for client in held:
        client.close()
    assert acknowledged(reporting) > 20
