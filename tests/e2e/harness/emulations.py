"""Harmless emulations of what intruders do on Linux, in the manner of public collections of such tests.

Each is a few shell commands, what undoes them, and how a threat should call it. They are for hosts that are thrown
away afterwards: they write real files and start real processes, none of which does anything.
"""

from __future__ import annotations

from .emulations_accounts import ACCOUNTS
from .emulations_persistence import PERSISTENCE
from .emulations_privileges import PRIVILEGES
from .emulations_processes import PROCESSES
from .emulations_tampering import TAMPERING

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

def trace():
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if call(0x4206, int(sys.argv[2]), None, None) != 0:  # PTRACE_SEIZE
        raise OSError(ctypes.get_errno(), "ptrace")
    forever()

def renamed():
    ctypes.CDLL(None).prctl(15, b"kworker/u8:3", 0, 0, 0)
    forever()

globals()[sys.argv[1]]()
"""

PREPARE = """
mkdir -p /etc/cron.d /etc/cron.daily /var/spool/cron/crontabs /var/spool/cron/atjobs /etc/sudoers.d /etc/ssh \
    /etc/udev/rules.d /etc/modules-load.d /etc/modprobe.d /etc/xdg/autostart /etc/update-motd.d /etc/rsyslog.d \
    /etc/audit/rules.d /etc/ufw /etc/apparmor.d/disable /etc/needrestart/hook.d \
    /var/www/html/images /usr/local/share/ca-certificates /etc/network/if-up.d /etc/binfmt.d
useradd --create-home --shell /bin/bash ada
useradd --create-home --shell /bin/bash bob; echo 'bob:drill-drill' | chpasswd
useradd --system --create-home --home-dir /var/lib/drilldb --shell /bin/bash drilldb
echo 'root ALL=(ALL:ALL) ALL' > /etc/sudoers; chmod 440 /etc/sudoers
echo 'PasswordAuthentication no' > /etc/ssh/sshd_config
echo '17 * * * * root true' > /etc/crontab
echo 'ENABLED=yes' > /etc/ufw/ufw.conf
echo '*.* /var/log/syslog' > /etc/rsyslog.conf
mkdir -p /var/log/audit; echo 'type=DAEMON_START msg=audit(1764431999.001:1): op=start' > /var/log/audit/audit.log
for log in auth syslog kern user daemon backup; do printf 'a line of a log%.0s\\n' $(seq 500) > /var/log/$log.log; done
mv /var/log/syslog.log /var/log/syslog
for home in /root /home/ada /home/bob; do printf 'ls -l%.0s\\n' $(seq 50) > $home/.bash_history; done
chown ada:ada /home/ada/.bash_history
mkdir /home/ada/docs; for n in $(seq 40); do echo "a report" > /home/ada/docs/report$n.odt; done
for name in fail2ban auditd crowdsec osqueryd cron; do
    printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \\
        > /usr/lib/systemd/system/$name.service
done
printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n' > /usr/lib/systemd/system/ufw.service
systemctl daemon-reload; systemctl enable -q --now fail2ban auditd crowdsec osqueryd cron; systemctl start ufw
"""
"""What the host has before its baseline is taken, in place of packages that are not installed."""

EMULATIONS = PERSISTENCE + ACCOUNTS + PRIVILEGES + PROCESSES + TAMPERING
