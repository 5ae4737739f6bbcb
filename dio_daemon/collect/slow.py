"""What changes seldom or is dear to ask: once a minute, and the same answer in between.

Failed units are asked of systemd by its own client, temperatures of the kernel's sensors; both may hang and run
apart. A pending reboot is a newer kernel of the same flavour in /boot than the one that runs, or the file that
packages leave. Open files are counted for the whole host and for the processes that come near their limit.
"""

# The functions of os cost a tenth of those of pathlib, and this goes over all processes.
# ruff: noqa: PTH110, PTH112, PTH116, PTH208

import os
import re
import subprocess
from collections.abc import Callable
from typing import Any, Final, TypeVar

import psutil

from dio_daemon.clock import Clock
from dio_daemon.collect.apart import Apart, HungError
from dio_daemon.collect.procfs import Roots, read, read_line, read_text
from dio_daemon.collect.rates import percent
from dio_daemon.text import safe

T = TypeVar("T")

EVERY_S = 60.0
PATIENCE = 3
MOST_UNITS = 64
MOST_SENSORS = 64
MOST_FILES = 8
NEAR_LIMIT_PERCENT = 50.0

_FAILED: Final = ("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full", "--no-pager")
_KERNEL = re.compile(r"vmlinuz-(?P<version>[0-9][0-9A-Za-z.+~-]*)")
_FLAVOUR = re.compile(r"-(?P<flavour>[a-z][a-z0-9-]*)$")

Group = dict[str, Any] | list[dict[str, Any]] | None


class Slow:
    """Asks each group once a minute. A group that fails is asked again at the next minute.

    A host that is out of breath answers late: only what failed `PATIENCE` times in a row is an error, until then it is
    None.

    Args:
        clock: for the minute.
        roots: where the kernel's files are.
        timeout_s: how long a call that may hang is waited for.
        run: runs a program and returns its output; raises OSError, ValueError.
        boot: where kernels are installed.
    """

    def __init__(
        self,
        clock: Clock,
        roots: Roots,
        timeout_s: float,
        run: Callable[[tuple[str, ...], float], str] | None = None,
        boot: str = "/boot",
    ) -> None:
        self._clock = clock
        self._roots = roots
        self._timeout_s = timeout_s
        self._apart = Apart(timeout_s, 2)
        self._run = run or _run
        self._boot = boot
        self._asked: dict[str, float] = {}
        self._answers: dict[str, Any] = {}
        self._failures: dict[str, int] = {}

    def once_a_minute(self, name: str, ask: Callable[[], T]) -> T:
        """The answer of `ask`, at most a minute old. What it raises in the end is raised until the next minute, too."""
        now = self._clock.monotonic()
        if name not in self._asked or now - self._asked[name] >= EVERY_S:
            self._asked[name] = now
            try:
                self._answers[name] = ask()
                self._failures[name] = 0
            except (OSError, ValueError, psutil.Error) as error:
                self._failures[name] = self._failures.get(name, 0) + 1
                self._answers[name] = error if self._failures[name] >= PATIENCE else None
        answer: T | Exception = self._answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def units(self) -> dict[str, Any] | None:
        """Failed units of systemd; None where systemd does not run. Raises OSError, ValueError."""
        return self.once_a_minute("units", self._units)

    def temperatures(self) -> list[dict[str, Any]] | None:
        """Each sensor in degrees Celsius; None where there is none. Raises OSError, ValueError."""
        return self.once_a_minute("temperatures", self._temperatures)

    def reboot(self) -> dict[str, Any]:
        """Whether a reboot is pending, and why. Raises OSError."""
        return self.once_a_minute("reboot", self._reboot)

    def files(self) -> dict[str, Any]:
        """Open files of the host, and of processes near their limit. Raises OSError, ValueError."""
        return self.once_a_minute("files", self._files)

    def _units(self) -> dict[str, Any] | None:
        run = self._roots.run
        if not os.path.isdir(f"{run}/systemd/system") or not os.path.exists(f"{run}/dbus/system_bus_socket"):
            return None
        answer = self._apart.run({b"systemctl": lambda: self._run(_FAILED, self._timeout_s)})[b"systemctl"]
        if isinstance(answer, HungError):
            raise OSError("systemctl does not answer")
        if isinstance(answer, Exception):
            raise answer
        names = sorted(line.split()[0] for line in answer.splitlines() if line.split())
        return {"failed": len(names), "failed_units": [safe(name, 255) for name in names[:MOST_UNITS]]}

    def _temperatures(self) -> list[dict[str, Any]] | None:
        if not hasattr(psutil, "sensors_temperatures"):
            return None
        answer = self._apart.run({b"sensors": psutil.sensors_temperatures})[b"sensors"]
        if isinstance(answer, HungError):
            raise OSError("a sensor does not answer")
        if isinstance(answer, Exception):
            raise answer
        found: list[dict[str, Any]] = []
        for chip, sensors in sorted(answer.items()):
            for number, sensor in enumerate(sensors, 1):
                name = f"{chip} {sensor.label or number}"
                if sensor.current is not None and -50 < sensor.current < 200:  # beyond, it is a broken sensor
                    limit = sensor.critical or sensor.high
                    share = percent(sensor.current, limit) if limit and limit > 20 else None
                    found.append(
                        {
                            "sensor": safe(name, 128),
                            "celsius": round(sensor.current, 1),
                            "critical_celsius": limit or None,
                            "critical_percent": share,
                        }
                    )
        return found[:MOST_SENSORS] or None

    def _reboot(self) -> dict[str, Any]:
        running = os.uname().release
        newest = None
        if not os.path.exists(f"{self._roots.run}/systemd/container"):
            newest = newest_kernel(self._kernels(), running)
        packages: list[str] = []
        asked_for = os.path.exists(f"{self._roots.run}/reboot-required")
        if asked_for:
            try:
                text = read(f"{self._roots.run}/reboot-required.pkgs", 65536).decode(
                    "utf-8", "surrogateescape"
                )
                packages = sorted({safe(line, 128) for line in text.splitlines() if line})[:MOST_UNITS]
            except OSError:  # nobody said why
                packages = []
        return {
            "pending": asked_for or newest is not None,
            "running_kernel": safe(running, 128),
            "newest_kernel": newest,
            "packages": packages,
        }

    def _kernels(self) -> list[str]:
        try:
            names = os.listdir(self._boot)
        except OSError:
            return []
        return [found["version"] for name in names if (found := _KERNEL.fullmatch(name))]

    def _files(self) -> dict[str, Any]:
        words = read_text(f"{self._roots.proc}/sys/fs/file-nr", 4096).split()
        opened, most = int(words[0]), int(words[2])
        near: list[dict[str, Any]] = []
        for pid in os.listdir(self._roots.proc):
            if pid.isdigit() and (found := self._of_process(pid)):
                near.append(found)
        near.sort(key=lambda item: -item["percent"])
        return {
            "open": opened,
            "max": most,
            "percent": percent(opened, most),
            "near_limit": near[:MOST_FILES],
        }

    def _of_process(self, pid: str) -> dict[str, Any] | None:
        """A process that uses more than half of what it may; None for any other, and for one that has ended."""
        folder = f"{self._roots.proc}/{pid}"
        try:
            opened = count_entries(f"{folder}/fd")
            if opened < 100:
                return None
            limits = read_text(f"{folder}/limits", 8192)
            name = read_line(f"{folder}/comm").rstrip(b"\n")
        except OSError:
            return None
        line = next((line for line in limits.splitlines() if line.startswith("Max open files")), "")
        soft = line.split()[3:4]
        share = percent(opened, int(soft[0])) if soft and soft[0].isdigit() else None
        if share is None or share < NEAR_LIMIT_PERCENT:
            return None
        return {
            "pid": int(pid),
            "name": safe(name, 64) or "?",
            "open": opened,
            "max": int(soft[0]),
            "percent": share,
        }


def count_entries(folder: str) -> int:
    """How many entries /proc/PID/fd has: its size since Linux 6.2; before that its size is 0. Raises OSError."""
    return os.stat(folder).st_size or len(os.listdir(folder))


def newest_kernel(installed: list[str], running: str) -> str | None:
    """A newer kernel of the running one's flavour; None when there is none, or when the running one came otherwise."""
    if running not in installed:
        return None  # started from outside (a virtual machine's host), or removed: nothing to compare with
    flavour = _FLAVOUR.search(running)
    same = [
        version
        for version in installed
        if ((found := _FLAVOUR.search(version)) and found["flavour"]) == (flavour and flavour["flavour"])
    ]
    newest = max(same, key=_order)
    return safe(newest, 128) if _order(newest) > _order(running) else None


def _order(version: str) -> list[tuple[int, int, str]]:
    """Numbers by size, words by letter; what follows a tilde comes before nothing at all, as dpkg has it."""
    parts = re.findall(r"\d+|[a-z]+|~", version.lower())
    return [
        (2, int(part), "") if part.isdigit() else (0 if part in ("~", "rc") else 1, 0, part) for part in parts
    ] + [(1, 0, "")]


def _run(command: tuple[str, ...], timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, check=True, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took longer than {timeout_s:g} s") from error
    except subprocess.CalledProcessError as error:
        said = safe(error.stderr.strip(), 200)
        raise OSError(f"{command[0]} failed with {error.returncode}: {said}") from error
    return done.stdout.decode("utf-8", "replace")
