"""The integrity thread: runs the detectors of this package, each when it is due, and holds what they found.

It is woken by what the kernel and the journal say, and takes that at most once a second, whatever the sampling
interval: a storm costs no more steps. Where nobody tells, it looks once a second. The sampler takes what is found from
`look`, as from any other detector; `changed` asks it to do so at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity import inotify
from dio_daemon.detect.integrity.accounts import AccountWatch
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.concealed import ConcealedWatch
from dio_daemon.detect.integrity.exposed import ExposedWatch
from dio_daemon.detect.integrity.files import FileWatch
from dio_daemon.detect.integrity.follow import Follower
from dio_daemon.detect.integrity.host import can_look
from dio_daemon.detect.integrity.hostage import HostageWatch
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.kernel import KernelWatch
from dio_daemon.detect.integrity.listeners import ListenerWatch
from dio_daemon.detect.integrity.logins import LoginWatch
from dio_daemon.detect.integrity.open_folders import OpenFolders
from dio_daemon.detect.integrity.people import People
from dio_daemon.detect.integrity.privileged import PrivilegedWatch
from dio_daemon.detect.integrity.processes import ProcessWatch
from dio_daemon.detect.integrity.tamper import TamperWatch
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.heartbeat import Heartbeat

log = logging.getLogger(__name__)

STEP_S = 120.0
"""What one step may take on a host that is out of breath before the thread counts as hung."""
STEP_WAIT_S = 1.0
"""Between two steps that something said, or that nobody would tell of."""
LEAST_WAIT_S = 0.15
"""Between two steps while the first look at the host goes on."""
PROCESSES_S = 5.0
TAMPER_S = 5.0
AGAIN_S = (10.0, 20.0, 32.0, 45.0)
"""After a change the sampler is asked again: what is gone is over after a while only, and samples may be rare."""
WITHOUT_PEOPLE = ("failed_logins", "login_after_failures", "security_service_stopped")
"""Their evidence says who, or nobody need have done it."""
FIRST_S = 2.0
"""The first sample has its time before the first look at the host."""


@dataclass(frozen=True)
class Parts:
    """The detectors, and what they share."""

    files: FileWatch
    folders: OpenFolders
    accounts: AccountWatch
    privileged: PrivilegedWatch
    hostage: HostageWatch
    exposed: ExposedWatch
    processes: ProcessWatch
    concealed: ConcealedWatch
    listeners: ListenerWatch
    logins: LoginWatch
    follower: Follower
    people: People
    tamper: TamperWatch
    kernel: KernelWatch
    baseline: Baseline
    notify: Sequence[Inotify]


class Integrity:
    """The thread's work, and the detector that the sampler asks.

    Args:
        parts: the detectors.
        window: the announced change window.
        heartbeat: this thread's sign of life.
        clock: for what is due.
        changed: called when what is found is another than before; must not block.
    """

    name = "integrity"

    def __init__(
        self,
        parts: Parts,
        window: ChangeWindow,
        heartbeat: Heartbeat,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._window = window
        self._heartbeat = heartbeat
        self._clock = clock
        self._changed = changed
        self._due = {"processes": clock.monotonic() + FIRST_S, "tamper": clock.monotonic() + FIRST_S}
        self._found: dict[str, list[Finding]] = {}
        self._told: frozenset[tuple[str, str]] = frozenset()
        self._again_at: list[float] = []
        self._present: dict[tuple[str, str], dict[str, Any]] = {}
        self._told_as: dict[int, tuple[Finding, Finding]] = {}
        self._all: tuple[Finding, ...] = ()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._started = False
        self._could_look = True
        self.stopping = False

    def look(self, sample: Mapping[str, Any], now: float) -> Sequence[Finding]:
        """All that is the case; for the sampler's thread."""
        return self._all

    @property
    def ready(self) -> bool:
        """Whether everything was looked at once since the start."""
        return self._parts.files.ready

    @property
    def walked(self) -> bool:
        """Whether all disks were walked once: from then on new privileged files are told wherever they are."""
        return self._parts.privileged.walked

    def stop(self) -> None:
        """End the waiting; called from another thread."""
        self.stopping = True
        self.wake()

    def wake(self) -> None:
        """Look now; called from any thread."""
        try:
            os.write(self._wake_write, b"x")
        except OSError:  # full: it is awake
            return

    def step(self) -> str:
        """Wait until something is due or told, and look."""
        self._heartbeat.beat(STEP_S)
        if not self._started:
            self._started = True
            self._sleep(FIRST_S)
            return "waited"
        if not self._can_look():
            self._sleep(STEP_WAIT_S)
            return "waited"
        self._accept_if_asked()
        self._look()
        self._parts.baseline.save()
        self._tell()
        self._wait(max(LEAST_WAIT_S, self._wait_s()))
        return f"{len(self._all)} found"

    def finish(self) -> None:
        """After the last step: write the baseline down, give back what the kernel lent."""
        self._parts.follower.close()
        self._parts.tamper.close()
        self._parts.baseline.save(at_once=True)
        for notify in self._parts.notify:
            notify.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _can_look(self) -> bool:
        """Whether looking tells anything now; what was found stands meanwhile."""
        can = can_look(self._wake_read)
        if can != self._could_look:
            self._could_look = can
            if can:
                log.info("Files and processes are looked at again")
            else:
                log.warning(
                    "Files and processes cannot be looked at: no descriptor is free (the agent's limit of open files,"
                    " LimitNOFILE=, or the host's, fs.file-max)"
                )
        return can

    def _look(self) -> None:
        now = self._clock.monotonic()
        for look in (
            self._look_at_files,
            self._look_at_logins,
            self._look_at_processes,
            self._look_at_traces,
        ):
            if (
                self.stopping
            ):  # whoever stops the agent waits for this; what is left is seen at the next start
                return
            look(now)

    def _look_at_files(self, now: float) -> None:
        parts = self._parts
        self._found["files"] = parts.files.step()
        self._found["accounts"] = parts.accounts.look()
        self._found["privileged"] = parts.privileged.step()
        self._found["hostage"] = parts.hostage.look(now)
        self._found["exposed"] = parts.exposed.look(now)

    def _look_at_logins(self, now: float) -> None:
        parts = self._parts
        lines = parts.follower.read()
        parts.people.take(lines, now)
        parts.logins.take(lines, now)
        self._found["logins"] = parts.logins.look(now)

    def _look_at_processes(self, now: float) -> None:
        parts = self._parts
        if self._is_due("processes", PROCESSES_S, now):
            self._found["processes"] = parts.processes.look(now)
            self._found["listeners"] = parts.listeners.look()
            self._found["concealed"] = parts.concealed.look(now)

    def _look_at_traces(self, now: float) -> None:
        parts = self._parts
        if self._is_due("tamper", TAMPER_S, now):
            self._found["tamper"] = parts.tamper.look(now)
            self._found["kernel"] = parts.kernel.look(self._clock.now().timestamp())
            if parts.files.ready:
                self._found["folders"] = parts.folders.look(now)

    def _is_due(self, what: str, every_s: float, now: float) -> bool:
        """Whether something is to be looked at now; asked once, it is done.

        The times stay a whole number of `every_s` apart: they would drift into the sampler's otherwise, and two threads
        that work at once wake each other again and again for Python's lock.
        """
        missed = (now - self._due[what]) // every_s
        if missed < 0:
            return False
        self._due[what] += (missed + 1) * every_s
        return True

    def _accept_if_asked(self) -> None:
        if not self._window.accept_asked:
            return
        self._window.accept_asked = False
        parts = self._parts
        for each in (
            parts.hostage,
            parts.exposed,
            parts.files,
            parts.folders,
            parts.accounts,
            parts.privileged,
            parts.listeners,
            parts.tamper,
            parts.kernel,
        ):
            each.accept()

    def _tell(self) -> None:
        found = self._with_people()
        told = frozenset((finding.fingerprint, finding.version) for finding in found)
        self._all = found
        now = self._clock.monotonic()
        if told != self._told:
            self._told = told
            self._again_at = [now + after_s for after_s in AGAIN_S]
            self._changed()
        elif self._again_at and now >= self._again_at[0]:
            self._again_at.pop(0)
            self._changed()

    def _with_people(self) -> tuple[Finding, ...]:
        """What is found, with who was on this host when it was found first."""
        now, present = self._clock.monotonic(), None
        before, self._present = self._present, {}
        told_as, self._told_as = self._told_as, {}
        for finding in (finding for each in self._found.values() for finding in each):
            key = (finding.fingerprint, finding.version)
            known = told_as.get(id(finding))
            if known is None or known[0] is not finding:
                if key not in before and present is None:
                    present = self._parts.people.present(now)
                known = (finding, _with(finding, before.get(key) or present or {}))
            self._present[key] = known[1].evidence.get("present", {})
            self._told_as[id(finding)] = known
        return tuple(finding for _, finding in self._told_as.values())

    def _wait_s(self) -> float:
        """Seconds that may pass until the next step when nothing is told."""
        parts = self._parts
        told = parts.follower.fd is not None and parts.files.is_told_of("/etc")
        if not told or parts.accounts.settling:
            return min(STEP_WAIT_S, parts.files.wait_s())
        due = min([*self._due.values(), *self._again_at]) - self._clock.monotonic()
        return min(due, parts.files.wait_s(), parts.privileged.wait_s())

    def _wait(self, timeout_s: float) -> None:
        """Wait for the time, for what is told, or to be woken."""
        self._heartbeat.beat(timeout_s)
        news = [notify.fd for notify in self._parts.notify]
        if self._parts.follower.fd is not None:
            news.append(self._parts.follower.fd)
        began = self._clock.monotonic()
        ready = inotify.wait_for([self._wake_read, *news], timeout_s)
        if ready and self._wake_read not in ready:
            self._sleep(min(STEP_WAIT_S, timeout_s) - (self._clock.monotonic() - began))
        else:
            self._sleep(0.0)

    def _sleep(self, timeout_s: float) -> None:
        """Wait for the time, or to be woken."""
        self._heartbeat.beat(max(0.0, timeout_s))
        inotify.wait_for([self._wake_read], timeout_s)
        try:
            while os.read(self._wake_read, 512):
                pass
        except OSError:  # empty
            return


def _with(finding: Finding, present: dict[str, Any]) -> Finding:
    if finding.type in WITHOUT_PEOPLE:
        return finding
    return replace(finding, evidence={**finding.evidence, "present": present})
