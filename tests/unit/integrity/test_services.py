"""Security services that are frozen, and those that have no process."""

from __future__ import annotations

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
        self.kept: list[str] = []
        host = fake.host
        self.services = Services(
            host, Runs(host), str(fake.root / "cgroup"), lambda: fake.window, [], self._keep
        )
        self.now = 0.0
        assert self.look() == [] and self.kept == ["auditd", "ufw"]

    def _keep(self, known: list[str]) -> None:
        self.kept = known

    def look(self) -> list[Finding]:
        found: list[Finding] = []
        for _ in range(6):
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
