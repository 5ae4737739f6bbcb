"""Which files are watched, in groups: how severe a change is, what technique it serves, and the words for it.

A pattern is an absolute path or one below every home (`~/`). Each part may hold `*` and `?`; a last part `**` is
everything below, `MOST_DEPTH` folders deep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

MOST_DEPTH = 4

Shows = Literal["text", "keys", "nothing"]
"""What evidence may show of a file's content: a diff, its keys' fingerprints, or nothing at all."""


@dataclass(frozen=True)
class Group:
    """Files of one purpose.

    Args:
        name: in a baseline and in configuration.
        type: of the threat that a change is.
        severity: of a new or changed file; one that was removed is `low`.
        technique: of ATT&CK.
        noun: what such a file is, in a sentence.
        why: why a change matters.
        next: what to look at.
        patterns: where they are.
        shows: what evidence may show.
        ignored: paths among them that are not watched here.
        hashed: whether contents are hashed from the start. Where not, a change is one of size or times.
    """

    name: str
    type: str
    severity: str
    technique: str
    noun: str
    why: str
    next: str
    patterns: tuple[str, ...]
    shows: Shows = "text"
    hashed: bool = True
    ignored: tuple[re.Pattern[str], ...] = ()


GROUPS: Final[tuple[Group, ...]] = (
    Group(
        "sudoers",
        "sudoers_changed",
        "high",
        "T1548.003",
        "sudo rule file",
        "It decides who may become root without knowing root's password.",
        "Read the diff; check it with visudo -c; find who changed it in journalctl _COMM=sudo.",
        ("/etc/sudoers", "/etc/sudoers.d/*"),
    ),
    Group(
        "pam",
        "pam_changed",
        "high",
        "T1556.003",
        "PAM configuration file",
        "It decides how every login is checked; a changed line can let anybody in or record passwords.",
        "Read the diff; look for pam_exec, pam_permit and modules that no package owns (dpkg -S).",
        ("/etc/pam.d/*", "/etc/pam.conf", "/etc/security/*.conf", "/etc/security/limits.d/*"),
    ),
    Group(
        "pam_modules",
        "pam_changed",
        "critical",
        "T1556.003",
        "PAM module",
        "Such a module sees every password and decides every login.",
        "Compare it with its package: dpkg --verify libpam-modules; one that no package owns does not belong there.",
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
        ("~/.ssh/authorized_keys", "~/.ssh/authorized_keys2", "~/.ssh/rc", "/etc/ssh/authorized_keys/*"),
        shows="keys",
    ),
    Group(
        "cron",
        "cron_changed",
        "medium",
        "T1053.003",
        "scheduled job",
        "What it names is run again and again, often as root, also after a reboot.",
        "Read the diff: what is run, as whom, from where? journalctl _COMM=cron shows when it ran.",
        (
            "/etc/crontab",
            "/etc/anacrontab",
            "/etc/cron.d/*",
            "/etc/cron.hourly/*",
            "/etc/cron.daily/*",
            "/etc/cron.weekly/*",
            "/etc/cron.monthly/*",
            "/etc/cron.yearly/*",
            "/etc/cron.allow",
            "/etc/cron.deny",
            "/var/spool/cron/crontabs/*",
        ),
    ),
    Group(
        "at",
        "at_job_changed",
        "low",
        "T1053.002",
        "job for later",
        "It runs once, unattended, at a time that its maker chose.",
        "See it with at -c NUMBER, all of them with atq.",
        ("/var/spool/cron/atjobs/*", "/etc/at.allow", "/etc/at.deny"),
        shows="nothing",
    ),
    Group(
        "systemd",
        "systemd_unit_changed",
        "high",
        "T1543.002",
        "systemd unit",
        "systemd starts what it names, mostly as root, also after a reboot.",
        "Read the diff, above all Exec lines; systemctl status NAME; systemd-delta shows what overrides what.",
        (
            "/etc/systemd/system/**",
            "/etc/systemd/user/**",
            "/usr/lib/systemd/system/**",
            "/usr/lib/systemd/user/**",
            "/usr/local/lib/systemd/system/**",
            "/etc/systemd/system-generators/*",
            "/usr/lib/systemd/system-generators/*",
            "/usr/local/lib/systemd/system-generators/*",
            "/etc/systemd/user-environment-generators/*",
        ),
    ),
    Group(
        "user_systemd",
        "systemd_unit_changed",
        "medium",
        "T1543.002",
        "systemd unit of a user",
        "It runs whenever that user is logged in, or always when lingering is on.",
        "Read the diff, above all Exec lines; systemctl --user -M USER@ status NAME.",
        ("~/.config/systemd/user/**", "~/.local/share/systemd/user/**"),
    ),
    Group(
        "init",
        "init_script_changed",
        "high",
        "T1037.004",
        "start-up script",
        "It is run as root at every boot.",
        "Read the diff; no package of today's Debian writes /etc/rc.local.",
        ("/etc/rc.local", "/etc/init.d/*", "/etc/inittab"),
    ),
    Group(
        "login_scripts",
        "login_script_changed",
        "high",
        "T1037",
        "script that runs at logins or when the network changes",
        "It is run as root whenever somebody logs in or an interface comes up.",
        "Read the diff; ask which package or person put it there.",
        (
            "/etc/update-motd.d/*",
            "/etc/network/if-*.d/*",
            "/etc/NetworkManager/dispatcher.d/**",
            "/etc/networkd-dispatcher/**",
            "/etc/dhcp/dhclient-*-hooks.d/*",
            "/etc/grub.d/*",
            "/etc/initramfs-tools/hooks/*",
            "/etc/initramfs-tools/scripts/**",
            "/etc/polkit-1/rules.d/*",
        ),
    ),
    Group(
        "shell",
        "shell_startup_changed",
        "high",
        "T1546.004",
        "start-up file of shells",
        "It is run by every shell that anybody here starts, root's as well.",
        "Read the diff; look for downloads, aliases of sudo or ssh, and background jobs.",
        (
            "/etc/profile",
            "/etc/profile.d/*",
            "/etc/bash.bashrc",
            "/etc/bash.bash_logout",
            "/etc/environment",
            "/etc/environment.d/*",
            "/etc/zsh/*",
            "/etc/csh.*",
            "/etc/fish/**",
            "/etc/skel/.*",
            "/root/.bashrc",
            "/root/.bash_profile",
            "/root/.bash_login",
            "/root/.bash_logout",
            "/root/.profile",
            "/root/.zshrc",
            "/root/.zprofile",
            "/root/.zshenv",
        ),
    ),
    Group(
        "user_shell",
        "shell_startup_changed",
        "low",
        "T1546.004",
        "start-up file of a user's shells",
        "It is run whenever that user logs in or opens a shell.",
        "Read the diff; ask the user.",
        (
            "~/.bashrc",
            "~/.bash_profile",
            "~/.bash_login",
            "~/.bash_logout",
            "~/.bash_aliases",
            "~/.profile",
            "~/.zshrc",
            "~/.zprofile",
            "~/.zshenv",
            "~/.zlogin",
            "~/.config/fish/config.fish",
        ),
    ),
    Group(
        "autostart",
        "autostart_changed",
        "medium",
        "T1547.013",
        "desktop autostart entry",
        "What it names is run at every graphical login.",
        "Read its Exec line.",
        ("/etc/xdg/autostart/*", "~/.config/autostart/*", "~/.config/autostart-scripts/*"),
    ),
    Group(
        "udev",
        "udev_rule_changed",
        "high",
        "T1546.017",
        "udev rule",
        "What its RUN names is run as root whenever a device appears, also at every boot.",
        "Read the diff; look for RUN, PROGRAM and IMPORT{program}.",
        ("/etc/udev/rules.d/*", "/usr/lib/udev/rules.d/*", "/usr/local/lib/udev/rules.d/*"),
    ),
    Group(
        "ld_preload",
        "ld_preload_changed",
        "critical",
        "T1574.006",
        "list of libraries loaded into every process",
        "What it names runs inside every program on this host; no Debian package writes it.",
        "Take the library away from it, keep a copy of both, and treat this host as taken over.",
        ("/etc/ld.so.preload",),
    ),
    Group(
        "ld_conf",
        "ld_config_changed",
        "medium",
        "T1574.006",
        "library search path",
        "A folder early in it can replace libraries of every program.",
        "Read the diff; who may write to the folders that it names?",
        ("/etc/ld.so.conf", "/etc/ld.so.conf.d/*"),
    ),
    Group(
        "python",
        "python_hook_changed",
        "high",
        "T1546.018",
        "Python start-up hook",
        "It is run by every Python program that starts, root's as well.",
        "Read it; pip and Debian write path lines only, a line that begins with import runs code.",
        (
            "/usr/lib/python3/dist-packages/*.pth",
            "/usr/lib/python3*/sitecustomize.py",
            "/usr/lib/python3*/usercustomize.py",
            "/usr/lib/python3/dist-packages/sitecustomize.py",
            "/usr/lib/python3/dist-packages/usercustomize.py",
            "/etc/python3*/sitecustomize.py",
            "/usr/local/lib/python3*/dist-packages/*.pth",
            "/usr/local/lib/python3*/dist-packages/sitecustomize.py",
            "/usr/local/lib/python3*/dist-packages/usercustomize.py",
            "~/.local/lib/python3*/site-packages/*.pth",
            "~/.local/lib/python3*/site-packages/sitecustomize.py",
            "~/.local/lib/python3*/site-packages/usercustomize.py",
        ),
    ),
    Group(
        "apt",
        "apt_config_changed",
        "high",
        "T1546.016",
        "configuration of apt or dpkg",
        "Hooks in it run as root at every update, and sources decide whose software is installed.",
        "Read the diff; look for Pre-Invoke, Post-Invoke and unknown sources: apt-config dump.",
        (
            "/etc/apt/apt.conf",
            "/etc/apt/apt.conf.d/*",
            "/etc/apt/sources.list",
            "/etc/apt/sources.list.d/*",
            "/etc/apt/preferences.d/*",
            "/etc/apt/trusted.gpg.d/*",
            "/etc/apt/keyrings/*",
            "/etc/dpkg/dpkg.cfg",
            "/etc/dpkg/dpkg.cfg.d/*",
        ),
    ),
    Group(
        "modules",
        "kernel_module_config_changed",
        "high",
        "T1547.006",
        "kernel module configuration",
        "It decides which modules are loaded at boot, and an install line runs a command as root.",
        "Read the diff; modinfo NAME tells which package a module is from.",
        (
            "/etc/modules",
            "/etc/modules-load.d/*",
            "/etc/modprobe.d/*",
            "/usr/lib/modules-load.d/*",
            "/usr/lib/modprobe.d/*",
            "/etc/sysctl.conf",
            "/etc/sysctl.d/*",
        ),
    ),
    Group(
        "agent",
        "agent_files_changed",
        "high",
        "T1562.001",
        "file of this agent",
        "Whoever changes it can blind the agent or send its reports elsewhere.",
        "dpkg --verify dio-agent; dioctl config show; journalctl -u dio-agent.",
        (
            "/etc/dio-agent/agent.toml",
            "/etc/dio-agent/agent.toml.d/*",
            "/etc/dio-agent/rules.d/*",
            "/usr/sbin/dio-agent",
            "/usr/bin/dioctl",
            "/usr/lib/python3/dist-packages/dio_daemon/**",
        ),
    ),
    Group(
        "binaries",
        "system_binary_changed",
        "high",
        "T1554",
        "system command",
        "A command that was replaced or added here runs with the trust of the system's own.",
        "dpkg -S PATH and dpkg --verify tell whose it is; compare it with a copy from the package.",
        ("/usr/bin/*", "/usr/sbin/*"),
        shows="nothing",
        hashed=False,
    ),
)

BY_NAME: Final = {group.name: group for group in GROUPS}
