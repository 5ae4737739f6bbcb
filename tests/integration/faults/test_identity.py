"""Who is who: reinstalled, cloned, revoked and moved hosts, rotated tokens, a center that lost its memory."""

import secrets
import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.faults.conftest import QUICK, MakeHost
from tests.support.hosts import Host
from tests.support.oracle import account, never_mixed, settled
from tests.support.processes import RealCenter, wait_for


def samples_of(center: RealCenter, agent_id: str) -> set[str]:
    return {sample["tag"] for sample in center.samples(agent_id)}


def threats_of(center: RealCenter, agent_id: str) -> list[str]:
    """Types of the open threats of one agent that are about its identity: its host's disk may be full as well."""
    found = center.get(f"/api/v1/threats?host={agent_id}&state=open")["threats"]
    return [threat["type"] for threat in found if "identity" in threat["type"]]


def clone_of(host: Host, make_host: MakeHost, center: RealCenter, with_state: bool = True) -> Host:
    """A copy of a host that runs: the same machine id, and its state folder as it is now."""
    clone = make_host(center, "clone")
    clone.machine_id_file.write_text(host.machine_id_file.read_text())
    if with_state:
        shutil.copytree(host.state_dir, clone.state_dir)
    return clone


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_reinstalled(calm_center: RealCenter, make_host: MakeHost, number: signal.Signals) -> None:
    host = make_host(calm_center).started()
    known, before = host.id, settled(calm_center, host)
    host.kill(number)
    shutil.rmtree(host.state_dir)
    known_tags = host.committed()
    host.start()
    wait_for(lambda: host.committed() - known_tags, "a record of the new instance")
    after = settled(calm_center, host)
    assert host.id == known
    assert set(before.stored) < set(after.stored)
    assert len(calm_center.get(f"/api/v1/agents/{known}")["instances"]) == 2
    assert threats_of(calm_center, known) == []
    assert host.exits == []


@pytest.mark.parametrize("with_state", [True, False], ids=["whole", "machine id only"])
def test_cloned_and_both_alive(calm_center: RealCenter, make_host: MakeHost, with_state: bool) -> None:
    host = make_host(calm_center, "original").started()
    known = host.id
    settled(calm_center, host)
    clone = clone_of(host, make_host, calm_center, with_state).started()
    settled(calm_center, clone)
    settled(calm_center, host)
    apart = clone.id
    assert host.id == known
    assert apart != known
    assert threats_of(calm_center, known) == ["duplicate_identity"]
    never_mixed(calm_center, [host, clone])
    assert host.committed() <= samples_of(calm_center, known)
    assert clone.committed() & samples_of(calm_center, apart)
    # The mended clone moves to an id of its own by itself.
    clone.machine_id_file.write_text(secrets.token_hex(16))
    own = clone.wait(
        lambda status: status["agent_id"] not in (known, apart) and status["agent_id"], "an id", 30
    )
    settled(calm_center, clone, gaps=True)
    assert clone.id == own
    assert host.id == known
    assert all(code == 75 for code in clone.exits)
    assert host.exits == []


def test_revoked_and_allowed(calm_center: RealCenter, make_host: MakeHost) -> None:
    host = make_host(calm_center).started()
    known = host.id
    calm_center.control("agents", "revoke", known)
    host.wait(lambda status: host.exits and status["error_kind"] == "refused", "holding back")
    assert set(host.exits) == {77}
    assert "revoked" in host.agent.log()
    before = host.committed()
    host.wait(lambda status: len(host.committed() - before) >= 2, "sampling goes on")
    calm_center.control("agents", "allow", known)
    host.active(40)
    settled(calm_center, host)
    assert host.id == known


def test_revoked_hosts_cannot_enroll_anew(calm_center: RealCenter, make_host: MakeHost) -> None:
    host = make_host(calm_center).started()
    known = host.id
    host.kill(signal.SIGTERM)
    calm_center.control("agents", "revoke", known)
    shutil.rmtree(host.state_dir)
    host.start()
    host.wait(lambda status: host.exits, "an end")
    assert host.exits[0] == 77
    calm_center.control("agents", "allow", known)
    host.active(40)
    settled(calm_center, host)
    assert host.id == known


def test_enrollment_token_rotated(center: RealCenter, make_host: MakeHost, tmp_path: Path) -> None:
    """Who is enrolled goes on; who is not gets in as soon as its token is the new one."""
    center.start()
    center.wait_ready()
    enrolled = make_host(center, "enrolled").started()
    old = tmp_path / "old-token"
    old.write_text(center.token_file.read_text())
    center.control("token", "rotate")
    settings = f'{QUICK}[nerve_center]\nenrollment_token_file = "{old}"\n'
    newcomer = make_host(center, "newcomer", settings)
    newcomer.start()
    newcomer.wait(lambda status: newcomer.exits and status["error_kind"] == "refused", "holding back")
    assert set(newcomer.exits) == {77}
    assert str(old) in newcomer.agent.log()
    enrolled.kill(signal.SIGTERM)
    enrolled.start()
    settled(center, enrolled)
    assert enrolled.exits == []
    old.write_text(center.token_file.read_text())
    settled(center, newcomer)


def test_database_lost_and_token_rotated(center: RealCenter, make_host: MakeHost, tmp_path: Path) -> None:
    center.start()
    center.wait_ready()
    token = tmp_path / "token-of-the-agent"
    token.write_text(center.token_file.read_text())
    host = make_host(center, "host", f'{QUICK}[nerve_center]\nenrollment_token_file = "{token}"\n').started()
    known = host.id
    settled(center, host)
    center.kill(signal.SIGTERM)
    center.store.lose()
    center.control("token", "rotate")
    center.start()
    center.wait_ready()
    host.wait(lambda status: host.exits and status["error_kind"] == "refused", "holding back")
    assert set(host.exits) == {77}
    token.write_text(center.token_file.read_text())
    settled(center, host)
    assert host.id == known


def test_a_credential_that_was_damaged(calm_center: RealCenter, make_host: MakeHost) -> None:
    host = make_host(calm_center).started()
    known = host.id
    settled(calm_center, host)
    host.kill(signal.SIGTERM)
    identity = host.state_dir / "identity.json"
    identity.write_text(identity.read_text()[:40])
    host.start()
    settled(calm_center, host)
    assert host.id == known
    assert identity.with_name("identity.json.damaged").exists()
    host.kill(signal.SIGTERM)
    account(calm_center, known, host.told())
    wait_for(lambda: calm_center.get(f"/api/v1/agents/{known}")["state"] == "stopped", "the goodbye")
