"""One sample of the host, whatever state the host is in.

    collector = HostCollector(clock, settings)
    collector.prime()               the first counters; rates need two
    data = collector.sample()       a SampleData of the contract
    collector.problems              code to sentence: what this sample could not have, and why

`sample` takes no longer than the work of reading /proc plus `call_timeout_s` for whatever hangs (at most that
four times: for filesystems, names of users, sensors and systemd), and what it returns is at most `MOST_BYTES` as JSON.
"""

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import psutil

from dio_daemon.clock import Clock
from dio_daemon.collect import host
from dio_daemon.collect.apart import Apart
from dio_daemon.collect.disk_io import DiskIo
from dio_daemon.collect.disks import Disks, StatVfs
from dio_daemon.collect.facts import host_facts
from dio_daemon.collect.network import Network
from dio_daemon.collect.processes import Processes
from dio_daemon.collect.procfs import Roots
from dio_daemon.collect.slow import Slow
from dio_daemon.collect.users import Users
from dio_daemon.text import safe

MOST_BYTES = 60_000
"""Size of a sample as JSON; a record may have 65,536 bytes."""

T = TypeVar("T")


class CollectSettings(Protocol):
    """The part of the configuration that is about collecting."""

    @property
    def top_processes(self) -> int:
        """How many processes are named for their cpu, and how many for their memory."""

    @property
    def call_timeout_s(self) -> float:
        """How long a call that may hang is waited for."""


class HostCollector:
    """Runs each collector so that the failure of one is null in its group and nowhere else."""

    def __init__(
        self,
        clock: Clock,
        settings: CollectSettings,
        roots: Roots | None = None,
        statvfs: StatVfs | None = None,
        skew_s: Callable[[], float | None] = lambda: None,
        slow: Slow | None = None,
    ) -> None:
        self._skew_s = skew_s
        self._clock = clock
        self._roots = roots or Roots()
        self._cpu = host.Cpu()
        self._disks = Disks(self._roots, Apart(settings.call_timeout_s), *([statvfs] if statvfs else []))
        self._disk_io = DiskIo(self._roots)
        self._forks = host.Forks(self._roots)
        self._slow = slow or Slow(clock, self._roots, settings.call_timeout_s)
        self._network = Network(self._roots)
        users = Users(clock, self._roots, settings.call_timeout_s)
        self._processes = Processes(self._roots, users, settings.top_processes)
        self._sampled_at: float | None = None
        self.problems: dict[str, str] = {}
        """What the last sample could not have: code to a sentence for people."""

    def prime(self) -> None:
        """Take the first counters, so that the first sample has rates."""
        self.sample()

    def host_facts(self) -> dict[str, Any]:
        """Return what seldom changes about the host: the `Host` of the contract."""
        return host_facts(self._roots)

    def sample(self) -> dict[str, Any]:
        """Return what the host is doing, as the contract's `SampleData`; rates since the sample before.

        Raises nothing that the host can bring about: what fails is null, with a sentence in `problems`.
        """
        problems: dict[str, str] = {}
        now = self._clock.monotonic()
        interval_s = None if self._sampled_at is None else now - self._sampled_at
        self._sampled_at = now
        boottime_s = self._clock.boottime()

        def group(name: str, read: Callable[[], T]) -> T | None:
            try:
                return read()
            except (OSError, ValueError, psutil.Error) as error:
                problems[f"collect_{name}"] = (
                    f"No {name.replace('_', ' ')} figures: {safe(str(error), 300)}. "
                    "They stay empty until it works again."
                )
                return None

        # Counters first, close to the time that their rates are taken over; what may hang comes last.
        sample: dict[str, Any] = {
            "boottime_s": round(boottime_s, 3),
            "interval_s": None if interval_s is None else round(interval_s, 3),
            "uptime_s": group("uptime", lambda: host.uptime_s(self._roots)),
            "cpu": group("cpu", self._cpu.sample),
            "disk_io": group("disk_io", lambda: self._disk_io.sample(interval_s)),
            "network": group("network", lambda: self._network.sample(interval_s)),
            "processes": group("processes", lambda: self._processes.sample(interval_s, boottime_s)),
            "load": group("load", lambda: host.load(self._roots)),
            "tasks": group("tasks", lambda: self._forks.sample(interval_s)),
            "pressure": group("pressure", lambda: host.pressure(self._roots)),
        }
        meminfo = group("memory", lambda: host.read_meminfo(self._roots))
        sample["memory"] = None if meminfo is None else host.memory(self._roots, meminfo)
        sample["swap"] = None if meminfo is None else host.swap(meminfo)
        skew_s = self._skew_s()
        sample["clock"] = None if skew_s is None else {"skew_s": round(skew_s, 3)}
        sample["files"] = group("files", self._slow.files)
        sample["temperatures"] = group("temperatures", self._slow.temperatures)
        sample["units"] = group("units", self._slow.units)
        sample["reboot"] = group("reboot", self._slow.reboot)
        disks = group("disks", self._disks.sample)
        sample["disks"], sample["disks_omitted"] = disks or (None, 0)
        if disks is not None and self._disks.unreachable:
            problems["collect_mount_unreachable"] = (
                f"No answer from {len(self._disks.unreachable)} mounted filesystem(s): "
                f"{', '.join(self._disks.unreachable[:5])}. Is the server behind it gone? Mend or unmount it."
            )
        self.problems = problems
        return fit(sample)


def fit(sample: dict[str, Any]) -> dict[str, Any]:
    """Return the sample with its lists shortened until it has at most `MOST_BYTES` as JSON.

    Only names of hundreds of characters bring a sample near that.
    """
    network, processes = sample["network"] or {}, sample["processes"] or {}
    while len(json.dumps(sample)) > MOST_BYTES:
        lists = [
            sample["disks"],
            sample["temperatures"],
            sample["disk_io"],
            network.get("interfaces"),
            processes.get("top"),
        ]
        longest = max((items for items in lists if items), key=lambda items: len(json.dumps(items)))
        kept = len(longest) // 2
        if longest is sample["disks"]:
            sample["disks_omitted"] += len(longest) - kept
        del longest[kept:]
    return sample
