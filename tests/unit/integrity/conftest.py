"""A made-up host in a folder, with a package database, and what looks at its files."""

from __future__ import annotations

import fcntl
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.assemble import assemble
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.files import FileWatch
from dio_daemon.detect.integrity.group import Group
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.told import Told
from dio_daemon.detect.integrity.verdict import Verdict
from dio_daemon.detect.integrity.watched import GROUPS
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.detect.integrity.worker import Integrity
from dio_daemon.heartbeat import Heartbeat


class Hands:
    """A clock that moves when it is told to. Its wall clock begins at the real one, as the files' times do."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return self.monotonic_s

    def boottime(self) -> float:
        return self.monotonic_s

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.monotonic_s += timeout_s
        return event.is_set()


@dataclass
class FakeHost:
    """Its `/` is `root`."""

    root: Path
    clock: Hands = field(default_factory=Hands)
    recorded: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    window: bool = False
    away: tuple[float, float] = (0.0, 0.0)
    lock: IO[bytes] | None = None

    @property
    def host(self) -> Host:
        return Host(str(self.root / "host"), str(self.root / "proc"))

    def path(self, path: str) -> Path:
        return self.root / "host" / path.lstrip("/")

    def put(self, path: str, text: str | bytes = "", mode: int = 0o644) -> Path:
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(mode)
        return file

    def package(self, name: str, files: dict[str, str], conffiles: dict[str, str] | None = None) -> None:
        """Make the database say that a package has these files."""
        conf = conffiles or {}
        info = "/var/lib/dpkg/info"
        self.put(f"{info}/{name}.list", "/.\n" + "".join(f"{path}\n" for path in (*files, *conf)))
        sums = {
            path: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
            for path, text in (files | conf).items()
        }
        self.put(f"{info}/{name}.md5sums", "".join(f"{sums[path]}  {path[1:]}\n" for path in files))
        status = self.path("/var/lib/dpkg/status")
        before = status.read_text() if status.exists() else ""
        lines = "".join(f" {path} {sums[path]}\n" for path in conf)
        self.put(
            "/var/lib/dpkg/status",
            f"{before}Package: {name}\nStatus: install ok installed\n"
            + (f"Conffiles:\n{lines}" if conf else "")
            + "\n",
        )

    def dpkg_ran(self, begin_s: float = -5, end_s: float = 5) -> None:
        """Log a run of dpkg around now."""
        now = datetime.now()
        lines = [(now + timedelta(seconds=begin_s), "startup archives unpack")]
        lines.append((now + timedelta(seconds=end_s), "status installed x:all 1"))
        log = self.path("/var/log/dpkg.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as stream:
            stream.write("".join(f"{at:%Y-%m-%d %H:%M:%S} {words}\n" for at, words in lines))

    def hold_lock(self, held: bool = True) -> None:
        """Hold dpkg's lock, or let it go. One of an open file: to the kernel another process might hold it."""
        if self.lock is None:
            self.lock = self.put("/var/lib/dpkg/lock-frontend").open("r+b")
        kind = fcntl.F_WRLCK if held else fcntl.F_UNLCK
        fcntl.fcntl(self.lock, fcntl.F_OFD_SETLK, struct.pack("@hhqqi0q", kind, 0, 0, 0, 0))

    def watch(self, groups: tuple[Group, ...] = GROUPS, notify: Inotify | None = None) -> FileWatch:
        """A watch of its files, as after a start of the agent."""
        host = self.host
        runs = Runs(host)
        self.baseline = Baseline(self.root / "state/integrity.jsonl.gz", self.clock)
        verdict = Verdict(host, Packages(host), runs, lambda moment: self.window, self.away)
        return FileWatch(
            host,
            groups,
            self.baseline,
            verdict,
            runs,
            notify,
            self.clock,
            lambda *event: self.recorded.append(event),
        )

    def told(self, name: str = "test") -> Told:
        """What a detector told once, as after a start of the agent."""
        self.baseline = Baseline(self.root / "state/integrity.jsonl.gz", self.clock)
        return Told(self.baseline, name, self.clock)

    def worker(
        self, changed: Callable[[], None] = lambda: None, follow: tuple[str, ...] = ()
    ) -> tuple[Integrity, ChangeWindow]:
        """All detectors, as after a start of the agent, and the change window that they heed."""
        state = self.root / "state"
        window = ChangeWindow(state / "window.json", self.clock)
        made = assemble(
            self.host,
            state,
            (),
            window,
            Heartbeat("integrity", self.clock),
            self.clock,
            lambda *event: self.recorded.append(event),
            changed,
            str(self.root / "cgroup"),
            follow,
        )
        return made, window

    def run(self, watch: FileWatch) -> list[Finding]:
        """Let ten minutes pass, so that everything is looked at again, also what the kernel tells of; what is found."""
        self.clock.monotonic_s += 601
        watch.step()
        for _ in range(100):
            if not watch.scanning:
                break
            watch.step()
        return sorted(watch.step(), key=lambda finding: finding.subject)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeHost]:
    """A host like a small Debian."""
    for folder in ("host", "proc/1", "state"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/1/mountinfo").write_text("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
    host = FakeHost(tmp_path)
    host.put(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n"
        "ann:x:1000:1000::/home/ann:/bin/bash\n",
    )
    host.put("/etc/crontab", "17 * * * * root run-parts /etc/cron.hourly\n")
    host.put("/etc/sudoers", "root ALL=(ALL:ALL) ALL\n", 0o440)
    host.put("/etc/cron.d/e2scrub", "30 3 * * 0 root /sbin/e2scrub_all\n")
    host.put("/home/ann/.bashrc", "alias ll='ls -l'\n")
    host.put("/root/.profile", "umask 022\n")
    host.put("/etc/systemd/system/.keep")
    yield host
    if host.lock is not None:
        host.lock.close()


Settled = Callable[[FileWatch], list[Finding]]
