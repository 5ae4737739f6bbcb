"""Security services that are frozen, and those that have no process."""

from __future__ import annotations

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.services import Services
from tests.unit.integrity.conftest import FakeHost
from tests.unit.integrity.test_processes import process


class Stage:
    """A host with auditd running and ufw set up."""

    def __init__(self, fake: FakeHost) -> None:
        self.fake = fake
        self.cgroup = fake.root / "cgroup/system.slice/auditd.service"
        self.cgroup.mkdir(parents=True)
        (self.cgroup / "cgroup.procs").write_text("77\n")
        process(fake, 77, "/usr/sbin/auditd")
        self.link = fake.path("/run/systemd/units/invocation:ufw.service")
        self.link.parent.mkdir(parents=True)
        self.link.symlink_to("0123")
        for name in ("auditd", "ufw"):
            fake.put(f"/usr/lib/systemd/system/{name}.service", "x")
            wanted = fake.path(f"/etc/systemd/system/multi-user.target.wants/{name}.service")
            wanted.parent.mkdir(parents=True, exist_ok=True)
            wanted.symlink_to(f"/usr/lib/systemd/system/{name}.service")
        self.memory: dict[str, list[str]] = {}
        self.now = 0.0
        self.start()
        assert self.look() == [] and self.kept == ["auditd", "ufw"] == self.enabled

    def start(self) -> None:
        """As after a start of the agent."""
        host, now = self.fake.host, self.fake.clock.now().timestamp()
        self.services = Services(
            host,
            Runs(host),
            str(self.fake.root / "cgroup"),
            lambda: self.fake.window,
            lambda name: self.memory.get(name, []),
            self.memory.__setitem__,
            now,
        )

    @property
    def kept(self) -> list[str]:
        return self.memory.get("services", [])

    @property
    def enabled(self) -> list[str]:
        return self.memory.get("enabled", [])

    def disable(self, name: str) -> None:
        self.fake.path(f"/etc/systemd/system/multi-user.target.wants/{name}.service").unlink()

    def mask(self, name: str) -> None:
        self.fake.path(f"/etc/systemd/system/{name}.service").symlink_to("/dev/null")

    def look(self, for_s: int = 30) -> list[Finding]:
        found: list[Finding] = []
        for _ in range(for_s // 5):
            self.now += 5
            found = self.services.look(self.now, self.fake.clock.now().timestamp())
        return found


def test_a_service_whose_processes_are_halted(fake: FakeHost) -> None:
    stage = Stage(fake)
    process(fake, 77, "/usr/sbin/auditd", state="T")
    (found,) = stage.look()
    assert (found.type, found.severity, found.evidence["state"]) == (
        "security_service_stopped",
        "high",
        "frozen",
    )
    assert "systemctl thaw auditd" in found.next
    process(fake, 77, "/usr/sbin/auditd")
    assert stage.look() == []


def test_a_service_whose_cgroup_is_frozen(fake: FakeHost) -> None:
    stage = Stage(fake)
    (stage.cgroup / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    (found,) = stage.look()
    assert found.evidence["state"] == "frozen"


def test_regular_work_that_is_stopped(fake: FakeHost) -> None:
    """A killed cron ends as it should, so systemd leaves it so."""
    stage = Stage(fake)
    cgroup = fake.root / "cgroup/system.slice/cron.service"
    cgroup.mkdir()
    (cgroup / "cgroup.procs").write_text("78\n")
    process(fake, 78, "/usr/sbin/cron")
    fake.put("/usr/lib/systemd/system/cron.service", "x")
    assert stage.look() == [] and "cron" in stage.kept
    (cgroup / "cgroup.procs").unlink()
    cgroup.rmdir()
    (found,) = stage.look()
    assert (found.subject, found.severity, found.technique) == ("cron", "medium", "T1489")
    assert "cron ran on this host and is stopped now" in found.summary and "backups" in found.why
    fake.path("/usr/lib/systemd/system/cron.service").unlink()
    assert stage.look() == [], "removed"


def test_a_firewall_that_is_stopped(fake: FakeHost) -> None:
    stage = Stage(fake)
    stage.link.unlink()
    (found,) = stage.look()
    assert (found.subject, found.severity, found.technique) == ("ufw", "medium", "T1562.004")
    assert stage.services.accept() == 1 and stage.look() == [] and stage.kept == ["auditd"]


def test_a_firewall_that_is_stopped_in_a_window_or_by_dpkg(fake: FakeHost) -> None:
    stage = Stage(fake)
    stage.link.unlink()
    fake.hold_lock()
    assert stage.look() == [] and stage.kept == ["auditd", "ufw"]
    fake.hold_lock(False)
    fake.window = True
    assert stage.look() == [] and stage.kept == ["auditd"]


@pytest.mark.parametrize("how", ["stopped", "disabled"])
def test_what_was_told_is_not_excused_by_a_package_manager_that_begins_later(
    fake: FakeHost, how: str
) -> None:
    stage = Stage(fake)
    if how == "stopped":
        stage.link.unlink()
    else:
        stage.disable("ufw")
    before = stage.look()
    assert [each.evidence["state"] for each in before] == [how]
    fake.hold_lock()
    for again in range(12):
        if again in (4, 8):
            stage.start()
        assert stage.look(5) == before, "told all the time: not over, and not told once more"
    fake.hold_lock(False)
    assert stage.look() == before
    fake.path("/usr/lib/systemd/system/ufw.service").unlink()
    stage.link.unlink(missing_ok=True)
    fake.hold_lock()
    assert stage.look() == [], "what it removes is its work"


def test_one_that_runs_and_will_not_start_again(fake: FakeHost) -> None:
    """As when a socket starts it again at once after it was stopped and disabled."""
    stage = Stage(fake)
    stage.disable("auditd")
    (found,) = stage.look()
    assert (found.subject, found.severity, found.evidence["state"]) == ("auditd", "medium", "disabled")
    assert "systemctl enable auditd" in found.next
    stage.start()
    (again,) = stage.look()
    assert again.fingerprint == found.fingerprint
    (stage.cgroup / "cgroup.procs").write_text("")
    (stopped,) = stage.look()
    assert stopped.summary.endswith("is stopped now and disabled") and stopped.version != found.version
    (stage.cgroup / "cgroup.procs").write_text("77\n")
    assert stage.services.accept() == 1 and stage.look() == [] and stage.enabled == ["ufw"]


def test_one_that_is_enabled_again(fake: FakeHost) -> None:
    stage = Stage(fake)
    stage.disable("ufw")
    assert len(stage.look()) == 1
    fake.path("/etc/systemd/system/basic.target.requires").mkdir()
    fake.path("/etc/systemd/system/basic.target.requires/ufw.service").symlink_to("x")
    assert stage.look() == []


def test_one_that_runs_and_is_masked(fake: FakeHost) -> None:
    stage = Stage(fake)
    stage.mask("auditd")
    (found,) = stage.look()
    assert (found.severity, found.evidence["state"]) == ("high", "masked")
    assert "systemctl unmask auditd" in found.next


@pytest.mark.parametrize("how", ["dpkg", "lock", "window"])
def test_disabled_by_known_work(fake: FakeHost, how: str) -> None:
    stage = Stage(fake)
    fake.window = how == "window"
    if how == "lock":
        fake.hold_lock()
    elif how == "dpkg":
        fake.dpkg_ran(begin_s=-3, end_s=1)
    stage.disable("auditd")
    assert stage.look() == []
    fake.window = False
    fake.hold_lock(False)
    assert stage.look() == [] and stage.enabled == ["ufw"]
