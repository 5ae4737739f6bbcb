"""Asking the nerve center over its real socket how it is, with little memory and in bounded time."""

from __future__ import annotations

import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

_MOST_BYTES = 65536


@dataclass(frozen=True)
class Answer:
    """What came back. `alive`: a nerve center answered at all; `healthy`: and takes reports."""

    alive: bool
    healthy: bool
    agents: int | None = None
    reason: str = ""


def probe_address(host: str) -> str:
    """Where to reach a server on this machine that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 compared, not bound


def ask(host: str, port: int, timeout_s: float, context: ssl.SSLContext | None = None) -> Answer:
    """GET /health, by TLS where there is a `context`, in `timeout_s` seconds altogether.

    Raises nothing: no answer is an answer.
    """
    request = f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    until = time.monotonic() + timeout_s
    received = bytearray()
    try:
        with _connect(probe_address(host), port, timeout_s, context) as connection:
            connection.sendall(request.encode("ascii", "replace"))
            while len(received) < _MOST_BYTES:
                connection.settimeout(max(0.01, until - time.monotonic()))
                data = connection.recv(8192)
                if not data:
                    break
                received += data
                if time.monotonic() > until:
                    return Answer(False, False, reason="does not answer")
    except TimeoutError:
        return Answer(False, False, reason="does not answer")
    except OSError as exc:
        return Answer(False, False, reason=(exc.strerror or str(exc)).lower())
    return _read(bytes(received))


def _connect(host: str, port: int, timeout_s: float, context: ssl.SSLContext | None) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=timeout_s)
    if context is None:
        return connection
    try:
        return context.wrap_socket(connection)
    except BaseException:
        connection.close()
        raise


def _read(response: bytes) -> Answer:
    head, _, body = response.partition(b"\r\n\r\n")
    try:
        document: Any = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("component") != "nerve_center":
        return Answer(False, False, reason="something else answers there")
    agents = document.get("agents_connected")
    healthy = head.split(b" ", 2)[1:2] == [b"200"] and document.get("status") == "healthy"
    return Answer(
        True,
        healthy,
        agents if isinstance(agents, int) else None,
        "" if healthy else str(document.get("reason", "")),
    )
