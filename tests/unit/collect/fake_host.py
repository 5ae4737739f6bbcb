"""A made-up host: folders that look like /proc, /sys and /etc, and a clock that only the test moves."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dio_daemon.collect.procfs import Roots

STAT = "cpu  {user} 0 100 {idle} 50 0 10 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\nbtime 1700000000\n"
NET_HEAD = (
    "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"
)


class HandClock:
    """A clock that stands still until `advance`."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds

    def boottime(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.advance(timeout_s)
        return event.is_set()


class FakeHost:
    """A host in a folder. What a test does not set is that of a small healthy one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots = Roots(*(str(folder / name) for name in ("proc", "sys", "etc", "run")))
        for name in ("proc/self/root", "proc/1/root", "proc/net", "sys/class/net", "sys/block", "etc", "run"):
            (folder / name).mkdir(parents=True)
        self.cpu(user=1000, idle=9000)
        self.meminfo(
            MemTotal=1000, MemAvailable=600, Cached=200, Buffers=50, SReclaimable=10, SwapTotal=0, SwapFree=0
        )
        self.write("proc/loadavg", "0.50 0.40 0.30 1/100 1234\n")
        self.write("proc/sys/fs/file-nr", "1000\t0\t100000\n")
        self.write("proc/uptime", "1000.50 1900.00\n")
        self.write("proc/net/dev", NET_HEAD)
        self.write("proc/diskstats", "")
        self.mounts([("/", "8:1", "/", "ext4", "/dev/sda1")])
        self.write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33::/:/bin/false\n")

    def write(self, path: str, text: str | bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()

    def cpu(self, user: int, idle: int) -> None:
        self.write("proc/stat", STAT.format(user=user, idle=idle))

    def meminfo(self, **kib: int) -> None:
        self.write("proc/meminfo", "".join(f"{name}: {value} kB\n" for name, value in kib.items()))

    def mounts(self, mounts: list[tuple[str, str, str, str, str]], process: str = "1") -> None:
        """Each: path, major:minor, folder within, type, device; mounted in the one that its path leads through."""
        ids = {mount[0]: 20 + index for index, mount in enumerate(mounts)}

        def around(path: str) -> int:
            while path != "/":
                path = os.path.dirname(path)  # noqa: PTH120 - of an escaped path
                if path in ids:
                    return ids[path]
            return 1

        lines = [
            f"{ids[path]} {around(path)} {number} {inner} {path} rw,relatime - {fstype} {device} rw"
            for path, number, inner, fstype, device in mounts
        ]
        self.write(f"proc/{process}/mountinfo", "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")

    def interface(self, name: str, received: int, sent: int, device: bool = False) -> None:
        file = self.folder / "proc/net/dev"
        line = f"{name}: {received} 10 0 0 0 0 0 0 {sent} 20 0 0 0 0 0 0\n"
        kept = [old for old in file.read_text().splitlines(True) if not old.startswith(f"{name}:")]
        file.write_text("".join(kept) + line)
        (self.folder / f"sys/class/net/{name}").mkdir(exist_ok=True)
        if device:
            (self.folder / f"sys/class/net/{name}/device").mkdir(exist_ok=True)

    def disk(self, name: str, reads: int, sectors_read: int, busy_ms: int, size: int = 1000) -> None:
        file = self.folder / "proc/diskstats"
        line = f"8 0 {name} {reads} 0 {sectors_read} 0 0 0 0 0 0 {busy_ms} 0\n"
        kept = [old for old in file.read_text().splitlines(True) if old.split()[2] != name]
        file.write_text("".join(kept) + line)
        (self.folder / f"sys/block/{name}/slaves").mkdir(parents=True, exist_ok=True)
        self.write(f"sys/block/{name}/size", f"{size}\n")

    def process(
        self, pid: int, name: bytes = b"sh", state: str = "S", ticks: int = 0, started: int = 5, **more: int
    ) -> None:
        fields = [
            state,
            "1",
            *["0"] * 9,
            str(ticks),
            "0",
            *["0"] * 6,
            str(started),
            "0",
            str(more.get("rss", 100)),
        ]
        self.write(f"proc/{pid}/stat", b"%d (%b) " % (pid, name) + " ".join(fields).encode() + b" 0 0\n")
        self.write(f"proc/{pid}/status", f"Name:\tx\nUid:\t0\t{more.get('uid', 0)}\t0\t0\n")
        exe = self.folder / f"proc/{pid}/exe"
        if not exe.is_symlink():
            exe.symlink_to(f"/usr/bin/prog{pid}")
