"""Processes and sockets: emulations."""

from .emulation import SCRIPT, Emulation, other, run

PROCESSES: tuple[Emulation, ...] = (
    run("reverse shell", "T1059.004", f"python3 {SCRIPT} shell", "shell_on_socket", "user root"),
    run("reverse shell of bash", "T1059.004", f"python3 {SCRIPT} bash", "shell_on_socket", "bash"),
    run(
        "reverse shell with a terminal",
        "T1059.004",
        f"-p User=ada python3 {SCRIPT} terminal",
        "shell_on_socket",
        "user ada",
    ),
    run(
        "reverse shell over pipes",
        "T1059.004",
        f"-p User=nobody python3 {SCRIPT} pipes",
        "shell_on_socket",
        "user nobody",
        before="rm -f /var/tmp/emulated.fifo; ",
    ),
    run(
        "port on every address",
        "T1571",
        "python3 -m http.server --directory /opt 4445",
        "listening_socket",
        "4445",
    ),
    other(
        "program in /tmp",
        "T1059",
        "cp /bin/sleep /tmp/drill-run; systemd-run -q --unit drill-tmp /tmp/drill-run infinity",
        "systemctl stop drill-tmp; rm /tmp/drill-run",
        "process_from_temporary_folder",
        "/tmp/drill-run",
    ),
    other(
        "program in /dev/shm",
        "T1059",
        "cp /bin/sleep /dev/shm/drill-run; systemd-run -q --unit drill-shm /dev/shm/drill-run infinity",
        "systemctl stop drill-shm; rm /dev/shm/drill-run",
        "process_from_temporary_folder",
        "/dev/shm/drill-run",
    ),
    other(
        "program without its file",
        "T1070.004",
        "cp /bin/sleep /opt/drill-gone; systemd-run -q --unit drill-gone /opt/drill-gone infinity; sleep 0.5; "
        "rm /opt/drill-gone",
        "systemctl stop drill-gone",
        "process_deleted_executable",
        "/opt/drill-gone",
    ),
    run("program from memory", "T1620", f"python3 {SCRIPT} memory", "process_from_memory", "memfd"),
    run(
        "miner",
        "T1496",
        'bash -c \'exec -a "xmrig -o stratum+tcp://192.0.2.1:3333" python3 -c "while True: pass"\'',
        "miner_like_process",
        "miner",
    ),
    run(
        "called like a kernel thread",
        "T1036.004",
        "bash -c 'exec -a \"[kworker/0:3]\" sleep infinity'",
        "process_masquerading",
        "sleep",
    ),
    run(
        "named like a kernel thread",
        "T1036.004",
        f"python3 {SCRIPT} renamed",
        "process_masquerading",
        "kworker",
    ),
    other(
        "program in a folder of dots",
        "T1036.005",
        "mkdir -p '/opt/...'; cp /bin/sleep '/opt/.../crond'; "
        "systemd-run -q --unit drill-dots '/opt/.../crond' infinity",
        "systemctl stop drill-dots; rm -r '/opt/...'",
        "process_odd_path",
        "/opt/.../crond",
    ),
    other(
        "program in /dev",
        "T1564.001",
        "cp /bin/sleep /dev/.drill; systemd-run -q --unit drill-dev /dev/.drill infinity",
        "systemctl stop drill-dev; rm /dev/.drill",
        "process_from_temporary_folder",
        "/dev/.drill",
    ),
    other(
        "foreign library by LD_PRELOAD",
        "T1574.006",
        "cp $(ls /usr/lib/*-linux-gnu/libacl.so.1 | head -n 1) /tmp/drill.so; "
        "systemd-run -q --unit drill-preload -E LD_PRELOAD=/tmp/drill.so sleep infinity",
        "systemctl stop drill-preload; rm /tmp/drill.so",
        "process_preloads",
        "/tmp/drill.so",
    ),
    other(
        "program for logins is traced",
        "T1055.008",
        "systemd-run -q --unit drill-su su ada -c 'sleep 3600'; sleep 1; "
        f"systemd-run -q --unit drill-trace python3 {SCRIPT} trace $(systemctl show -P MainPID drill-su)",
        "systemctl stop drill-trace drill-su",
        "process_traced",
        "/su",
    ),
    other(
        "process hidden by a mount",
        "T1564.013",
        "systemd-run -q --unit drill-hidden sleep infinity; sleep 0.5; mkdir -p /opt/empty; "
        "mount --bind /opt/empty /proc/$(systemctl show -P MainPID drill-hidden)",
        "umount $(awk '/ \\/proc\\/[0-9]/ {print $5}' /proc/self/mountinfo); systemctl stop drill-hidden",
        "process_hidden",
        "/proc/",
    ),
    other(
        "commands in pings",
        "T1095",
        "cp /usr/bin/python3 /opt/drill-pings; systemd-run -q --unit drill-pings /opt/drill-pings -c "
        "'import socket, threading; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); threading.Event().wait()'",
        "systemctl stop drill-pings; rm /opt/drill-pings",
        "raw_socket",
        "/opt/drill-pings",
    ),
    run("sniffer", "T1040", f"python3 {SCRIPT} packets", "packet_capture", "python"),
)
