"""Scenario 7 and the installations: what apt does, and what is left."""

from __future__ import annotations

import re
import time

import pytest
from conftest import MakeHost
from harness import dio, doubles
from harness.commands import run, wait_for
from harness.packaged import bring
from harness.roots import REPOSITORY

APT = "apt-get install -y -q -o Dpkg::Use-Pty=0"


def test_both_on_one_bare_host(make_host: MakeHost) -> None:
    """One command, no question, and the agent is registered when apt returns."""
    host = make_host("alpha", "bare")
    debs = bring(host)
    # Not "noninteractive": there just is nobody who could answer.
    done = host.run_full(f"{APT} {debs}/dio-nerve-center_*.deb {debs}/dio-agent_*.deb", timeout_s=240)

    assert host.active(dio.AGENT) and host.active(dio.CENTER), done.stdout
    assert "enroll" not in done.stdout
    assert "Could not" not in done.stderr, done.stderr
    api = dio.Api(host)
    (agent,) = api.agents()
    assert agent["id"] in dio.status_text(host)
    assert (
        host.run("stat -c '%a %U:%G' /etc/dio-nerve-center/enrollment-token").strip()
        == "640 root:dio-nerve-center"
    )
    assert (
        host.run("readlink /etc/dio-agent/enrollment-token").strip()
        == "/etc/dio-nerve-center/enrollment-token"
    )
    assert (
        host.run("stat -c '%a %U:%G' /etc/dio-nerve-center/nerve-center.toml").strip()
        == "640 root:dio-nerve-center"
    )
    assert host.run("stat -c '%a %U' /var/lib/dio-agent").split() == ["700", "dio-agent"]
    assert host.run("stat -c '%a %U' /var/lib/dio-nerve-center").split() == ["700", "dio-nerve-center"]
    assert host.run("stat -c '%a %U:%G' /run/dio-agent").strip() == "750 dio-agent:dio"
    assert host.run("stat -c '%a %U:%G' /run/dio-agent/agent.sock").strip() == "660 dio-agent:dio"
    assert dio.wrong(host) == []
    assert dio.wrong(host, dio.CENTER) == []
    dio.in_order(host.messages(dio.AGENT), dio.started("alpha"))
    dio.ready_after_registration(host)
    known = (REPOSITORY / "packaging/systemd/dio-agent.catalog").read_text()
    (first, *_) = re.findall(r"^-- ([0-9a-f]{32})", known, re.MULTILINE)
    assert first in host.run("journalctl --list-catalog")
    # Nothing of it waits or fails at the next boot.
    host.reboot()
    dio.wait_active(host, within_s=20)
    assert [found["id"] for found in dio.Api(host).agents()] == [agent["id"]]
    assert host.run("systemctl is-system-running").strip() == "running"


def test_the_first_login(make_host: MakeHost) -> None:
    """Whoever installs it finds name and password of an admin, logs in, and changes what is theirs to change."""
    host = make_host("alpha", "ready")
    debs = bring(host)
    done = host.run_full(f"{APT} {debs}/dio-nerve-center_*.deb")
    assert "/etc/dio-nerve-center/first-login" in done.stdout
    assert host.run("stat -c '%a %U:%G' /etc/dio-nerve-center/first-login").strip() == "600 root:root"
    name, password = host.run("cat /etc/dio-nerve-center/first-login").split()
    assert name == "admin"
    assert dio.log_in(host, name, password) == [303, 200]
    assert dio.log_in(host, name, "something else") == [401, 303]
    host.run("rm /etc/dio-nerve-center/first-login")
    host.run("nervectl user add ann --role viewer --password-file -", stdin="a viewer's password\n")
    assert dio.log_in(host, "ann", "a viewer's password") == [303, 200]
    host.run("nervectl user disable ann")
    assert dio.log_in(host, "ann", "a viewer's password") == [401, 303]
    assert "user.disable" in host.run("nervectl audit")
    assert host.run("find /var/lib/dio-nerve-center ! -user dio-nerve-center").strip() == ""
    host.run(f"{APT} --reinstall {debs}/dio-nerve-center_*.deb")
    assert not host.exists("/etc/dio-nerve-center/first-login")
    assert dio.log_in(host, name, password) == [303, 200]
    assert dio.wrong(host, dio.CENTER) == []


def test_agent_alone_then_enrolled(make_host: MakeHost) -> None:
    """Alone it is skipped, and one command, which apt prints, puts the host under watch of another host's center."""
    center, agent = make_host("center", "ready"), make_host("agent", "ready")
    debs = bring(agent)
    begun = time.monotonic()
    done = agent.run_full(f"{APT} {debs}/dio-agent_*.deb")
    assert time.monotonic() - begun < 30
    assert "dioctl enroll" in done.stdout
    assert agent.show(dio.AGENT, "ActiveState", "UnitFileState") == {
        "ActiveState": "inactive",
        "UnitFileState": "enabled",
    }
    agent.run(f"systemctl start {dio.AGENT}")
    assert agent.show(dio.AGENT, "ActiveState", "ConditionResult") == {
        "ActiveState": "inactive",
        "ConditionResult": "no",
    }
    agent.reboot()
    assert agent.run("systemctl is-system-running").strip() == "running"

    center.write("/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml", '[server]\nhost = "0.0.0.0"\n')
    center.run(f"{APT} {bring(center)}/dio-nerve-center_*.deb")
    assert center.active(dio.CENTER)
    token = center.run("nervectl token show")
    url = f"http://{center.address}:8000"

    refused = agent.run_full(f"dioctl enroll {url}", stdin=token, check=False)
    assert refused.returncode != 0 and "plain" in refused.stderr, refused.stderr
    assert not agent.exists("/etc/dio-agent/enrollment-token")
    agent.run(f"dioctl enroll {url} --allow-plain-http", stdin=token)
    assert agent.active(dio.AGENT)
    assert agent.run("stat -c '%a %U' /etc/dio-agent/enrollment-token").split() == ["600", "root"]
    assert [found["hostname"] for found in dio.Api(center).agents()] == ["agent"]

    # A center that is installed beside it later is no reason to change sides.
    agent.run(f"{APT} {debs}/dio-nerve-center_*.deb")
    assert not agent.run("test -L /etc/dio-agent/enrollment-token && echo link || true").strip()
    assert agent.active(dio.AGENT) and url in dio.status_text(agent)


def test_center_after_the_agent(make_host: MakeHost) -> None:
    """An agent that waits unenrolled is taken up when a center is installed beside it."""
    host = make_host("alpha", "ready")
    debs = bring(host)
    host.run(f"{APT} {debs}/dio-agent_*.deb")
    host.run(f"{APT} {debs}/dio-nerve-center_*.deb")
    assert host.active(dio.AGENT)
    assert dio.wrong(host) == []


def test_a_center_that_cannot_start(make_host: MakeHost) -> None:
    """Its port is taken: apt neither waits nor fails, and both come up when the port is free."""
    host = make_host("alpha", "ready")
    debs = bring(host)
    doubles.start(host, "page")
    wait_for("it listens", lambda: dio.get(host, dio.CENTER_URL)[0] == 200, within_s=10)
    begun = time.monotonic()
    host.run(f"{APT} {debs}/*.deb")
    # Waiting for either service to be ready would take a minute each; the rest is dpkg on a busy machine.
    assert time.monotonic() - begun < 90
    assert not host.active(dio.AGENT) and not host.active(dio.CENTER)
    doubles.stop(host)
    dio.wait_active(host, dio.CENTER, within_s=20)
    dio.wait_active(host, within_s=20)


def test_purging_the_center_alone(make_host: MakeHost) -> None:
    """The agent stays, offline; a center that is installed anew gets its records, with a new token."""
    host = make_host("alpha")
    host.run(f"systemctl enable --now {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    (before,) = dio.Api(host).agents()
    host.run("apt-get purge -y -q dio-nerve-center")
    assert not host.exists("/etc/dio-nerve-center") and not host.exists("/var/lib/dio-nerve-center")
    assert host.active(dio.AGENT)
    host.run(f"{APT} {bring(host)}/dio-nerve-center_*.deb")
    wait_for(
        "it is back", lambda: [agent["id"] for agent in dio.Api(host).agents()] == [before["id"]], within_s=60
    )
    dio.wait_acknowledged(host)
    dio.nothing_missing(dio.Api(host).samples(before["id"]), hole_s=12)


def test_upgrade_keeps_everything(make_host: MakeHost) -> None:
    """An upgrade restarts both and loses nothing; conffiles that were edited stay; what was stopped stays stopped."""
    host = make_host("alpha")
    host.run(f"systemctl enable --now {dio.CENTER} {dio.AGENT}")
    for path in ("/etc/dio-agent/agent.toml", "/etc/dio-nerve-center/nerve-center.toml"):
        host.run(f"echo '# a line of the operator' >> {path}")
    host.write("/etc/dio-agent/agent.toml.d/20-fast.toml", "[agent]\ninterval_s = 1\n")
    host.run(f"systemctl reload {dio.AGENT}")
    dio.wait_acknowledged(host)
    pids = {unit: host.prop(unit, "MainPID") for unit in (dio.AGENT, dio.CENTER)}
    (before,) = dio.Api(host).agents()

    host.run(f"{APT} {bring(host, 'deb-next')}/*.deb")

    for unit, pid in pids.items():
        wait_for(
            f"{unit} was restarted",
            lambda unit=unit, pid=pid: host.prop(unit, "MainPID") not in (pid, "0"),
            within_s=10,
        )
        dio.wait_active(host, unit, within_s=20)
    assert "+next" in host.run("dpkg-query -W -f '${Version} ' dio-agent")
    assert "operator" in host.run("tail -1 /etc/dio-agent/agent.toml")
    assert "operator" in host.run("tail -1 /etc/dio-nerve-center/nerve-center.toml")
    dio.wait_acknowledged(host)
    (after,) = dio.Api(host).agents()
    assert after["id"] == before["id"]
    dio.nothing_missing(dio.Api(host).samples(after["id"]), hole_s=10)

    host.run(f"systemctl stop {dio.AGENT} {dio.CENTER}")
    host.run(f"{APT} --allow-downgrades {bring(host)}/*.deb")
    assert not host.active(dio.AGENT) and not host.active(dio.CENTER)


def test_upgrade_while_the_center_is_away(make_host: MakeHost) -> None:
    """An upgrade of the agent neither waits for the center nor fails without it."""
    host = make_host("alpha")
    host.run(f"systemctl enable --now {dio.CENTER} {dio.AGENT}")
    host.run(f"systemctl stop {dio.CENTER}")
    pid = host.prop(dio.AGENT, "MainPID")
    host.run(f"{APT} {bring(host, 'deb-next')}/dio-agent_*.deb")
    wait_for(
        "the agent was restarted", lambda: host.prop(dio.AGENT, "MainPID") not in (pid, "0"), within_s=15
    )
    assert host.prop(dio.AGENT, "ActiveState") == "activating"
    wait_for("it waits", lambda: "waiting" in dio.status_text(host), within_s=10)
    host.run(f"systemctl start {dio.CENTER}")
    dio.wait_active(host, within_s=15)


def test_remove_reinstall_purge(make_host: MakeHost) -> None:
    """State survives a removal, a reinstallation starts again, and a purge leaves nothing but the users."""
    host = make_host("alpha")
    host.run(f"systemctl enable --now {dio.CENTER} {dio.AGENT}")
    debs = bring(host)
    dio.wait_acknowledged(host)
    (agent,) = dio.Api(host).agents()

    host.run("apt-get remove -y -q dio-agent dio-nerve-center")
    assert host.run("pgrep -c -u dio-agent,dio-nerve-center || true", check=False).strip() in ("0", "")
    assert not host.exists("/run/dio-agent")
    assert host.exists("/var/lib/dio-agent/identity.json") and host.exists(
        "/var/lib/dio-nerve-center/nerve-center.db"
    )

    host.run(f"{APT} {debs}/*.deb")
    assert host.active(dio.AGENT) and host.active(dio.CENTER)
    assert [found["id"] for found in dio.Api(host).agents()] == [agent["id"]]
    samples = dio.Api(host).samples(agent["id"])
    dio.nothing_missing(samples, hole_s=120)

    host.run("apt-get remove -y -q dio-agent")
    assert not host.active(dio.WATCHED)
    host.run(f"{APT} {debs}/dio-agent_*.deb")
    assert host.active(dio.AGENT)

    host.run("apt-get purge -y -q dio-agent dio-nerve-center")
    left = host.run(
        "find / -xdev -name '*dio-agent*' -o -xdev -name '*dio-nerve*' -o -xdev -name '*dio_daemon*'"
        " -o -xdev -name '*nerve_center*' -o -xdev -name 'dioctl*' -o -xdev -name 'nervectl*'"
    )
    assert [
        path for path in left.split() if not path.startswith(("/srv/", "/root/", "/proc/", "/sys/"))
    ] == []
    assert not host.exists("/run/dio-agent")
    assert "dio-agent" in host.run("getent passwd dio-agent")

    host.run(f"{APT} {debs}/*.deb")
    assert host.active(dio.AGENT) and host.active(dio.CENTER)


@pytest.mark.long
@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_upgrade_of_debian_in_place(make_host: MakeHost) -> None:
    """From Debian 12 to 13 with the same packages: the same agent reports on, nothing is lost."""
    host = make_host("alpha")
    host.run(f"systemctl enable --now {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    (before,) = dio.Api(host).agents()
    host.run("dioctl change begin --for 1d --reason 'Debian 13'")  # sources.list is no package's
    host.poweroff()

    host.offline(
        "sed -i s/bookworm/trixie/g /etc/apt/sources.list && apt-get update -q"
        " && apt-get -y -q -o Dpkg::Use-Pty=0 full-upgrade"
    )

    host.boot()
    assert "13" in host.run("cat /etc/debian_version")
    dio.wait_active(host, within_s=30)
    (after,) = dio.Api(host).agents()
    assert after["id"] == before["id"]
    dio.wait_acknowledged(host)
    dio.nothing_missing(dio.Api(host).samples(after["id"]), hole_s=900)
    assert dio.wrong(host) == []


def test_lintian() -> None:
    """No error and no warning that is not overridden with a reason."""
    (changes,) = (REPOSITORY / "build/deb").glob("dio_*.changes")
    said = run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", str(changes)]
    )
    assert "W: " not in said and "E: " not in said, said
    for overrides in (REPOSITORY / "packaging/deb").glob("*.lintian-overrides"):
        lines = overrides.read_text().splitlines()
        assert lines[0].startswith("#"), f"{overrides.name} gives no reason"
