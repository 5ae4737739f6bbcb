"""Services that protect a host, record what happens on it or begin its work: stopped, disabled, masked or frozen.

One that ran here is known from then on. Those that stay on have processes in their cgroup; those that only set
something up, such as a firewall, have a link in /run/systemd/units for as long as they are active. One that goes on
running, or is started again by a socket, and will not start with the host any more is as good as stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from dio_daemon.collect.processes import parse_stat
from dio_daemon.collect.procfs import read, read_line
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.runs import Runs

SERVICES = (
    *(
        "auditd",
        "fail2ban",
        "clamav-daemon",
        "clamav-freshclam",
        "crowdsec",
        "wazuh-agent",
        "falco",
        "osqueryd",
    ),
    *("rsyslog", "syslog-ng", "systemd-journald", "suricata", "snort", "samhain", "ossec", "sysmon"),
    *("firewalld", "psad", "sshguard", "usbguard", "aideinit", "rkhunter", "tripwire"),
    *("mdatp", "falcon-sensor", "elastic-agent", "auditbeat", "cbagentd"),
    "cron",
)
SET_UP = ("ufw", "nftables", "netfilter-persistent", "shorewall", "ferm", "apparmor")
"""Those that have no process of their own."""
UNIT_FOLDERS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system")
UNITS = "/run/systemd/units"
WANTS = "/etc/systemd/system"
STOPPED_S = 20.0
ENABLED_S = 15.0
"""Between two looks at what starts with the host."""
MOST_PROCESSES = 64
_STOPPED = (b"T", b"t")


class Services:
    """Watches security services. Belongs to one thread.

    Args:
        host: whose.
        runs: when the package manager was at work: it restarts and removes them.
        cgroups: where systemd's services are.
        announced: whether a change window is open.
        kept: what was remembered under a name: `services` that ran here before, those of them that started with the
            host (`enabled`), those that were told (`idle`).
        keep: remembers such.
        since: until when the agent looked before, in seconds of the wall clock.
    """

    def __init__(
        self,
        host: Host,
        runs: Runs,
        cgroups: str,
        announced: Callable[[], bool],
        kept: Callable[[str], list[str]],
        keep: Callable[[str, list[str]], None],
        since: float,
    ) -> None:
        self._host = host
        self._runs = runs
        self._tops = (cgroups, f"{cgroups}/systemd", f"{cgroups}/unified")
        self._announced = announced
        self._known = set(kept("services"))
        self._enabled = set(kept("enabled"))
        self._keep = keep
        self._disabled = self._enabled & set(kept("idle"))
        """Those that do not start with the host any more; of those that were told the next look finds which."""
        self._enabled_at = float("-inf")
        self._since = since
        self._idle = dict.fromkeys(kept("idle"), float("-inf"))
        """Since when one is stopped, frozen, disabled or masked."""

    def look(self, now: float, wall: float) -> list[Finding]:
        """One look; what is the case. `now` is monotonic, `wall` the wall clock, both in seconds."""
        states = self._states()
        running = {name for name, state in states.items() if state != "stopped"}
        if not running <= self._known:
            self._set(self._known | running)
        if now - self._enabled_at >= ENABLED_S:
            self._enabled_at = now
            self._look_at_enabled(wall)
        found = []
        idle: dict[str, float] = {}
        for name in sorted(self._known):
            state = states.get(name, "stopped")
            if state == "runs":
                state = "masked" if self._masked(name) else "disabled" if name in self._disabled else state
            since = self._idle.get(name, now)
            told = now - since >= STOPPED_S
            if state == "runs" or self._excused(name, state, told, wall):
                continue
            idle[name] = since
            if told:
                found.append(
                    _finding(name, "masked" if self._masked(name) else state, name in self._disabled)
                )
        self._idle = idle
        self._keep("idle", [name for name, since in idle.items() if now - since >= STOPPED_S])
        return found

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        count = len(self._idle)
        self._set(self._known - set(self._idle))
        self._set_enabled(self._enabled - self._disabled)
        self._idle, self._disabled = {}, set()
        self._keep("idle", [])
        return count

    def _look_at_enabled(self, wall: float) -> None:
        """See which start with the host; that the package manager or an announced hand changed it is known work."""
        now = self._starting()
        since, self._since = self._since, wall
        if self._announced() or self._runs.busy(wall) or self._runs.between(since, wall):
            # What was disabled before that is none of it.
            self._set_enabled(now | (self._disabled & self._known))
        else:
            self._set_enabled(self._enabled | now)
        self._disabled = self._enabled - now

    def _starting(self) -> set[str]:
        """Those of the known ones that something wants at the boot."""
        found: set[str] = set()
        for folder in _names(self._host.at(WANTS)):
            if folder.endswith((".wants", ".requires")):
                found |= _names(self._host.at(f"{WANTS}/{folder}"))
        return {name for name in self._known if f"{name}.service" in found}

    def _excused(self, name: str, state: str, told: bool, wall: float) -> bool:
        """Whether that it does not run is known work: its removal, the package manager's, or announced.

        What was told before the package manager began is not its work, and stays told.
        """
        announced = self._announced()
        if state in ("frozen", "disabled"):
            return announced and name not in self._idle
        installed = self._masked(name) or any(
            os.path.lexists(self._host.at(f"{folder}/{name}.service")) for folder in UNIT_FOLDERS
        )
        at_work = self._runs.busy(wall) and not told
        excused = not installed or at_work or (announced and name not in self._idle)
        if excused and (not installed or announced):
            self._set(self._known - {name})
        return excused

    def _states(self) -> dict[str, str]:
        """`runs`, `frozen` or `stopped`, of each; one look into each folder, since most hosts have few of them."""
        states = dict.fromkeys((*SERVICES, *SET_UP), "stopped")
        for top in self._tops:
            slice_ = f"{top}/system.slice"
            groups = _names(slice_)
            for name in SERVICES:
                if f"{name}.service" in groups and states[name] == "stopped":
                    states[name] = self._state(f"{slice_}/{name}.service")
        links = _names(self._host.at(UNITS))
        return states | {name: "runs" for name in SET_UP if f"invocation:{name}.service" in links}

    def _state(self, cgroup: str) -> str:
        try:
            pids = read(f"{cgroup}/cgroup.procs", 4096).split()[:MOST_PROCESSES]
        except OSError:
            return "stopped"
        if not pids:
            return "stopped"
        return "frozen" if self._frozen(cgroup) or all(map(self._halted, pids)) else "runs"

    def _frozen(self, cgroup: str) -> bool:
        try:
            return b"frozen 1" in read(f"{cgroup}/cgroup.events", 4096)
        except OSError:
            return False

    def _halted(self, pid: bytes) -> bool:
        """Whether a process was stopped by a signal."""
        try:
            process = parse_stat(read_line(f"{self._host.proc}/{int(pid)}/stat"))
        except (OSError, ValueError):
            return False
        return process is not None and process.state in _STOPPED

    def _masked(self, name: str) -> bool:
        try:
            return os.readlink(self._host.at(f"/etc/systemd/system/{name}.service")) == "/dev/null"
        except OSError:
            return False

    def _set_enabled(self, enabled: set[str]) -> None:
        self._enabled = enabled
        self._keep("enabled", sorted(enabled))

    def _set(self, known: set[str]) -> None:
        self._known = known
        self._keep("services", sorted(known))


def _names(folder: str) -> frozenset[str]:
    """What is in a folder; nothing where there is none."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


_NOW = {
    "stopped": "is stopped now",
    "disabled": "was disabled: it will not start with the host any more",
    "masked": "is masked now: nothing can start it",
    "frozen": "is frozen now: it is there and does nothing",
}
_MEND = {
    "stopped": "start it again: systemctl start {0}",
    "disabled": "enable it again: systemctl enable {0}",
    "masked": "systemctl unmask {0}; systemctl start {0}",
    "frozen": "systemctl thaw {0}; kill -CONT its processes",
}


def _finding(name: str, state: str, disabled: bool) -> Finding:
    both = state == "stopped" and disabled
    how, more = (
        ("start it again: systemctl enable --now {0}", " and disabled") if both else (_MEND[state], "")
    )
    return Finding(
        type="security_service_stopped",
        severity="high" if state in ("masked", "frozen") else "medium",
        confidence=0.8,
        subject=name,
        summary=f"Service {name} ran on this host and {_NOW[state]}{more}",
        why=_WHY_WORK if name in _WORK else _WHY,
        next=f"systemctl status {name} and journalctl -u {name} tell when and how it ended; {how.format(name)}.",
        technique=_technique(name),
        title="Regular work stopped" if name in _WORK else "Security service stopped",
        evidence={
            "service": name,
            "state": state,
            "masked": state == "masked",
            "disabled": disabled,
            "threshold_s": STOPPED_S,
        },
        version=f"{state}, disabled" if disabled else state,
    )


_FIREWALLS = ("firewalld", *SET_UP[:-1])
_WORK = ("cron",)
_WHY = "It watches or records what happens here, or keeps others out; intruders stop it first."
_WHY_WORK = (
    "It begins backups, checks and updates; nothing of that runs without it, and nothing else says so."
)


def _technique(name: str) -> str:
    if name in _WORK:
        return "T1489"
    return "T1562.004" if name in _FIREWALLS else "T1562.001"
