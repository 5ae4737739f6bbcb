"""Accounts and ways in: emulations."""

from .emulation import Emulation, file, line, other

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRyaWxsZHJpbGxkcmlsbGRyaWxsZHJpbGxkcmlsbGRy drill@example.org"
ACCOUNTS: tuple[Emulation, ...] = (
    file("root's SSH key", "T1098.004", "/root/.ssh/authorized_keys", KEY, "authorized_keys_changed", "600"),
    file(
        "a user's SSH key",
        "T1098.004",
        "/home/ada/.ssh/authorized_keys",
        KEY,
        "authorized_keys_changed",
        "600",
    ),
    line(
        "root may log in by ssh",
        "T1098.004",
        "/etc/ssh/sshd_config",
        "PermitRootLogin yes",
        "sshd_config_changed",
    ),
    other(
        "new account", "T1136.001", "useradd -s /bin/bash drill", "userdel drill", "account_added", "drill"
    ),
    other(
        "second account with uid 0",
        "T1136.001",
        "useradd -o -u 0 -g 0 -M -s /bin/bash toor",
        "userdel -f toor",
        "account_added",
        "root's uid 0",
    ),
    other(
        "user joins group sudo",
        "T1098",
        "groupadd -f -r sudo; usermod -aG sudo ada",
        "gpasswd -d ada sudo >/dev/null",
        "account_changed",
        "joined group sudo",
    ),
    other(
        "user's own group is sudo",
        "T1098",
        "groupadd -f -r sudo; useradd -M -s /bin/bash bea; sleep 3; usermod -g sudo bea",
        "userdel -f bea",
        "account_added account_changed",
        "member of sudo",
    ),
    other(
        "root's password",
        "T1098",
        "cp -a /etc/shadow /var/tmp/shadow; echo 'root:drill-drill' | chpasswd",
        "mv /var/tmp/shadow /etc/shadow",
        "account_changed",
        "User root",
    ),
    other(
        "account without a password",
        "T1098",
        "cp -a /etc/shadow /var/tmp/shadow2; passwd -q -d ada",
        "mv /var/tmp/shadow2 /etc/shadow",
        "account_changed",
        "no password",
    ),
    other(
        "user locked out",
        "T1531",
        "cp -a /etc/shadow /var/tmp/shadow3; usermod -L -e 1 bob",
        "mv /var/tmp/shadow3 /etc/shadow",
        "account_changed",
        "bob",
    ),
    file("trusted hosts of old", "T1098.004", "/etc/hosts.equiv", "+ +", "trusted_login_changed"),
    other(
        "key of a service with a shell",
        "T1098.004",
        f"mkdir -p /var/lib/drilldb/.ssh; echo '{KEY}' > /var/lib/drilldb/.ssh/authorized_keys",
        "rm /var/lib/drilldb/.ssh/authorized_keys",
        "authorized_keys_changed",
        "/var/lib/drilldb/.ssh/authorized_keys",
    ),
    other(
        "everybody may write passwd",
        "T1222.002",
        "chmod 666 /etc/passwd",
        "chmod 644 /etc/passwd",
        "account_file_open",
        "/etc/passwd",
    ),
    other(
        "copy of shadow for everybody",
        "T1003.008",
        "cat /etc/shadow > /tmp/emulated-notes",
        "rm /tmp/emulated-notes",
        "password_hashes_exposed",
        "/tmp/emulated-notes",
    ),
    other(
        "failed logins by ssh",
        "T1110.001",
        "for n in 1 2 3 4 5 6 7 8; do logger -t sshd -p authpriv.info "
        '"Failed password for root from 192.0.2.7 port 4000$n ssh2"; done',
        "true",
        "failed_logins",
        "192.0.2.7",
        clears=False,
    ),
    other(
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
)
