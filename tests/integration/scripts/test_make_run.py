"""`make run` as a person sees it: both programs for real, a view of their samples, and nothing left behind."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

RUN = Path(__file__).parents[3] / "scripts/run.py"
WITHIN_S = 60


class Run:
    """A running scripts/run.py and everything it has printed so far."""

    def __init__(self, folder: Path, terminal: bool, port: int) -> None:
        self.folder = folder
        self.text = ""
        if terminal:
            self._reader, out = pty.openpty()
        else:
            self._reader, out = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, str(RUN), "--folder", str(folder), "--port", str(port)],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        os.close(out)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._reader, 65536)
            except OSError:  # how a terminal says that its other end is closed
                return
            if not chunk:
                return
            self.text += chunk.decode()

    def wait_for(self, seen: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not seen(self.text):
            assert time.monotonic() < deadline and self.process.poll() is None, self.text
            threading.Event().wait(0.05)

    def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(WITHIN_S)
        self._thread.join(WITHIN_S)
        os.close(self._reader)
        return code

    def processes(self) -> list[int]:
        """Return the pids of all that was started with this folder in its arguments or environment."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != str(os.getpid()):
                try:
                    told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                except OSError:
                    continue
                if os.fsencode(self.folder) in told:
                    found.append(int(entry.name))
        return found

    def await_nothing_left(self) -> None:
        deadline = time.monotonic() + WITHIN_S
        while left := self.processes():
            assert time.monotonic() < deadline, left
            threading.Event().wait(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start_one(terminal: bool = False, port: int = 0) -> Run:
        runs.append(Run(tmp_path / "run", terminal, port))
        return runs[-1]

    yield start_one
    for run in runs:
        if run.process.poll() is None:
            run.end(signal.SIGTERM)


def samples(text: str) -> int:
    return sum(" seq " in line for line in text.splitlines())


def test_samples_arrive_and_an_interrupt_ends_all(start: Callable[..., Run]) -> None:
    run = start()
    run.wait_for(lambda text: samples(text) >= 2)
    for line in (
        "nerve center: READY",
        "agent: READY",
        "nerve center: STATUS healthy",
        "agent: STATUS active",
    ):
        assert line in run.text
    link = re.search(r"^(http://\S+/login/link/\S+)$", run.text, re.MULTILINE)
    assert link is not None, run.text
    with urllib.request.urlopen(link[1], timeout=60) as page:
        assert "Log in" in page.read().decode()
    assert len(run.processes()) >= 5, "this, nerve center, its workers, keeper, agent"
    assert run.end(signal.SIGINT) == 0, run.text
    assert (
        "agent: stopped, exit code 0\nkeeper: stopped, exit code 0\nnerve center: stopped, exit code 0\n"
        in run.text
    )
    assert "Traceback" not in run.text
    assert run.processes() == []

    again = start()  # on the same database, as the same agent
    again.wait_for(lambda text: samples(text) >= 1)
    assert again.end(signal.SIGTERM) == 0


def test_a_terminal_is_redrawn_and_shows_the_host(start: Callable[..., Run]) -> None:
    run = start(terminal=True)
    run.wait_for(lambda text: "processes," in text and "\x1b[H\x1b[J" in text)
    assert run.end(signal.SIGINT) == 0, run.text
    assert run.processes() == []


@pytest.mark.parametrize("name", ["dio-agent", "dio-nerve-center", "dio-nerve-center-keeper"])
def test_when_one_dies_it_says_so_with_its_last_lines(start: Callable[..., Run], name: str) -> None:
    run = start()
    run.wait_for(lambda text: samples(text) >= 1)
    victim = next(
        pid
        for pid in run.processes()
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0--")[0].endswith(f"/{name}".encode())
    )
    os.kill(victim, signal.SIGKILL)
    assert run.end() == 1, run.text
    assert "ended by itself with code -9" in run.text
    begins = "keeper is active" if name.endswith("keeper") else "Starting"
    assert begins in run.text.rpartition("Its last lines:")[2]
    run.await_nothing_left()


def test_killed_itself_it_leaves_nothing(start: Callable[..., Run]) -> None:
    run = start()
    run.wait_for(lambda text: samples(text) >= 1)
    run.end(signal.SIGKILL)
    run.await_nothing_left()


def test_a_second_one_in_the_same_folder_is_refused(start: Callable[..., Run]) -> None:
    first = start()
    first.wait_for(lambda text: "nerve center: READY" in text)
    second = start()
    assert second.end() == 1
    assert "another `make run` is at work" in second.text


def test_another_port_where_the_usual_one_is_taken(start: Callable[..., Run]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = start(port=port)
        run.wait_for(lambda text: "agent: READY" in text)
        assert f"Port {port} is taken, using another one." in run.text
        assert run.end(signal.SIGINT) == 0
