"""Privileges: emulations."""

from .emulation import Emulation, file, line, other

PRIVILEGES: tuple[Emulation, ...] = (
    file(
        "sudo rule",
        "T1548.003",
        "/etc/sudoers.d/drill",
        "ada ALL=(ALL) NOPASSWD: ALL",
        "sudoers_changed",
        "440",
    ),
    line("line in /etc/sudoers", "T1548.003", "/etc/sudoers", "Defaults !tty_tickets", "sudoers_changed"),
    other(
        "setuid shell in /tmp",
        "T1548.001",
        "cp /bin/dash /tmp/.drill; chmod 4755 /tmp/.drill",
        "rm /tmp/.drill",
        "setuid_file",
        "/tmp/.drill",
    ),
    other(
        "setuid bit on a system command",
        "T1548.001",
        "chmod u+s /usr/bin/find",
        "chmod u-s /usr/bin/find",
        "setuid_file",
        "/usr/bin/find",
    ),
    other(
        "setuid file below /opt",
        "T1548.001",
        "mkdir -p /opt/drill/bin; cp /bin/true /opt/drill/bin/tool; chmod 4755 /opt/drill/bin/tool",
        "rm -r /opt/drill",
        "setuid_file",
        "/opt/drill/bin/tool",
    ),
    other(
        "setgid file",
        "T1548.001",
        "cp /bin/true /usr/local/bin/drill-gid; chgrp shadow /usr/local/bin/drill-gid; "
        "chmod 2755 /usr/local/bin/drill-gid",
        "rm /usr/local/bin/drill-gid",
        "setgid_file",
        "/usr/local/bin/drill-gid",
    ),
    other(
        "file with capabilities",
        "T1548.001",
        'cp /bin/true /usr/local/bin/drill-cap; python3 -c "import os; '
        "os.setxattr('/usr/local/bin/drill-cap', 'security.capability', "
        "bytes.fromhex('0100000280000000000000000000000000000000'))\"",
        "rm /usr/local/bin/drill-cap",
        "capability_file",
        "/usr/local/bin/drill-cap",
    ),
    file("ld.so.preload", "T1574.006", "/etc/ld.so.preload", "", "ld_preload_changed"),
    file("library path", "T1574.006", "/etc/ld.so.conf.d/0drill.conf", "/opt/drill", "ld_config_changed"),
    line(
        "LD_PRELOAD for everybody", "T1574.006", "/etc/environment", "#LD_PRELOAD=/x", "shell_startup_changed"
    ),
    line(
        "PAM without a password",
        "T1556.003",
        "/etc/pam.d/common-auth",
        "# auth sufficient pam_permit.so",
        "pam_changed",
    ),
    other(
        "PAM module",
        "T1556.003",
        "cp $(ls /usr/lib/*/security/pam_deny.so | head -n 1) /var/tmp/m; "
        "mv /var/tmp/m $(dirname /usr/lib/*/security/pam_deny.so)/pam_drill.so",
        "rm /usr/lib/*/security/pam_drill.so",
        "pam_changed",
        "pam_drill.so",
    ),
    other(
        "system library replaced",
        "T1574.006",
        "cp -a /usr/lib/*-linux-gnu/libacl.so.1.* /var/tmp/; for l in /usr/lib/*-linux-gnu/libacl.so.1.*; do "
        "cp $l /var/tmp/l; echo drill >> /var/tmp/l; cp -p --remove-destination /var/tmp/l $l; done",
        "mv /var/tmp/libacl.so.1.* /usr/lib/*-linux-gnu/",
        "package_file_changed",
        "libacl.so.1",
    ),
    other(
        "foreign system library",
        "T1574.006",
        "cp $(ls /usr/lib/*-linux-gnu/libacl.so.1 | head -n 1) /var/tmp/n; "
        "mv /var/tmp/n $(dirname /usr/lib/*-linux-gnu/libacl.so.1)/libdrill.so.1",
        "rm /usr/lib/*-linux-gnu/libdrill.so.1",
        "system_library_changed",
        "libdrill.so.1",
    ),
    other(
        "everybody may add jobs for cron",
        "T1222.002",
        "chmod 777 /etc/cron.d",
        "chmod 755 /etc/cron.d",
        "folder_open",
        "/etc/cron.d",
    ),
    other(
        "user owns systemd's folder",
        "T1222.002",
        "chown ada /etc/systemd/system",
        "chown root /etc/systemd/system",
        "folder_open",
        "/etc/systemd/system",
    ),
    line("name service", "T1556", "/etc/nsswitch.conf", "# drill: files drill", "name_service_changed"),
    line("line in /etc/hosts", "T1565.001", "/etc/hosts", "192.0.2.9 deb.debian.org", "name_service_changed"),
    other(
        "command replaced",
        "T1554",
        "cp -a /usr/bin/who /var/tmp/who; cp /bin/true /usr/bin/who",
        "mv /var/tmp/who /usr/bin/who",
        "package_file_changed",
        "/usr/bin/who",
    ),
    file("command shadowed", "T1574.007", "/usr/local/bin/ls", "#!/bin/sh", "command_shadowed", "755"),
    file(
        "trusted certificate",
        "T1553.004",
        "/usr/local/share/ca-certificates/drill.crt",
        "-----BEGIN CERTIFICATE-----",
        "trusted_certificate_changed",
    ),
)
