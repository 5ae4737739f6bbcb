"""The host's own body on real hosts: an ordinary week raises nothing."""

from __future__ import annotations

import tomllib
from typing import Any

from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host
from harness.roots import REPOSITORY

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
    cp /root/pkg/usr/bin/demo /root/pkg/usr/bin/clear
    cp /usr/bin/true /root/pkg/usr/bin/demo-helper && chmod 4755 /root/pkg/usr/bin/demo-helper
    printf '/etc/cron.d/demo\\n' > /root/pkg/DEBIAN/conffiles
    (cd /root/pkg && find usr -type f -exec md5sum {} +) > /root/pkg/DEBIAN/md5sums
    cat > /root/pkg/DEBIAN/preinst <<'END'
#!/bin/sh
exec dpkg-divert --package demo --rename --divert /usr/bin/clear.stub --add /usr/bin/clear
END
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
if [ "$1" = remove ]; then dpkg-divert --package demo --rename --remove /usr/bin/clear; fi
if [ "$1" = purge ]; then rm -f /etc/profile.d/demo.sh; userdel demo || true; fi
END
    printf '#!/bin/sh\\nsystemctl stop demo.service || true\\n' > /root/pkg/DEBIAN/prerm
    chmod 755 /root/pkg/DEBIAN/p*
    dpkg-deb --build --root-owner-group /root/pkg /root/demo_$1.deb > /dev/null
}
build 1; build 2
"""

_MISTYPED = """
for port in 1 2 3 4; do
    logger -t sshd -p authpriv.info "Failed password for ada from 192.0.2.7 port $port ssh2"
    logger -t sshd -p authpriv.info "Connection closed by authenticating user ada 192.0.2.7 port $port [preauth]"
done
logger -t sshd -p authpriv.info "Accepted password for ada from 192.0.2.7 port 5 ssh2"
"""
"""Four mistakes and a login, as sshd logs them."""
_BACKUP = """
mkdir -p /srv/usr/bin /srv/mirror
cp -a /usr/bin/su /usr/bin/passwd /srv/usr/bin
cp -a /usr/bin /srv/mirror
tar -C / -czf /srv/etc.tgz etc
mkdir /tmp/restored; tar -C /tmp/restored -xzf /srv/etc.tgz
printf 'job: "%s"\\n' "$(getent shadow root | cut -d: -f2)" > /srv/play.yml
mv /var/log/job.log /var/log/job.log.old
mkdir /srv/logs; for n in $(seq 40); do seq 2000 > /srv/logs/$n.log; done; gzip /srv/logs/*.log
cp -a /etc /srv/etc
"""
_SANDBOXES = """
unshare --mount --pid --fork --mount-proc sleep 12
systemd-run -q --wait -p PrivateTmp=yes -p DynamicUser=yes sleep 1
mount --bind /srv /mnt && umount /mnt
"""
_EVERY_DAY = """
mkdir -p /var/www/html /root/.ssh /usr/local/lib/python3.99/dist-packages
printf '<?php echo htmlspecialchars($_GET["page"]);\\n' > /var/www/html/index.php
echo '$more = exec("ls");' >> /var/www/html/index.php
printf '[user]\\n    name = Ada\\n' > /root/.gitconfig
printf 'Host *\\n    ControlPath /tmp/ssh-master\\n' > /root/.ssh/config
echo /srv/src > /usr/local/lib/python3.99/dist-packages/editable.pth
mkdir -p /root/.config/systemd/user/timers.target.wants
ln -s /usr/lib/systemd/user/systemd-tmpfiles-clean.timer /root/.config/systemd/user/timers.target.wants
"""
"""What is deployed, configured and installed without the package manager, and holds nothing that runs by itself."""

RULES = frozenset(tomllib.loads((REPOSITORY / "dio_daemon/detect/default_rules.toml").read_text())) | {
    "unusual"
}
"""Types of threats that are about what the host is busy with: here, what the machine that runs the tests is."""


def _threats(api: dio.Api) -> list[dict[str, Any]]:
    """All but those of the rules: what the machine that runs the tests is busy with is no matter here."""
    found: list[dict[str, Any]] = api.get("threats?limit=1000")["threats"]
    return [each for each in found if each["type"] not in RULES]


def _events(api: dio.Api, type_: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = api.get("events?kind=event&limit=1000")["events"]
    return [each for each in events if each["data"]["type"] == type_]


def _watched(make_host: MakeHost) -> tuple[Host, dio.Api]:
    host = make_host("alpha", files=FAST)
    host.run("echo root:drill-drill | chpasswd; seq 2000 > /var/log/job.log")
    host.run(f"mkdir -p /var/empty-drill; systemctl start {dio.CENTER} {dio.AGENT}")
    api = dio.Api(host)
    wait_for(
        "the baseline is taken", lambda: _events(api, "integrity_baseline"), within_s=WITHIN_S, every_s=1
    )
    host.run("sleep 12")  # two looks at processes and listeners
    return host, api


def test_an_ordinary_week_raises_nothing(make_host: MakeHost) -> None:
    """A package with a unit, a cron job, a user, a setuid file and a diversion comes, changes and goes; backups run."""
    host, api = _watched(make_host)
    host.run(_PACKAGE, timeout_s=120)
    host.run("printf 'x%.0s' $(seq 2000) > /var/log/syslog; sleep 7")
    for command in (
        "dpkg -i /root/demo_1.deb",
        "dpkg -i /root/demo_2.deb",
        "mv /var/log/syslog /var/log/syslog.1; : > /var/log/syslog",
        "systemctl restart demo.service; systemctl mask demo.service; systemctl unmask demo.service",
        _MISTYPED + _BACKUP + _EVERY_DAY,
        _SANDBOXES,
        "journalctl -q --rotate; journalctl -q --vacuum-time=2d",
        "apt-get -y remove demo || dpkg --remove demo",
        "dpkg --purge demo",
        f"systemctl restart {dio.AGENT}",
    ):
        host.run(command, timeout_s=180)
        host.run("sleep 8")
    wait_for("dpkg's work is recorded", lambda: _events(api, "known_changes"), within_s=WITHIN_S, every_s=1)
    assert [(each["type"], each["summary"]) for each in _threats(api)] == []
