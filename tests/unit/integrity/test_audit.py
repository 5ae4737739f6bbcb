"""auditd's log when the audit system is switched off, or its rules are removed."""

from __future__ import annotations

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.audit import LOG, MOST_BYTES, RULES_S, AuditTrail
from dio_daemon.detect.integrity.runs import Runs
from tests.unit.integrity.conftest import FakeHost

OFF = "type=CONFIG_CHANGE msg=audit(1764432000.001:7): op=set audit_enabled=0 old=1 auid=1000 ses=1 res=1\n"
ON = OFF.replace("audit_enabled=0 old=1", "audit_enabled=1 old=0")
REMOVED = (
    'type=CONFIG_CHANGE msg=audit(1764432000.002:8): auid=1000 ses=1 op=remove_rule key="x" list=4 res=1\n'
)
ADDED = REMOVED.replace("remove_rule", "add_rule")
OTHER = 'type=SYSCALL msg=audit(1764432000.003:9): arch=c000003e comm="op=set audit_enabled=0"\n'


class Trail:
    """A host with auditd's log."""

    def __init__(self, fake: FakeHost) -> None:
        self.fake = fake
        self.log = fake.put(LOG, OFF, 0o600)
        self.trail = AuditTrail(fake.host, Runs(fake.host), lambda: fake.window)
        assert self.look() == [], "what was said before the first look is old"

    def look(self, after_s: float = 5) -> list[Finding]:
        clock = self.fake.clock
        clock.monotonic_s += after_s
        return self.trail.look(clock.monotonic_s, clock.now().timestamp())

    def say(self, text: str, after_s: float = 5) -> list[Finding]:
        with self.log.open("a") as stream:
            stream.write(text)
        return self.look(after_s)


@pytest.fixture
def trail(fake: FakeHost) -> Trail:
    return Trail(fake)


def test_switched_off_and_on(trail: Trail) -> None:
    (found,) = trail.say(OTHER + OFF)
    assert (found.type, found.severity, found.technique) == ("audit_switched_off", "high", "T1562.012")
    assert len(trail.look()) == 1
    assert trail.say(ON) == []


def test_rules_removed_and_loaded_anew(trail: Trail) -> None:
    assert trail.say(REMOVED * 30) == []
    assert trail.say(ADDED * 30) == []
    assert trail.look(RULES_S) == []
    trail.say(REMOVED)
    (found,) = trail.look(RULES_S)
    assert "rules" in found.summary
    assert trail.say(ADDED) == []


@pytest.mark.parametrize("how", ["lock", "announced"])
def test_known_work(trail: Trail, how: str) -> None:
    if how == "lock":
        trail.fake.hold_lock()
    trail.fake.window = how == "announced"
    assert trail.say(OFF + REMOVED) == []
    trail.fake.window = False
    if how == "lock":
        trail.fake.hold_lock(False)
    assert trail.look(RULES_S) == []


def test_a_log_that_is_rotated_long_half_written_or_a_link(trail: Trail) -> None:
    trail.log.rename(trail.log.with_suffix(".1"))
    trail.log.write_text(OFF[:40])
    assert trail.look() == []
    assert len(trail.say(OFF[40:])) == 1
    assert trail.trail.accept() == 1 and trail.look() == []
    assert len(trail.say(OTHER * (2 * MOST_BYTES // len(OTHER)) + OFF)) == 1
    trail.log.unlink()
    trail.log.symlink_to("/dev/zero")
    assert len(trail.look()) == 1


def test_what_others_say_is_not_believed(trail: Trail) -> None:
    assert trail.say(OTHER + "x " + OFF) == []
