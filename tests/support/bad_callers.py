"""Callers of every bad kind for a control socket: seeded, bounded, and with the standard library only.

Tests import them. On a host that has nothing but the packages the file runs by itself:

    python3 bad_callers.py SOCKET SEED SECONDS [THREADS]

It calls until the time is over and prints, as JSON, how many calls there were and how they were answered.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

PATHS = (
    *("status", "sample", "samples", "spool", "threats", "config", "threads", "metrics", "events", "change"),
    *("reload", "flush", "reregister", "report/event", "report/metrics", "x", "../status", "status/", "%00"),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "X" * 300, "\x00")
MOST_READ = 4 << 20


def connected(path: Path | str) -> socket.socket:
    """A connection, waited for where many want one; with 10 s for every read and write."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(str(path))
    except BaseException:
        client.close()
        raise
    client.settimeout(10)
    return client


def exchange(path: Path | str, data: bytes, read: bool = True) -> bytes:
    """Send bytes, then go away, or read what comes."""
    answer = b""
    with connected(path) as client, contextlib.suppress(OSError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while read and len(answer) < MOST_READ and (piece := client.recv(65536)):
            answer += piece
            read = b"x-ndjson" not in answer[:500]  # a stream does not end
    return answer


def noise(letters: random.Random) -> bytes:
    """Bytes that are no HTTP."""
    return letters.randbytes(letters.randrange(1, 3000))


def half(letters: random.Random) -> bytes:
    """A request that breaks off."""
    whole = b"POST /v1/report/event HTTP/1.1\r\nHost: dio\r\nContent-Length: 40\r\n\r\n" + b"{" * 40
    return whole[: letters.randrange(1, len(whole))]


def huge_head(letters: random.Random) -> bytes:
    """Headers without measure."""
    line = b"X-%d: " % letters.randrange(1000) + b"y" * letters.randrange(100, 60_000) + b"\r\n"
    return b"GET /v1/status HTTP/1.1\r\n" + line * letters.randrange(1, 120) + b"\r\n"


def almost(letters: random.Random) -> bytes:
    """What could be a request."""
    method, path = letters.choice(METHODS), letters.choice(PATHS)
    version = letters.choice(("HTTP/1.1", "HTTP/1.0", "HTTP/9", "", "HTTP/1.1\x00"))
    length = letters.choice(
        ("", "Content-Length: 5\r\n", "Content-Length: -1\r\n", "Content-Length: 1e9\r\n")
    )
    head = f"{method} /v1/{path} {version}\r\n{length}\r\n".encode()
    return head + letters.randbytes(letters.randrange(20))


def bodies(letters: random.Random) -> bytes:
    """Bodies that a parser, or a database behind it, may choke on."""
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


def call(path: Path | str, letters: random.Random) -> str:
    """One call of any kind; how it was answered: a status, `nothing`, or `away` for a caller that did not wait."""
    read = letters.random() < 0.7
    answer = exchange(path, letters.choice(KINDS)(letters), read)
    if not read:
        return "away"
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "nothing"


def call_for(path: str, seed: int, seconds: float, threads: int) -> Counter[str]:
    """Call from some threads at once until the time is over; how many calls were answered how."""
    end = time.monotonic() + seconds
    counted = [Counter[str]() for _ in range(threads)]

    def work(number: int) -> None:
        letters = random.Random(seed + number)
        while time.monotonic() < end:
            try:
                counted[number][call(path, letters)] += 1
            except OSError as error:
                counted[number][type(error).__name__] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counted, Counter())


def main() -> None:
    """The command."""
    path, seed, seconds, *more = sys.argv[1:]
    counted = call_for(path, int(seed), float(seconds), int(more[0]) if more else 4)
    print(json.dumps({"calls": counted.total(), "answers": dict(counted.most_common())}))


if __name__ == "__main__":
    main()
