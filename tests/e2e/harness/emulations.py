"""Harmless emulations of what intruders do on Linux, in the manner of public collections of such tests.

Each is a few shell commands, what undoes them, and how a threat should call it. They are for hosts that are thrown
away afterwards: they write real files and start real processes, none of which does anything.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRyaWxsZHJpbGxkcmlsbGRyaWxsZHJpbGxkcmlsbGRy drill@example.org"

SCRIPT = "/usr/local/lib/emulate.py"

PROGRAMS = """
import ctypes, os, pty, socket, subprocess, sys, threading

def connected():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    other, _ = server.accept()
    server.close()
    for each in (client, other):
        os.set_inheritable(each.fileno(), False)
    return client, other

def forever():
    threading.Event().wait()

def shell():
    client, other = connected()
    subprocess.run(["/bin/sh"], stdin=client, stdout=client)

def bash():
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    child = subprocess.Popen(["bash", "-c", f"exec bash -i >& /dev/tcp/127.0.0.1/{port} 0>&1"], start_new_session=True)
    other, _ = server.accept()
    server.close()
    child.wait()

def terminal():
    client, other = connected()
    if os.fork() == 0:
        other.close()
        for number in (0, 1, 2):
            os.dup2(client.fileno(), number)
        pty.spawn("/bin/sh")
    client.close()
    forever()

def pipes():
    client, other = connected()
    os.mkfifo("/var/tmp/emulated.fifo")
    relay = "import os,sys,threading; threading.Event().wait()"
    relayed = f"{sys.executable} -c '{relay}' {client.fileno()}"
    command = f"cat /var/tmp/emulated.fifo | /bin/sh -i 2>&1 | {relayed} > /var/tmp/emulated.fifo"
    os.set_inheritable(client.fileno(), True)
    subprocess.run(["/bin/bash", "-c", command], pass_fds=[client.fileno()])

def memory():
    handle = os.memfd_create("drill")
    with open("/bin/sleep", "rb") as program:
        os.write(handle, program.read())
    os.execve(handle, ["drill", "infinity"], {})

def packets():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    forever()

def renamed():
    ctypes.CDLL(None).prctl(15, b"kworker/u8:3", 0, 0, 0)
    forever()

globals()[sys.argv[1]]()
"""

PREPARE = """
mkdir -p /etc/cron.d /etc/cron.daily /var/spool/cron/crontabs /var/spool/cron/atjobs /etc/sudoers.d /etc/ssh \
    /etc/udev/rules.d /etc/modules-load.d /etc/modprobe.d /etc/xdg/autostart /etc/update-motd.d /etc/rsyslog.d \
    /etc/audit/rules.d /etc/ufw /usr/local/share/ca-certificates /etc/network/if-up.d /etc/binfmt.d
useradd --create-home --shell /bin/bash ada
echo 'root ALL=(ALL:ALL) ALL' > /etc/sudoers; chmod 440 /etc/sudoers
echo 'PasswordAuthentication no' > /etc/ssh/sshd_config
echo '17 * * * * root true' > /etc/crontab
echo 'ENABLED=yes' > /etc/ufw/ufw.conf
echo '*.* /var/log/syslog' > /etc/rsyslog.conf
for log in auth.log syslog kern.log; do printf 'a line of a log%.0s\\n' $(seq 500) > /var/log/$log; done
for home in /root /home/ada; do printf 'ls -l%.0s\\n' $(seq 50) > $home/.bash_history; done
chown ada:ada /home/ada/.bash_history
for name in fail2ban auditd; do
    printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \\
        > /usr/lib/systemd/system/$name.service
done
systemctl daemon-reload; systemctl enable -q fail2ban auditd; systemctl start fail2ban auditd
"""
"""What the host has before its baseline is taken, in place of packages that are not installed."""


@dataclass(frozen=True)
class Emulation:
    """One emulation.

    Args:
        name: for people.
        technique: of ATT&CK.
        do, undo: shell commands.
        types: of the threat, any of them.
        names: what its summary has to contain.
        clears: whether it is over once it is undone.
    """

    name: str
    technique: str
    do: str
    undo: str
    types: frozenset[str]
    names: str
    clears: bool = True


def _file(name: str, technique: str, path: str, text: str, type_: str, mode: str = "644") -> Emulation:
    folder = path.rpartition("/")[0]
    do = f"mkdir -p {folder}; printf '%s\\n' {shlex.quote(text)} > {path}; chmod {mode} {path}"
    return Emulation(name, technique, do, f"rm {path}", frozenset((type_,)), path)


def _line(name: str, technique: str, path: str, text: str, type_: str) -> Emulation:
    kept = f"/var/tmp/{path.replace('/', '_')}"
    do = f"touch {path}; cp -a {path} {kept}; printf '%s\\n' {shlex.quote(text)} >> {path}"
    return Emulation(name, technique, do, f"mv {kept} {path}", frozenset((type_,)), path)


def _run(name: str, technique: str, command: str, type_: str, names: str, before: str = "") -> Emulation:
    unit = "emulated-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    do = f"{before}systemd-run -q --unit {unit} {command}"
    return Emulation(name, technique, do, f"systemctl stop {unit}", frozenset((type_,)), names)


def _other(
    name: str, technique: str, do: str, undo: str, types: str, names: str, clears: bool = True
) -> Emulation:
    return Emulation(name, technique, do, undo, frozenset(types.split()), names, clears)


_SERVICE = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target"

EMULATIONS: tuple[Emulation, ...] = (
    # Persistence: what is run again by itself
    _file("cron.d entry", "T1053.003", "/etc/cron.d/drill", "* * * * * root /bin/true", "cron_changed"),
    _file(
        "user's crontab",
        "T1053.003",
        "/var/spool/cron/crontabs/root",
        "@reboot /tmp/x",
        "cron_changed",
        "600",
    ),
    _file(
        "cron.daily script", "T1053.003", "/etc/cron.daily/drill", "#!/bin/sh\ntrue", "cron_changed", "755"
    ),
    _line("line in /etc/crontab", "T1053.003", "/etc/crontab", "* * * * * root true", "cron_changed"),
    _file(
        "at job", "T1053.002", "/var/spool/cron/atjobs/a0000101", "#!/bin/sh\ntrue", "at_job_changed", "700"
    ),
    _file(
        "systemd timer",
        "T1053.006",
        "/etc/systemd/system/drill.timer",
        "[Timer]\nOnCalendar=2099-01-01",
        "systemd_unit_changed",
    ),
    _other(
        "transient systemd timer",
        "T1053.006",
        "systemd-run -q --unit drill-later --on-calendar=2099-01-01 /bin/true",
        "systemctl stop drill-later.timer",
        "systemd_unit_changed",
        "drill-later.timer",
    ),
    _other(
        "systemd service, enabled",
        "T1543.002",
        f"printf '%s\\n' '{_SERVICE}' > /etc/systemd/system/drill.service; systemctl enable -q drill",
        "systemctl disable -q drill; rm /etc/systemd/system/drill.service",
        "systemd_unit_changed",
        "/etc/systemd/system/drill.service",
    ),
    _file(
        "drop-in of a service",
        "T1543.002",
        "/etc/systemd/system/dbus.service.d/drill.conf",
        "[Service]\nExecStartPre=/bin/true",
        "systemd_unit_changed",
    ),
    _line(
        "line in a package's unit",
        "T1543.002",
        "/usr/lib/systemd/system/systemd-hostnamed.service",
        "ExecStartPost=/bin/true",
        "systemd_unit_changed",
    ),
    _file(
        "runtime service",
        "T1543.002",
        "/run/systemd/system/drill-run.service",
        _SERVICE,
        "systemd_unit_changed",
    ),
    _file(
        "user's systemd unit",
        "T1543.002",
        "/home/ada/.config/systemd/user/drill.service",
        _SERVICE,
        "systemd_unit_changed",
    ),
    _file(
        "systemd generator",
        "T1543.002",
        "/etc/systemd/system-generators/drill",
        "#!/bin/sh\ntrue",
        "systemd_unit_changed",
        "755",
    ),
    _file("rc.local", "T1037.004", "/etc/rc.local", "#!/bin/sh\nexit 0", "init_script_changed", "755"),
    _file("init script", "T1037", "/etc/init.d/drill", "#!/bin/sh\nexit 0", "init_script_changed", "755"),
    _file("motd script", "T1037", "/etc/update-motd.d/99-drill", "#!/bin/sh", "login_script_changed", "755"),
    _file(
        "network hook",
        "T1037",
        "/etc/network/if-up.d/drill",
        "#!/bin/sh\ntrue",
        "login_script_changed",
        "755",
    ),
    _line("line in /etc/profile", "T1546.004", "/etc/profile", "true # drill", "shell_startup_changed"),
    _file("profile.d script", "T1546.004", "/etc/profile.d/drill.sh", "true", "shell_startup_changed"),
    _line("line in root's .bashrc", "T1546.004", "/root/.bashrc", "true # drill", "shell_startup_changed"),
    _line(
        "trap in a user's .bashrc",
        "T1546.005",
        "/home/ada/.bashrc",
        "trap 'nohup /tmp/x &' EXIT",
        "shell_startup_changed",
    ),
    _file(
        "desktop autostart",
        "T1547.013",
        "/etc/xdg/autostart/drill.desktop",
        "[Desktop Entry]\nExec=/bin/true",
        "autostart_changed",
    ),
    _file(
        "udev rule",
        "T1546.017",
        "/etc/udev/rules.d/99-drill.rules",
        '# RUN+="/bin/true"',
        "udev_rule_changed",
    ),
    _file(
        "apt hook",
        "T1546.016",
        "/etc/apt/apt.conf.d/99drill",
        "// APT::Update::Pre-Invoke",
        "apt_config_changed",
    ),
    _file(
        "Python start-up hook",
        "T1546.018",
        "/usr/lib/python3/dist-packages/drill.pth",
        "# import os",
        "python_hook_changed",
    ),
    _file(
        "sitecustomize.py",
        "T1546.018",
        "/usr/local/lib/python3.99/dist-packages/sitecustomize.py",
        "# nothing",
        "python_hook_changed",
    ),
    _file(
        "module to load",
        "T1547.006",
        "/etc/modules-load.d/drill.conf",
        "# drill",
        "kernel_module_config_changed",
    ),
    _file(
        "install line for a module",
        "T1547.006",
        "/etc/modprobe.d/drill.conf",
        "install drill /bin/true",
        "kernel_module_config_changed",
    ),
    _file("sshrc", "T1546", "/etc/ssh/sshrc", "true", "sshd_config_changed"),
    _file(
        "dbus service",
        "T1543",
        "/usr/share/dbus-1/system-services/org.drill.service",
        "[D-BUS Service]\nName=org.drill\nExec=/bin/true\nUser=root",
        "dbus_service_changed",
    ),
    _file(
        "tmpfiles rule", "T1543", "/etc/tmpfiles.d/drill.conf", "# z /bin/true 4755", "tmpfiles_rule_changed"
    ),
    # Accounts and ways in
    _file("root's SSH key", "T1098.004", "/root/.ssh/authorized_keys", KEY, "authorized_keys_changed", "600"),
    _file(
        "a user's SSH key",
        "T1098.004",
        "/home/ada/.ssh/authorized_keys",
        KEY,
        "authorized_keys_changed",
        "600",
    ),
    _line(
        "root may log in by ssh",
        "T1098.004",
        "/etc/ssh/sshd_config",
        "PermitRootLogin yes",
        "sshd_config_changed",
    ),
    _other(
        "new account", "T1136.001", "useradd -s /bin/bash drill", "userdel drill", "account_added", "drill"
    ),
    _other(
        "second account with uid 0",
        "T1136.001",
        "useradd -o -u 0 -g 0 -M -s /bin/bash toor",
        "userdel -f toor",
        "account_added",
        "root's uid 0",
    ),
    _other(
        "user joins group sudo",
        "T1098",
        "groupadd -f -r sudo; usermod -aG sudo ada",
        "gpasswd -d ada sudo >/dev/null",
        "account_changed",
        "joined group sudo",
    ),
    _other(
        "root's password",
        "T1098",
        "cp -a /etc/shadow /var/tmp/shadow; echo 'root:drill-drill' | chpasswd",
        "mv /var/tmp/shadow /etc/shadow",
        "account_changed",
        "User root",
    ),
    _other(
        "account without a password",
        "T1098",
        "cp -a /etc/shadow /var/tmp/shadow2; passwd -q -d ada",
        "mv /var/tmp/shadow2 /etc/shadow",
        "account_changed",
        "no password",
    ),
    _other(
        "everybody may write passwd",
        "T1222.002",
        "chmod 666 /etc/passwd",
        "chmod 644 /etc/passwd",
        "account_file_open",
        "/etc/passwd",
    ),
    _other(
        "failed logins by ssh",
        "T1110.001",
        "for n in 1 2 3 4 5 6 7 8; do logger -t sshd -p authpriv.info "
        '"Failed password for root from 192.0.2.7 port 4000$n ssh2"; done',
        "true",
        "failed_logins",
        "192.0.2.7",
        clears=False,
    ),
    _other(
        "a guessed password",
        "T1078",
        "for n in 1 2 3 4 5 6 7 8; do logger -t sshd -p authpriv.info "
        '"Failed password for ada from 192.0.2.8 port 4000$n ssh2"; done; logger -t sshd -p authpriv.info '
        '"Accepted password for ada from 192.0.2.8 port 4009 ssh2"',
        "true",
        "login_after_failures",
        "192.0.2.8",
        clears=False,
    ),
    # Privileges
    _file(
        "sudo rule",
        "T1548.003",
        "/etc/sudoers.d/drill",
        "ada ALL=(ALL) NOPASSWD: ALL",
        "sudoers_changed",
        "440",
    ),
    _line("line in /etc/sudoers", "T1548.003", "/etc/sudoers", "Defaults !tty_tickets", "sudoers_changed"),
    _other(
        "setuid shell in /tmp",
        "T1548.001",
        "cp /bin/dash /tmp/.drill; chmod 4755 /tmp/.drill",
        "rm /tmp/.drill",
        "setuid_file",
        "/tmp/.drill",
    ),
    _other(
        "setuid bit on a system command",
        "T1548.001",
        "chmod u+s /usr/bin/find",
        "chmod u-s /usr/bin/find",
        "setuid_file",
        "/usr/bin/find",
    ),
    _other(
        "setuid file below /opt",
        "T1548.001",
        "mkdir -p /opt/drill/bin; cp /bin/true /opt/drill/bin/tool; chmod 4755 /opt/drill/bin/tool",
        "rm -r /opt/drill",
        "setuid_file",
        "/opt/drill/bin/tool",
    ),
    _other(
        "setgid file",
        "T1548.001",
        "cp /bin/true /usr/local/bin/drill-gid; chgrp shadow /usr/local/bin/drill-gid; "
        "chmod 2755 /usr/local/bin/drill-gid",
        "rm /usr/local/bin/drill-gid",
        "setgid_file",
        "/usr/local/bin/drill-gid",
    ),
    _other(
        "file with capabilities",
        "T1548.001",
        'cp /bin/true /usr/local/bin/drill-cap; python3 -c "import os; '
        "os.setxattr('/usr/local/bin/drill-cap', 'security.capability', "
        "bytes.fromhex('0100000280000000000000000000000000000000'))\"",
        "rm /usr/local/bin/drill-cap",
        "capability_file",
        "/usr/local/bin/drill-cap",
    ),
    _file("ld.so.preload", "T1574.006", "/etc/ld.so.preload", "", "ld_preload_changed"),
    _file("library path", "T1574.006", "/etc/ld.so.conf.d/0drill.conf", "/opt/drill", "ld_config_changed"),
    _line(
        "LD_PRELOAD for everybody", "T1574.006", "/etc/environment", "#LD_PRELOAD=/x", "shell_startup_changed"
    ),
    _line(
        "PAM without a password",
        "T1556.003",
        "/etc/pam.d/common-auth",
        "# auth sufficient pam_permit.so",
        "pam_changed",
    ),
    _other(
        "PAM module",
        "T1556.003",
        "cp $(ls /usr/lib/*/security/pam_deny.so | head -n 1) /var/tmp/m; "
        "mv /var/tmp/m $(dirname /usr/lib/*/security/pam_deny.so)/pam_drill.so",
        "rm /usr/lib/*/security/pam_drill.so",
        "pam_changed",
        "pam_drill.so",
    ),
    _line("name service", "T1556", "/etc/nsswitch.conf", "# drill: files drill", "name_service_changed"),
    _line(
        "line in /etc/hosts", "T1565.001", "/etc/hosts", "192.0.2.9 deb.debian.org", "name_service_changed"
    ),
    _other(
        "command replaced",
        "T1554",
        "cp -a /usr/bin/who /var/tmp/who; cp /bin/true /usr/bin/who",
        "mv /var/tmp/who /usr/bin/who",
        "package_file_changed",
        "/usr/bin/who",
    ),
    _file("command shadowed", "T1574.007", "/usr/local/bin/ls", "#!/bin/sh", "command_shadowed", "755"),
    _file(
        "trusted certificate",
        "T1553.004",
        "/usr/local/share/ca-certificates/drill.crt",
        "-----BEGIN CERTIFICATE-----",
        "trusted_certificate_changed",
    ),
    # Processes and sockets
    _run("reverse shell", "T1059.004", f"python3 {SCRIPT} shell", "shell_on_socket", "user root"),
    _run("reverse shell of bash", "T1059.004", f"python3 {SCRIPT} bash", "shell_on_socket", "bash"),
    _run(
        "reverse shell with a terminal",
        "T1059.004",
        f"-p User=ada python3 {SCRIPT} terminal",
        "shell_on_socket",
        "user ada",
    ),
    _run(
        "reverse shell over pipes",
        "T1059.004",
        f"-p User=nobody python3 {SCRIPT} pipes",
        "shell_on_socket",
        "user nobody",
        before="rm -f /var/tmp/emulated.fifo; ",
    ),
    _run(
        "port on every address",
        "T1571",
        "python3 -m http.server --directory /opt 4445",
        "listening_socket",
        "4445",
    ),
    _other(
        "program in /tmp",
        "T1059",
        "cp /bin/sleep /tmp/drill-run; systemd-run -q --unit drill-tmp /tmp/drill-run infinity",
        "systemctl stop drill-tmp; rm /tmp/drill-run",
        "process_from_temporary_folder",
        "/tmp/drill-run",
    ),
    _other(
        "program in /dev/shm",
        "T1059",
        "cp /bin/sleep /dev/shm/drill-run; systemd-run -q --unit drill-shm /dev/shm/drill-run infinity",
        "systemctl stop drill-shm; rm /dev/shm/drill-run",
        "process_from_temporary_folder",
        "/dev/shm/drill-run",
    ),
    _other(
        "program without its file",
        "T1070.004",
        "cp /bin/sleep /opt/drill-gone; systemd-run -q --unit drill-gone /opt/drill-gone infinity; sleep 0.5; "
        "rm /opt/drill-gone",
        "systemctl stop drill-gone",
        "process_deleted_executable",
        "/opt/drill-gone",
    ),
    _run("program from memory", "T1620", f"python3 {SCRIPT} memory", "process_from_memory", "memfd"),
    _run(
        "miner",
        "T1496",
        'bash -c \'exec -a "xmrig -o stratum+tcp://192.0.2.1:3333" python3 -c "while True: pass"\'',
        "miner_like_process",
        "miner",
    ),
    _run(
        "called like a kernel thread",
        "T1036.004",
        "bash -c 'exec -a \"[kworker/0:3]\" sleep infinity'",
        "process_masquerading",
        "sleep",
    ),
    _run(
        "named like a kernel thread",
        "T1036.004",
        f"python3 {SCRIPT} renamed",
        "process_masquerading",
        "kworker",
    ),
    _other(
        "process hidden by a mount",
        "T1564.013",
        "systemd-run -q --unit drill-hidden sleep infinity; sleep 0.5; mkdir -p /opt/empty; "
        "mount --bind /opt/empty /proc/$(systemctl show -P MainPID drill-hidden)",
        "umount $(awk '/ \\/proc\\/[0-9]/ {print $5}' /proc/self/mountinfo); systemctl stop drill-hidden",
        "process_hidden",
        "/proc/",
    ),
    _run("sniffer", "T1040", f"python3 {SCRIPT} packets", "packet_capture", "python"),
    # Tampering
    _other(
        "log cut",
        "T1070.002",
        "cp -a /var/log/auth.log /var/tmp/; : > /var/log/auth.log",
        "true",
        "log_truncated",
        "/var/log/auth.log",
        clears=False,
    ),
    _other(
        "log removed",
        "T1070.002",
        "rm /var/log/kern.log",
        "true",
        "log_removed",
        "/var/log/kern.log",
        clears=False,
    ),
    _other(
        "journal removed",
        "T1070.002",
        "rm -f /var/log/journal/*/system.journal",
        "true",
        "log_removed",
        "system.journal",
        clears=False,
    ),
    _other(
        "history emptied",
        "T1070.003",
        ": > /root/.bash_history",
        "true",
        "shell_history_cleared",
        "/root/.bash_history",
        clears=False,
    ),
    _other(
        "history to /dev/null",
        "T1562.003",
        "mv /home/ada/.bash_history /var/tmp/h; ln -s /dev/null /home/ada/.bash_history",
        "rm /home/ada/.bash_history; mv /var/tmp/h /home/ada/.bash_history",
        "shell_history_off",
        "/home/ada/.bash_history",
    ),
    _line(
        "no history in profile",
        "T1562.003",
        "/etc/bash.bashrc",
        "export HISTFILE=/dev/null",
        "shell_startup_changed",
    ),
    _other(
        "security service stopped",
        "T1562.001",
        "systemctl stop fail2ban",
        "systemctl start fail2ban",
        "security_service_stopped",
        "fail2ban",
    ),
    _other(
        "security service masked",
        "T1562.001",
        "systemctl stop auditd; mv /usr/lib/systemd/system/auditd.service /var/tmp/; "
        "ln -s /dev/null /etc/systemd/system/auditd.service; systemctl daemon-reload",
        "rm /etc/systemd/system/auditd.service; mv /var/tmp/auditd.service /usr/lib/systemd/system/; "
        "systemctl daemon-reload; systemctl start auditd",
        "security_service_stopped",
        "auditd",
    ),
    _line("logging turned off", "T1562.006", "/etc/rsyslog.conf", "# & stop", "logging_config_changed"),
    _file("audit rules", "T1562.006", "/etc/audit/rules.d/drill.rules", "-e 0", "logging_config_changed"),
    _line("firewall turned off", "T1562.004", "/etc/ufw/ufw.conf", "ENABLED=no", "firewall_config_changed"),
    _file(
        "agent's configuration",
        "T1562.001",
        "/etc/dio-agent/agent.toml.d/99-drill.toml",
        "# drill",
        "agent_files_changed",
    ),
    _file(
        "drop-in of the agent",
        "T1562.001",
        "/etc/systemd/system/dio-agent.service.d/drill.conf",
        "[Service]",
        "systemd_unit_changed",
    ),
)
