"""The newest sample of a nerve center's one agent: a screen that is redrawn, or a line for each sample."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from typing import Any, TextIO

TIMEOUT_S = 5
BAR = 30
CLEAR = "\x1b[H\x1b[J"
Sample = dict[str, Any]


class LiveView:
    """Asks the nerve center and shows what it answers."""

    def __init__(self, url: str, token: str, out: TextIO, heading: list[str]) -> None:
        self._heading = heading
        self._url = url
        self._token = token
        self._out = out
        self._agent: str | None = None
        self._shown: tuple[str, int] | None = None

    def show(self, notes: list[str]) -> None:
        """Show the newest sample: on a terminal over the one before, elsewhere only when it is new."""
        try:
            record = self._newest()
        except (OSError, ValueError, LookupError) as error:
            notes = [*notes, f"The nerve center did not answer: {error}"]
            record = None
        if self._out.isatty():
            columns, rows = shutil.get_terminal_size()
            lines = screen(record) if record else ["No sample has arrived yet."]
            lines = [*self._heading, "", *lines, "", *notes, "Ctrl-C stops both."]
            text = "\n".join(line[: columns - 1] for line in lines[: rows - 1])
            self._out.write(CLEAR + text + "\n")
        elif record and record["key"] != self._shown:
            self._shown = record["key"]
            self._out.write(one_line(record) + "\n")
        self._out.flush()

    def _newest(self) -> Sample | None:
        if self._agent is None:
            agents = self._get("/api/v1/agents?limit=1000")["agents"]
            if not agents:
                return None
            self._agent = max(agents, key=lambda agent: agent.get("last_registered_at") or "")["id"]
        agent = self._get(f"/api/v1/agents/{self._agent}")
        samples = self._get(f"/api/v1/agents/{self._agent}/samples?limit=1&newest=true")["samples"]
        if not samples:
            return None
        return {"agent": agent, "key": (samples[-1]["epoch"], samples[-1]["seq"]), **samples[-1]}

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 - an http URL on loopback
            self._url + path, headers={"Authorization": f"Bearer {self._token}"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the same
            return json.load(answer)


def one_line(record: Sample) -> str:
    """Return a sample as one line."""
    data = record["data"]
    network = data.get("network") or {}
    disks = data.get("disks") or [{}]
    return (
        f"{record['time']} {record['agent']['hostname']} seq {record['seq']}: cpu {share(data, 'cpu')}, "
        f"memory {share(data, 'memory')}, load {figure((data.get('load') or {}).get('load_1m'))}, "
        f"{disks[0].get('mount', '/')} {percent(disks[0].get('percent'))}, "
        f"in {size(network.get('rx_bytes_per_s'))}/s, out {size(network.get('tx_bytes_per_s'))}/s, "
        f"{figure((data.get('processes') or {}).get('count'))} processes"
    )


def screen(record: Sample) -> list[str]:
    """Return a sample as the lines of a screen."""
    data, agent = record["data"], record["agent"]
    cpu, memory, swap = (data.get(group) or {} for group in ("cpu", "memory", "swap"))
    load, pressure, network = (data.get(group) or {} for group in ("load", "pressure", "network"))
    processes = data.get("processes") or {}
    averages = " ".join(figure(load.get(f"load_{minutes}m")) for minutes in (1, 5, 15))
    lines = [
        f"{agent['hostname']}  {agent['id']}  {agent['state']}",
        f"sample {record['seq']} of {record['time']}, up {figure(data.get('uptime_s'))} s",
        "",
        f"cpu     {bar(cpu.get('percent'))}  user {percent(cpu.get('user_percent'))}, "
        f"system {percent(cpu.get('system_percent'))}, waiting for disks {percent(cpu.get('iowait_percent'))}",
        f"memory  {bar(memory.get('percent'))}  {part(memory)}",
        f"swap    {bar(swap.get('percent'))}  {part(swap)}",
        f"load    {averages}   stalled for cpu {percent(pressure.get('cpu_some_percent'))}, "
        f"memory {percent(pressure.get('memory_some_percent'))}, disks {percent(pressure.get('io_some_percent'))}",
        f"network in {size(network.get('rx_bytes_per_s'))}/s, out {size(network.get('tx_bytes_per_s'))}/s",
        "",
    ]
    for disk in (data.get("disks") or [])[:6]:
        lines.append(
            f"{bar(disk.get('percent'))}  {disk['mount']}: {size(disk.get('free_bytes'))} free"
            + ("" if disk.get("status") == "ok" else f" ({disk.get('status')})")
        )
    for device in (data.get("disk_io") or [])[:4]:
        lines.append(
            f"{device['device']}: reads {size(device.get('read_bytes_per_s'))}/s, "
            f"writes {size(device.get('write_bytes_per_s'))}/s, busy {percent(device.get('busy_percent'))}"
        )
    lines += ["", f"{figure(processes.get('count'))} processes, {figure(processes.get('running'))} running"]
    lines.append(f"{'pid':>8} {'cpu':>7} {'memory':>10}  name")
    for entry in processes.get("top") or []:
        lines.append(
            f"{entry['pid']:>8} {percent(entry.get('cpu_percent')):>7} {size(entry.get('rss_bytes')):>10}  "
            f"{entry['name']} ({entry.get('user') or '?'})"
        )
    return lines


def bar(value: float | None) -> str:
    """Return a bar for a percentage."""
    filled = round(BAR * min(max(value or 0.0, 0.0), 100.0) / 100)
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {percent(value):>6}"


def part(group: Sample) -> str:
    """Return how much of a group's total is used."""
    return f"{size(group.get('used_bytes'))} of {size(group.get('total_bytes'))}"


def share(data: Sample, group: str) -> str:
    """Return a group's percentage."""
    return percent((data.get(group) or {}).get("percent"))


def percent(value: float | None) -> str:
    """Return a percentage; a question mark for what is not known."""
    return "?" if value is None else f"{value:.1f}%"


def figure(value: float | None) -> str:
    """Return a number; a question mark for what is not known."""
    return "?" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def size(value: float | None) -> str:
    """Return bytes in a unit that is easy to read; a question mark for what is not known."""
    if value is None:
        return "?"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
