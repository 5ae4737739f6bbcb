"""Callers of every bad kind on a real agent's socket: it neither grows nor leaks nor stops reporting."""

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dio_daemon.ipc import callers
from tests.support.processes import RealAgent, RealCenter, wait_for

SEED = 20261124
PATHS = (
    "status",
    "sample",
    "samples",
    "spool",
    "threats",
    "config",
    "threads",
    "metrics",
    "events",
    "reload",
    "x",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "X" * 300, "\x00")
MOST_GROWTH_KIB = 24 * 1024


def connected(path: Path) -> socket.socket:
    """A connection; what has no room in the backlog is tried again."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    client.settimeout(10)
    return client


def exchange(path: Path, data: bytes, read: bool = True) -> bytes:
    """Send bytes, then go away, or read what comes."""
    answer = b""
    with connected(path) as client, contextlib.suppress(OSError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while read and len(answer) < 1 << 22 and (piece := client.recv(65536)):
            answer += piece
            read = b"x-ndjson" not in answer[:500]  # a stream does not end
    return answer


def noise(letters: random.Random) -> bytes:
    return letters.randbytes(letters.randrange(1, 3000))


def half(letters: random.Random) -> bytes:
    whole = b"POST /v1/report/event HTTP/1.1\r\nHost: dio\r\nContent-Length: 40\r\n\r\n" + b"{" * 40
    return whole[: letters.randrange(1, len(whole))]


def huge_head(letters: random.Random) -> bytes:
    line = b"X-%d: " % letters.randrange(1000) + b"y" * letters.randrange(100, 60_000) + b"\r\n"
    return b"GET /v1/status HTTP/1.1\r\n" + line * letters.randrange(1, 120) + b"\r\n"


def almost(letters: random.Random) -> bytes:
    method, path = letters.choice(METHODS), letters.choice(PATHS)
    version = letters.choice(("HTTP/1.1", "HTTP/1.0", "HTTP/9", "", "HTTP/1.1\x00"))
    length = letters.choice(
        ("", "Content-Length: 5\r\n", "Content-Length: -1\r\n", "Content-Length: 1e9\r\n")
    )
    return f"{method} /v1/{path} {version}\r\n{length}\r\n".encode() + letters.randbytes(
        letters.randrange(20)
    )


def bodies(letters: random.Random) -> bytes:
    body = letters.choice(
        (
            b"[" * 60_000,
            b'{"for_s":' + b"9" * 4000 + b"}",
            b'{"type":"x","data":{"\\ud800":"\\u0000"}}',
            b'{"metrics":{"x":1e999}}',
            letters.randbytes(5000),
            b"y" * 70_000,
        )
    )
    path = letters.choice(("report/event", "report/metrics", "log-level"))
    return f"POST /v1/{path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


KINDS: tuple[Callable[[random.Random], bytes], ...] = (noise, half, huge_head, almost, bodies)


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
            exchange(path, letters.choice(KINDS)(letters), read=letters.random() < 0.7)

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
    began = time.monotonic()
    assert reporting.status()["state"] == "active"
    assert time.monotonic() - began < 8
    wait_for(lambda: acknowledged(reporting) > reported + 1, "it goes on reporting", 10)
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
    wait_for(served, "a place", 40)
    assert 20 < time.monotonic() - began < 36
    for client in held:
        client.close()
    assert acknowledged(reporting) > 20
