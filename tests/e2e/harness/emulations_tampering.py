"""Tampering: emulations."""

from .emulation import Emulation, file, line, other

TAMPERING: tuple[Emulation, ...] = (
    other(
        "log cut",
        "T1070.002",
        "cp -a /var/log/auth.log /var/tmp/; : > /var/log/auth.log",
        "true",
        "log_truncated",
        "/var/log/auth.log",
        clears=False,
    ),
    other(
        "log removed",
        "T1070.002",
        "rm /var/log/kern.log",
        "true",
        "log_removed",
        "/var/log/kern.log",
        clears=False,
    ),
    other(
        "journal removed",
        "T1070.002",
        "rm -f /var/log/journal/*/system.journal",
        "true",
        "log_removed",
        "system.journal",
        clears=False,
    ),
    other(
        "history emptied",
        "T1070.003",
        ": > /root/.bash_history",
        "true",
        "shell_history_cleared",
        "/root/.bash_history",
        clears=False,
    ),
    other(
        "history to /dev/null",
        "T1562.003",
        "mv /home/ada/.bash_history /var/tmp/h; ln -s /dev/null /home/ada/.bash_history",
        "rm /home/ada/.bash_history; mv /var/tmp/h /home/ada/.bash_history",
        "shell_history_off",
        "/home/ada/.bash_history",
    ),
    line(
        "no history in profile",
        "T1562.003",
        "/etc/bash.bashrc",
        "export HISTFILE=/dev/null",
        "shell_startup_changed",
    ),
    other(
        "security service stopped",
        "T1562.001",
        "systemctl stop fail2ban",
        "systemctl start fail2ban",
        "security_service_stopped",
        "fail2ban",
    ),
    other(
        "security service masked",
        "T1562.001",
        "systemctl stop auditd; mv /usr/lib/systemd/system/auditd.service /var/tmp/; "
        "ln -s /dev/null /etc/systemd/system/auditd.service; systemctl daemon-reload",
        "rm /etc/systemd/system/auditd.service; mv /var/tmp/auditd.service /usr/lib/systemd/system/; "
        "systemctl daemon-reload; systemctl start auditd",
        "security_service_stopped",
        "auditd",
    ),
    line("logging turned off", "T1562.006", "/etc/rsyslog.conf", "# & stop", "logging_config_changed"),
    file("audit rules", "T1562.006", "/etc/audit/rules.d/drill.rules", "-e 0", "logging_config_changed"),
    line("firewall turned off", "T1562.004", "/etc/ufw/ufw.conf", "ENABLED=no", "firewall_config_changed"),
    file(
        "agent's configuration",
        "T1562.001",
        "/etc/dio-agent/agent.toml.d/99-drill.toml",
        "# drill",
        "agent_files_changed",
    ),
    file(
        "drop-in of the agent",
        "T1562.001",
        "/etc/systemd/system/dio-agent.service.d/drill.conf",
        "[Service]",
        "systemd_unit_changed",
    ),
)
