"""Scenario 6: a wrong token and a broken configuration, told clearly; and reloading."""

from __future__ import annotations

from conftest import MakeHost
from harness import dio
from harness.commands import wait_for

BROKEN = """[nerve_center]
url = "ftp://somewhere"

[agent]
interval_s = 0
colour = "red"

[startup]
jitter = "much"
"""


def test_wrong_token(make_host: MakeHost) -> None:
    """Exit 77 and a clear Status; with the right token in place it heals by itself."""
    host = make_host("alpha")
    host.run("rm /etc/dio-agent/enrollment-token")
    host.write("/etc/dio-agent/enrollment-token", "x" * 43 + "\n", 0o600)
    host.run(f"systemctl start {dio.CENTER}")
    done = host.run_full(f"systemctl start {dio.AGENT}", check=False, timeout_s=30)
    assert done.returncode != 0
    systemd = host.run(dio.SAID_BY_SYSTEMD)
    assert "status=77" in systemd, systemd
    assert "token" in dio.status_text(host) or "refused" in dio.status_text(host)
    assert any("enrollment token" in line for line in dio.wrong(host)), dio.wrong(host)
    assert host.prop(dio.AGENT, "ActiveState") == "activating"
    assert dio.Api(host).agents() == []

    host.run("rm /etc/dio-agent/enrollment-token")
    host.write("/etc/dio-agent/enrollment-token", host.run("nervectl token show"), 0o600)
    dio.wait_active(host, within_s=30)
    assert len(dio.Api(host).agents()) == 1
    # It does not fill the journal while it is refused.
    assert len(dio.wrong(host)) <= 6, dio.wrong(host)


def test_broken_configuration(make_host: MakeHost) -> None:
    """Exit 78, no restart, and every error with its line."""
    host = make_host("alpha", files={"/etc/dio-agent/agent.toml.d/90-broken.toml": BROKEN})
    host.run(f"systemctl start {dio.CENTER}")
    done = host.run_full(f"systemctl start {dio.AGENT}", check=False, timeout_s=30)
    assert done.returncode != 0
    state = host.show(dio.AGENT, "ActiveState", "ExecMainStatus", "NRestarts")
    assert state == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
    said = "\n".join(host.messages(dio.AGENT, "-p err"))
    for line in (2, 5, 6, 9):
        assert f"90-broken.toml:{line}:" in said, said
    checked = host.run_full("dioctl check-config", check=False)
    assert checked.returncode != 0
    for line in (2, 5, 6, 9):
        assert f"90-broken.toml:{line}:" in checked.stdout + checked.stderr

    host.run("rm /etc/dio-agent/agent.toml.d/90-broken.toml")
    host.run(f"systemctl start {dio.AGENT}", timeout_s=20)
    assert host.active(dio.AGENT)


def test_broken_configuration_of_the_center(make_host: MakeHost) -> None:
    """The same for the nerve center."""
    broken = '[server]\nport = "many"\nwrokers = 2\n'
    host = make_host("alpha", files={"/etc/dio-nerve-center/nerve-center.toml.d/90-broken.toml": broken})
    done = host.run_full(f"systemctl start {dio.CENTER}", check=False, timeout_s=30)
    assert done.returncode != 0
    state = host.show(dio.CENTER, "ActiveState", "ExecMainStatus", "NRestarts")
    assert state == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
    said = "\n".join(host.messages(dio.CENTER, "-p err"))
    for line in (2, 3):
        assert f"90-broken.toml:{line}:" in said, said


def test_reload(make_host: MakeHost) -> None:
    """A good file is taken up without a restart; a bad one makes the reload fail and changes nothing."""
    host = make_host("alpha")
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    pid = host.prop(dio.AGENT, "MainPID")
    drop_in = "/etc/dio-agent/agent.toml.d/20-interval.toml"

    host.write(drop_in, "[agent]\ninterval_s = 1\n")
    host.run(f"systemctl reload {dio.AGENT}")
    assert host.active(dio.AGENT) and host.prop(dio.AGENT, "MainPID") == pid
    wait_for("the new interval", lambda: dio.Api(host).agents()[0]["interval_s"] == 1, within_s=20, every_s=1)

    host.write(drop_in, '[agent]\ninterval_s = "never"\n')
    done = host.run_full(f"systemctl reload {dio.AGENT}", check=False)
    assert done.returncode != 0
    state = host.show(dio.AGENT, "ActiveState", "SubState", "MainPID")
    assert state == {"ActiveState": "active", "SubState": "running", "MainPID": pid}
    assert any("20-interval.toml:2" in line for line in dio.wrong(host)), dio.wrong(host)
    before = dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"]

    def three_more() -> bool:
        return bool(dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"] >= before + 3)

    wait_for("samples at the old interval", three_more, within_s=10)


def test_reload_of_the_center(make_host: MakeHost) -> None:
    """The nerve center serves on through a reload; a bad file makes it fail and changes nothing."""
    host = make_host("alpha")
    host.run(f"systemctl start {dio.CENTER}")
    pid = host.prop(dio.CENTER, "MainPID")
    host.run(f"systemctl reload {dio.CENTER}")
    wait_for("health", lambda: dio.healthy(host), within_s=10)
    assert host.active(dio.CENTER) and host.prop(dio.CENTER, "MainPID") == pid

    host.write("/etc/dio-nerve-center/nerve-center.toml.d/90-broken.toml", "[server]\nport = 0\n")
    assert host.run_full(f"systemctl reload {dio.CENTER}", check=False).returncode != 0
    assert dio.healthy(host)
    assert host.active(dio.CENTER) and host.prop(dio.CENTER, "MainPID") == pid
