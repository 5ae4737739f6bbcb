"""Watched files that decide who gets in and who becomes root."""

from __future__ import annotations

from typing import Final

from dio_daemon.detect.integrity.group import Group

ACCESS: Final[tuple[Group, ...]] = (
    Group(
        "sudoers",
        "sudoers_changed",
        "high",
        "T1548.003",
        "sudo rule file",
        "It decides who may become root without knowing root's password.",
        "Read the diff; check it with visudo -c; who used sudo then: journalctl -t sudo.",
        ("/etc/sudoers", "/etc/sudoers.d/*", "/etc/sudo.conf", "/etc/doas.conf", "/etc/doas.d/*"),
    ),
    Group(
        "pam",
        "pam_changed",
        "high",
        "T1556.003",
        "PAM configuration file",
        "It decides how every login is checked; a changed line can let anybody in or record passwords.",
        "Read the diff; look for pam_exec, pam_permit and modules that no package owns: dpkg -S pam_XY.so.",
        ("/etc/pam.d/*", "/etc/pam.conf", "/etc/security/*.conf", "/etc/security/limits.d/*"),
    ),
    Group(
        "pam_modules",
        "pam_changed",
        "critical",
        "T1556.003",
        "PAM module",
        "Such a module sees every password and decides every login.",
        "dpkg -S PATH tells whose it is, dpkg --verify whether it is as it was; one of no package is an intruder's.",
        ("/usr/lib/*/security/*.so",),
        shows="nothing",
        hashed=False,
    ),
    Group(
        "sshd",
        "sshd_config_changed",
        "high",
        "T1098.004",
        "SSH server configuration file",
        "It decides who may log in over the network, how, and whose keys are taken.",
        "Read the diff; see what is in force with sshd -T.",
        (
            "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/*",
            "/etc/ssh/ssh_config",
            "/etc/ssh/ssh_config.d/*",
            "/etc/ssh/sshrc",
        ),
    ),
    Group(
        "authorized_keys",
        "authorized_keys_changed",
        "high",
        "T1098.004",
        "list of SSH keys that may log in",
        "Whoever has a private key to one of them gets in without a password.",
        "Ask the account's owner about the key named in the evidence; remove its line if nobody knows it.",
        (
            "~/.ssh/authorized_keys",
            "~/.ssh/authorized_keys2",
            "~/.ssh/rc",
            "/etc/ssh/authorized_keys/*",
        ),
        shows="keys",
    ),
    Group(
        "trusts",
        "trusted_login_changed",
        "high",
        "T1098.004",
        "list of hosts and users that need no password here",
        "Whoever is in it, or poses as it, gets in without a password.",
        "Read the diff; + stands for everybody. Debian needs none of these files: remove it if nobody knows it.",
        ("~/.rhosts", "~/.shosts", "~/.k5login", "/etc/hosts.equiv", "/etc/ssh/shosts.equiv"),
    ),
    Group(
        "name_service",
        "name_service_changed",
        "medium",
        "T1556",
        "file that says where names come from",
        "It decides where a host's name leads and which accounts exist; a line can lead updates and logins elsewhere.",
        "Read the diff; getent hosts deb.debian.org and getent passwd show what is in force.",
        (
            "/etc/hosts",
            "/etc/nsswitch.conf",
            "/etc/host.conf",
        ),
    ),
    Group(
        "certificates",
        "trusted_certificate_changed",
        "medium",
        "T1553.004",
        "trusted certificate of this host's own",
        "Whoever has its key can pose as any web site or package server towards this host.",
        "openssl x509 -in PATH -noout -subject tells whose it is; update-ca-certificates --fresh after removing it.",
        (
            "/usr/local/share/ca-certificates/**",
            "/etc/ca-certificates.conf",
            "/etc/ca-certificates/update.d/*",
        ),
    ),
)
