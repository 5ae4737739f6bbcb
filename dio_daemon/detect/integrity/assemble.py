"""Puts the detectors of this package together; for the agent's composition root."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.integrity.accounts import AccountWatch
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.concealed import ConcealedWatch
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.exposed import ExposedWatch
from dio_daemon.detect.integrity.files import JUDGED_AT, FileWatch
from dio_daemon.detect.integrity.follow import COMMAND, Follower
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.hostage import HostageWatch
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.kernel import KernelWatch
from dio_daemon.detect.integrity.listeners import ListenerWatch
from dio_daemon.detect.integrity.logins import LoginWatch
from dio_daemon.detect.integrity.open_folders import OpenFolders
from dio_daemon.detect.integrity.people import People
from dio_daemon.detect.integrity.privileged import PrivilegedWatch
from dio_daemon.detect.integrity.processes import ProcessWatch
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.tamper import TamperWatch
from dio_daemon.detect.integrity.told import Told
from dio_daemon.detect.integrity.verdict import Verdict
from dio_daemon.detect.integrity.watched import GROUPS
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.detect.integrity.worker import Integrity, Parts
from dio_daemon.heartbeat import Heartbeat

CGROUPS = "/sys/fs/cgroup"


def assemble(
    host: Host,
    state_dir: Path,
    ignored: tuple[re.Pattern[str], ...],
    window: ChangeWindow,
    heartbeat: Heartbeat,
    clock: Clock,
    record: Callable[[str, str, dict[str, Any]], None],
    changed: Callable[[], None],
    cgroups: str = CGROUPS,
    follow: tuple[str, ...] = COMMAND,
) -> Integrity:
    """The integrity thread's work over a host.

    Args:
        host: what is watched.
        state_dir: where the baseline is kept.
        ignored: paths that are not watched.
        window: the announced change window.
        heartbeat: the thread's sign of life.
        clock: for what is due.
        record: records an event: type, message, data.
        changed: called when what is found is another than before.
        cgroups: where systemd's services are.
        follow: the command that follows the journal.
    """
    if host.root and follow:
        # In the sandbox's own mounts journalctl of Debian 12 is not woken by what is new.
        follow = (*follow, f"--root={host.root}")
    baseline = Baseline(state_dir / "integrity.jsonl.gz", clock)
    packages, runs = Packages(host), Runs(host)
    news = [each for each in (_inotify(), _inotify()) if each is not None]
    now = clock.now().timestamp()
    judged_at = baseline.memory.get(JUDGED_AT)
    since = float(judged_at) if isinstance(judged_at, (int, float)) else baseline.saved_at or now
    verdict = Verdict(host, packages, runs, window.covers, (since, now))
    groups = tuple(replace(group, ignored=(*group.ignored, *ignored)) for group in GROUPS)
    files = FileWatch(host, groups, baseline, verdict, runs, news[0] if news else None, clock, record)
    hostage = HostageWatch(host, Told(baseline, "hostage", clock))
    exposed = ExposedWatch(host, baseline, ignored, window.open)

    def appeared(path: str, at: float) -> None:
        hostage.appeared(path, at)
        exposed.appeared(path, at)

    return Integrity(
        Parts(
            files=files,
            folders=OpenFolders(host, files.folders, lambda: files.news.rights, baseline, window.open),
            accounts=AccountWatch(host, runs, baseline, window.covers, clock, record),
            privileged=PrivilegedWatch(
                host,
                packages,
                runs,
                baseline,
                news[1] if len(news) > 1 else None,
                ignored,
                window.covers,
                clock,
                record,
                appeared,
            ),
            hostage=hostage,
            exposed=exposed,
            processes=ProcessWatch(host, packages, runs, frozenset({os.getpid()})),
            concealed=ConcealedWatch(host, packages, runs, baseline),
            listeners=ListenerWatch(host, packages, baseline, window.open, record),
            logins=LoginWatch(Told(baseline, "logins", clock)),
            follower=Follower(host, clock, follow),
            people=People(host),
            tamper=TamperWatch(host, runs, baseline, cgroups, window.open, clock),
            kernel=KernelWatch(host, packages, runs, baseline, window.open),
            baseline=baseline,
            notify=news,
        ),
        window,
        heartbeat,
        clock,
        changed,
    )


def _inotify() -> Inotify | None:
    """The kernel's news; None where it has no instance left: looks at everything remain."""
    try:
        return Inotify()
    except (OSError, ImportError, MemoryError):
        return None
