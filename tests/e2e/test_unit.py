"""What the sandbox keeps from the services, and what it must not keep from the agent."""

from __future__ import annotations

import re
from typing import Any

from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host

FAST = {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n"}


def _latest(host: Host, after_s: float = 0.0) -> dict[str, Any]:
    """The newest sample, once there is one that was taken `after_s` (seconds since boot) or later."""
    api = dio.Api(host)
    (agent,) = api.agents()

    def newest() -> dict[str, Any] | None:
        sample = api.get(f"agents/{agent['id']}")["latest_sample"]
        return sample if sample is not None and sample["data"]["boottime_s"] >= after_s else None

    data: dict[str, Any] = wait_for("a sample", newest, within_s=20)["data"]
    return data


def _uptime_s(host: Host) -> float:
    return float(host.run("cat /proc/uptime").split()[0])


def test_security_scores(make_host: MakeHost) -> None:
    """Both units at 2.0 or less, as users of their own."""
    host = make_host("alpha")
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    for unit in (dio.AGENT, dio.CENTER, dio.KEEPER):
        said = host.run(f"systemd-analyze security --no-pager {unit} | tail -1")
        found = re.search(r"exposure level for \S+: ([0-9.]+)", said)
        assert found and float(found[1]) <= 2.0, said
        pid = host.prop(unit, "MainPID")
        owner = host.run(f"stat -c %U /proc/{pid}").strip()
        assert owner == unit.removesuffix(".service").removesuffix("-keeper")
    assert (
        host.run(f"systemd-analyze verify --man=no {dio.AGENT} {dio.CENTER} {dio.KEEPER} 2>&1", check=False)
        == ""
    )


def test_sees_every_process_and_disk(make_host: MakeHost) -> None:
    """The figures equal what root sees: processes of others, mounts under /home, /root and /tmp."""
    host = make_host("alpha", files=FAST)
    mounts = ("/home/data", "/root/data", "/tmp/data", "/srv/data")
    for mount in mounts:
        host.run(
            f"mkdir -p {mount} && mount -t tmpfs -o size=64M tmpfs {mount} && head -c 9000000 /dev/zero > {mount}/fill"
        )
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    sample = _latest(host, _uptime_s(host))

    disks = {disk["mount"]: disk for disk in sample["disks"]}
    for mount in ("/", *mounts):
        size, used = host.run(f"df --block-size=1 --output=size,used {mount} | tail -1").split()
        assert disks[mount]["total_bytes"] == int(size), (mount, disks[mount])
        if mount != "/":  # its use changes while we look
            assert disks[mount]["used_bytes"] == int(used), (mount, disks[mount])

    asked_at = _uptime_s(host)
    seen = int(host.run("ls -d /proc/[0-9]* | wc -l"))
    count = _latest(host, asked_at)["processes"]["count"]
    # Those that look are processes as well: a shell, ls, wc, and the ones that ask the API.
    assert abs(count - seen) <= 8, (count, seen)
    owners = {int(line) for line in host.run("stat -c %u /proc/[0-9]* 2>/dev/null || true").split()}
    assert {0} < owners


def test_the_target_follows_the_agent(make_host: MakeHost) -> None:
    """A unit that is ordered after the target runs only while the host is under watch."""
    dependant = (
        "[Unit]\nAfter=dio-agent-watched.target\nPartOf=dio-agent-watched.target\n"
        "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=dio-agent-watched.target\n"
    )
    host = make_host("alpha", files={"/etc/systemd/system/dependant.service": dependant})
    host.run("systemctl enable dependant.service")
    start = host.start(f"systemctl start {dio.AGENT}")
    dio.wait_line(host, "(attempt 1)", within_s=15)
    assert not host.active(dio.WATCHED) and not host.active("dependant.service")
    host.run(f"systemctl start {dio.CENTER}")
    assert start.wait(20) == 0
    wait_for("the dependant", lambda: host.active("dependant.service"), within_s=5)
    host.run(f"systemctl stop {dio.AGENT}")
    wait_for("the target is gone", lambda: not host.active(dio.WATCHED), within_s=5)
    wait_for("the dependant is gone", lambda: not host.active("dependant.service"), within_s=5)


def test_who_may_use_the_socket(make_host: MakeHost) -> None:
    """Members of the group read, root alone changes, nobody else gets in."""
    host = make_host("alpha")
    host.run("useradd --groups dio member; useradd other")
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    as_member, as_other = (
        "setpriv --reuid=member --regid=member --init-groups",
        "setpriv --reuid=other --regid=other --init-groups",
    )
    assert '"state"' in host.run(f"{as_member} dioctl status --json")
    assert host.run_full(f"{as_member} dioctl reload", check=False).returncode != 0
    refused = host.run_full(f"{as_other} dioctl status", check=False)
    assert refused.returncode != 0 and "dio" in refused.stderr
    host.run("dioctl reload")
