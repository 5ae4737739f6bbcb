"""Shells that are typed into over the network, with real processes, pipes, terminals and loopback connections."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.shells import is_shell, remote_end

RELAY = [sys.executable, "-c", "import threading; threading.Event().wait(90)"]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with client, other:
        yield client, other


@contextlib.contextmanager
def running(command: list[str], **more: object) -> Iterator[int]:
    """A process, killed at the end; its executable is what it is to be."""
    process = subprocess.Popen(command, start_new_session=True, **more)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def exes() -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found[int(path.name)] = os.readlink(path / "exe")  # noqa: PTH115 - as the product does
    return found


def waiting(pid: int) -> str:
    """The remote end of a shell, given a while to come up."""
    never = threading.Event()
    for _ in range(300):
        if is_shell(exes().get(pid, "")):
            break
        never.wait(0.1)
    found = remote_end(Host(), pid, exes())
    return found.remote if found is not None else ""


def test_a_shell_whose_input_is_the_connection(ends: tuple[socket.socket, socket.socket]) -> None:
    client, other = ends
    with running(["/bin/sh"], stdin=client, stdout=client) as shell:
        assert waiting(shell) == f"127.0.0.1:{other.getsockname()[1]}"


def test_a_shell_on_a_terminal_of_a_relay(ends: tuple[socket.socket, socket.socket]) -> None:
    client, other = ends
    code = (
        "import os, pty, threading\n"
        "pid, _ = pty.fork()\n"
        "if pid == 0: os.execv('/bin/sh', ['sh'])\n"
        "os.write(2, b'%d\\n' % pid)\n"
        "threading.Event().wait(90)\n"
    )
    read, write = os.pipe()
    with running([sys.executable, "-c", code], stdin=client, stdout=client, stderr=write):
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            shell = int(stream.readline())
            assert waiting(shell) == f"127.0.0.1:{other.getsockname()[1]}"


def test_a_shell_in_a_ring_of_pipes(ends: tuple[socket.socket, socket.socket]) -> None:
    client, other = ends
    (to_read, to_write), (back_read, back_write) = os.pipe(), os.pipe()
    with (
        running(["/bin/sh"], stdin=to_read, stdout=back_write) as shell,
        running(RELAY, stdin=back_read, stdout=to_write, pass_fds=[client.fileno()]),
    ):
        for each in (to_read, to_write, back_read, back_write):
            os.close(each)
        assert waiting(shell) == f"127.0.0.1:{other.getsockname()[1]}"


def test_a_script_whose_output_is_sent_somewhere(ends: tuple[socket.socket, socket.socket]) -> None:
    """`backup.sh | nc HOST PORT > log` from cron, whose input is a pipe."""
    client, _ = ends
    (to_read, to_write), (back_read, back_write) = os.pipe(), os.pipe()
    with (
        running(["/bin/sh"], stdin=to_read, stdout=back_write) as shell,
        running(RELAY, stdin=back_read, stdout=subprocess.DEVNULL, pass_fds=[client.fileno()]),
    ):
        for each in (to_read, back_read, back_write):
            os.close(each)
        assert waiting(shell) == ""
        os.close(to_write)


def test_a_shell_of_somebody_at_a_terminal() -> None:
    main, other = pty.openpty()
    with running(["/bin/sh"], stdin=other, stdout=other) as shell:
        assert waiting(shell) == ""
    os.close(main)
    os.close(other)


def test_what_has_ended_is_none() -> None:
    assert remote_end(Host(), 2**22 + 1, {}) is None
