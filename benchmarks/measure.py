"""What a process costs, and a program that is run until it says READY."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 15


@dataclass(frozen=True)
class Cost:
    """A process tree at one moment: memory in KiB, and what was used since its start.

    `switches` are the voluntary ones of all threads that live; one that has ended took its own along.
    """

    pss_kib: int = 0
    private_kib: int = 0
    rss_kib: int = 0
    threads: int = 0
    cpu_ms: float = 0.0
    switches: int = 0
    written_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


def cost(pid: int) -> Cost:
    """Return the cost of a process and all its descendants. Raises OSError when the process itself is gone."""
    total = cost_of_one(pid)
    for each in tree(pid):
        with suppress(OSError):  # one that has ended meanwhile
            total += cost_of_one(each) if each != pid else Cost()
    return total


def cost_of_one(pid: int) -> Cost:
    """Return the cost of one process without its descendants. Raises OSError when it is gone."""
    folder = Path(f"/proc/{pid}")
    sizes = {"Pss:": 0, "Private_Clean:": 0, "Private_Dirty:": 0, "Rss:": 0}
    for line in (folder / "smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        if name in sizes:
            sizes[name] += int(value)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    switches = switches_of(pid)
    return Cost(
        sizes["Pss:"],
        sizes["Private_Clean:"] + sizes["Private_Dirty:"],
        sizes["Rss:"],
        len(switches),
        # Its own and that of children that have ended and were waited for: utime, stime, cutime, cstime.
        sum(int(field) for field in fields[11:15]) * 1000 / TICKS_PER_S,
        sum(switches.values()),
        _figure(folder / "io", "write_bytes:"),
    )


def switches_of(pid: int) -> dict[int, int]:
    """Voluntary context switches of each thread that lives, by its id: the threads in the order of their start."""
    found = {}
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        with suppress(OSError):
            found[int(task.name)] = _figure(task / "status", "voluntary_ctxt_switches:")
    return found


def _figure(path: Path, name: str) -> int:
    """A figure of a file that has one a line; 0 where it has none."""
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def tree(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    with suppress(OSError):  # it has ended, or a thread of it
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


@contextmanager
def running(command: list[str], folder: Path, name: str, ready: bool = False) -> Iterator[tuple[int, float]]:
    """Run a program; give its pid and the seconds until READY=1, or at once when it says none.

    Raises RuntimeError, with its output, when it ends, or is not ready within a minute.
    """
    address = folder / f"{name}.notify"
    address.unlink(missing_ok=True)
    environment = dict(os.environ)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
        (folder / f"{name}.log").open("wb") as log,
    ):
        if ready:
            notify.bind(str(address))
            environment["NOTIFY_SOCKET"] = str(address)
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        over = threading.Event()
        reader = threading.Thread(target=_read_on, args=(notify, over))
        try:
            if ready:
                _await_ready(notify, process, log.name)
                reader.start()
            yield process.pid, time.monotonic() - started
            if process.poll() is not None:
                text = Path(log.name).read_text()
                raise RuntimeError(f"{name} ended with code {process.returncode}. It wrote:\n{text}")
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            over.set()
            if reader.is_alive():
                reader.join()


def _read_on(notify: socket.socket, over: threading.Event) -> None:
    """Read what else is said, as systemd does: whoever says it would wait for ever otherwise."""
    while not over.is_set():
        with suppress(TimeoutError):
            notify.recv(65536)


def _await_ready(notify: socket.socket, process: subprocess.Popen[bytes], log: str) -> None:
    notify.settimeout(0.5)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if b"READY=1" in notify.recv(65536).split(b"\n"):
                return
        except TimeoutError:
            continue
    raise RuntimeError(
        f"not ready within a minute, or ended (code {process.poll()}). It wrote:\n{Path(log).read_text()}"
    )


def seconds(command: list[str]) -> float:
    """Run a command to its end; return how long that took. Raises CalledProcessError."""
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in cpuinfo if line.startswith("model name")), "unknown")
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    processes = sum(entry.name.isdigit() for entry in Path("/proc").iterdir())
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "memory": f"{memory_kib / 1048576:.1f} GiB",
        "system": system,
        "kernel": platform.release(),
        "processes": str(processes),
    }
