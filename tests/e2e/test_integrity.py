"""The host's own body on real hosts: an ordinary week raises nothing, and what intruders leave is told and clears."""

from __future__ import annotations

import time
from typing import Any

from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host

FAST = {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n"}
WITHIN_S = 90.0
"""A guard against hanging; how long it really took is printed."""

_PACKAGE = """
set -e
build() {
    rm -rf /root/pkg && cd /root
    mkdir -p pkg/DEBIAN pkg/usr/lib/systemd/system pkg/etc/cron.d pkg/usr/bin
    printf 'Package: demo\\nVersion: %s\\nArchitecture: all\\nMaintainer: x <x@x.org>\\nDescription: demo\\n' $1 \\
        > /root/pkg/DEBIAN/control
    printf '[Service]\\nExecStart=/usr/bin/demo %s\\n[Install]\\nWantedBy=multi-user.target\\n' $1 \\
        > /root/pkg/usr/lib/systemd/system/demo.service
    printf '# %s\\n@daily root /usr/bin/demo\\n' $1 > /root/pkg/etc/cron.d/demo
    printf '#!/bin/sh\\nexec sleep infinity # %s\\n' $1 > /root/pkg/usr/bin/demo
    chmod 755 /root/pkg/usr/bin/demo
    cp /usr/bin/true /root/pkg/usr/bin/demo-helper && chmod 4755 /root/pkg/usr/bin/demo-helper
    printf '/etc/cron.d/demo\\n' > /root/pkg/DEBIAN/conffiles
    (cd /root/pkg && find usr -type f -exec md5sum {} +) > /root/pkg/DEBIAN/md5sums
    cat > /root/pkg/DEBIAN/postinst <<'END'
#!/bin/sh
set -e
id -u demo > /dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin demo
echo 'DEMO=1' > /etc/profile.d/demo.sh
systemctl enable --now demo.service
END
    cat > /root/pkg/DEBIAN/postrm <<'END'
#!/bin/sh
set -e
systemctl disable demo.service 2> /dev/null || true
if [ "$1" = purge ]; then rm -f /etc/profile.d/demo.sh; userdel demo || true; fi
END
    printf '#!/bin/sh\\nsystemctl stop demo.service || true\\n' > /root/pkg/DEBIAN/prerm
    chmod 755 /root/pkg/DEBIAN/p*
    dpkg-deb --build --root-owner-group /root/pkg /root/demo_$1.deb > /dev/null
}
build 1; build 2
"""

_LOOPBACK_SHELL = """
import socket, subprocess, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
other, _ = server.accept()
server.close()
subprocess.run(["/bin/sh"], stdin=client, stdout=client)
"""

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRyaWxsZHJpbGxkcmlsbGRyaWxsZHJpbGxkcmlsbGRy drill@example.org"

# fmt: off
OURS = frozenset(
    (
        "account_added", "account_changed", "account_removed", "group_changed", "sudoers_changed",
        "pam_changed", "sshd_config_changed", "authorized_keys_changed", "cron_changed", "at_job_changed",
        "systemd_unit_changed", "init_script_changed", "login_script_changed", "shell_startup_changed",
        "autostart_changed", "udev_rule_changed", "ld_preload_changed", "ld_config_changed",
        "python_hook_changed", "apt_config_changed", "kernel_module_config_changed", "agent_files_changed",
        "system_binary_changed", "package_file_changed", "setuid_file", "setgid_file", "capability_file",
        "process_deleted_executable", "process_from_temporary_folder", "process_from_memory",
        "shell_on_socket", "miner_like_process", "listening_socket", "failed_logins",
        "login_after_failures", "log_truncated", "log_removed", "shell_history_off",
        "security_service_stopped",
    )
)
# fmt: on
"""Types of threats that are about the host's own body."""

EMULATIONS: dict[str, tuple[str, str, str]] = {
    # type: what is done, what undoes it, what the summary names
    "cron_changed": (
        "mkdir -p /etc/cron.d; echo '* * * * * root true' > /etc/cron.d/drill",
        "rm /etc/cron.d/drill",
        "/etc/cron.d/drill",
    ),
    "authorized_keys_changed": (
        f"mkdir -p /root/.ssh; echo '{KEY}' > /root/.ssh/authorized_keys",
        "rm -r /root/.ssh",
        "/root/.ssh/authorized_keys",
    ),
    "systemd_unit_changed": (
        "printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/drill.service",
        "rm /etc/systemd/system/drill.service",
        "/etc/systemd/system/drill.service",
    ),
    "setuid_file": ("cp /bin/true /tmp/.drill; chmod 4755 /tmp/.drill", "rm /tmp/.drill", "/tmp/.drill"),
    "ld_preload_changed": (": > /etc/ld.so.preload", "rm /etc/ld.so.preload", "/etc/ld.so.preload"),
    "sudoers_changed": (
        "mkdir -p /etc/sudoers.d; echo 'nobody ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/drill",
        "rm /etc/sudoers.d/drill",
        "/etc/sudoers.d/drill",
    ),
    "account_added": ("useradd --shell /bin/bash drill", "userdel drill", "drill"),
    "process_deleted_executable": (
        "cp /bin/sleep /opt/drill; systemd-run -q --unit drill-gone /opt/drill infinity; sleep 1; rm /opt/drill",
        "systemctl stop drill-gone",
        "/opt/drill",
    ),
    "shell_on_socket": (
        "systemd-run -q --unit drill-shell python3 /root/shell.py",
        "systemctl stop drill-shell",
        "127.0.0.1",
    ),
    "listening_socket": (
        "systemd-run -q --unit drill-port python3 -m http.server --directory /var/empty-drill 4445",
        "systemctl stop drill-port",
        "4445",
    ),
    "failed_logins": (
        "for n in 1 2 3 4 5 6 7 8; do logger -t sshd -p authpriv.info "
        '"Failed password for root from 192.0.2.7 port 4000$n ssh2"; done',
        "true",
        "192.0.2.7",
    ),
}


def _threats(api: dio.Api) -> list[dict[str, Any]]:
    """All but those of the rules: what the machine that runs the tests is busy with is no matter here."""
    found: list[dict[str, Any]] = api.get("threats?limit=1000")["threats"]
    return [each for each in found if each["type"] in OURS]


def _events(api: dio.Api, type_: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = api.get("events?kind=event&limit=1000")["events"]
    return [each for each in events if each["data"]["type"] == type_]


def _watched(make_host: MakeHost) -> tuple[Host, dio.Api]:
    host = make_host("alpha", files=FAST)
    host.run(f"mkdir -p /var/empty-drill; systemctl start {dio.CENTER} {dio.AGENT}")
    api = dio.Api(host)
    wait_for(
        "the baseline is taken", lambda: _events(api, "integrity_baseline"), within_s=WITHIN_S, every_s=1
    )
    host.run("sleep 12")  # two looks at processes and listeners
    return host, api


def test_an_ordinary_week_raises_nothing(make_host: MakeHost) -> None:
    """Install, upgrade, remove and purge a package with a unit, a cron job, a user and a setuid file; rotate a log."""
    host, api = _watched(make_host)
    host.run(_PACKAGE, timeout_s=120)
    host.run("printf 'x%.0s' $(seq 2000) > /var/log/syslog; sleep 7")
    for command in (
        "dpkg -i /root/demo_1.deb",
        "dpkg -i /root/demo_2.deb",
        "mv /var/log/syslog /var/log/syslog.1; : > /var/log/syslog",
        "systemctl restart demo.service",
        "apt-get -y remove demo || dpkg --remove demo",
        "dpkg --purge demo",
        f"systemctl restart {dio.AGENT}",
    ):
        host.run(command, timeout_s=180)
        host.run("sleep 8")
    wait_for("dpkg's work is recorded", lambda: _events(api, "known_changes"), within_s=WITHIN_S, every_s=1)
    assert [(each["type"], each["summary"]) for each in _threats(api)] == []


def test_what_intruders_leave_is_told_and_clears(make_host: MakeHost) -> None:
    """Eleven emulations, each told with the right type and name, and over when it is undone."""
    host, api = _watched(make_host)
    host.write("/root/shell.py", _LOOPBACK_SHELL)
    begun: dict[str, float] = {}
    for type_, (do, _, _) in EMULATIONS.items():
        begun[type_] = time.monotonic()
        host.run(do)
    seen: dict[str, float] = {}

    def all_seen() -> bool:
        for each in _threats(api):
            type_ = each["type"]
            if type_ in EMULATIONS and type_ not in seen and EMULATIONS[type_][2] in each["summary"]:
                seen[type_] = time.monotonic() - begun[type_]
        return len(seen) == len(EMULATIONS)

    try:
        wait_for("every emulation is told", all_seen, within_s=WITHIN_S, every_s=0.5)
    finally:
        print({type_: round(after, 1) for type_, after in sorted(seen.items())}, set(EMULATIONS) - set(seen))
    keys = next(each for each in _threats(api) if each["type"] == "authorized_keys_changed")
    evidence = api.get(f"threats/{keys['id']}")["evidence"]
    assert "drill@example.org" in evidence["diff"] and KEY.split()[1] not in str(evidence)
    for _, undo, _ in EMULATIONS.values():
        host.run(undo)

    def still_open() -> list[str]:
        return [
            each["summary"]
            for each in _threats(api)
            if each["state"] == "open" and each["type"] != "failed_logins"
        ]

    wait_for("what was undone is over", lambda: not still_open() or None, within_s=180, every_s=2)
