"""The agent and its latest sample as Prometheus text (exposition format 0.0.4).

Written by hand: a registry of the client library would hold every figure a second time, and cost the agent more
memory than the rest of the control socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dio_daemon.lifecycle import Snapshot, State

_GROUPS = {
    "cpu": ("percent", "user_percent", "system_percent", "iowait_percent", "steal_percent"),
    "memory": ("total_bytes", "available_bytes", "used_bytes", "percent"),
    "swap": ("total_bytes", "used_bytes", "percent"),
    "load": ("load_1m", "load_5m", "load_15m"),
    "pressure": (
        "cpu_some_percent",
        "memory_some_percent",
        "memory_full_percent",
        "io_some_percent",
        "io_full_percent",
    ),
}
_LISTS = {
    "disks": ("disk", "mount", ("total_bytes", "used_bytes", "free_bytes", "percent", "inodes_percent")),
    "disk_io": ("disk_io", "device", ("read_bytes_per_s", "write_bytes_per_s", "busy_percent")),
}
_STREAM = (
    ("pending", "pending", "Records that wait for delivery."),
    ("kept", "kept", "Records that are kept, delivered or not."),
    ("next_seq", "next_seq", "The number that the next record gets."),
    ("acknowledged_seq", "acknowledged_seq", "The last record that the nerve center has committed."),
)
_INTERFACE = ("rx_bytes_per_s", "tx_bytes_per_s", "errors_per_s", "drops_per_s")


def exposition(
    snapshot: Snapshot,
    spool: Mapping[str, Any],
    threads: Mapping[str, Any],
    sample: Mapping[str, Any] | None,
    version: str,
    paused_s: float,
    now: float,
) -> str:
    """The text of `/v1/metrics`.

    Args:
        snapshot: the agent's state.
        spool: the document of `/v1/spool`.
        threads: the document of `/v1/threads`.
        sample: the latest sample; what it has not is left out, never 0.
        version: of the agent.
        paused_s: seconds until a maintenance window ends, 0 without one.
        now: seconds on the clock that the snapshot's moments are on.
    """
    lines: list[str] = []
    last = ""
    figures = (*_agent(snapshot, threads, version, paused_s, now), *_spool(spool), *_host(sample or {}))
    for name, labels, value, about in figures:
        if name != last:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
            last = name
        text = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        lines.append(f"{name}{{{text}}} {value!r}" if text else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


Figure = tuple[str, dict[str, str], float, str]


def _agent(
    snapshot: Snapshot, threads: Mapping[str, Any], version: str, paused_s: float, now: float
) -> Iterator[Figure]:
    yield "dio_agent_info", {"version": version, "agent_id": snapshot.agent_id}, 1, "The agent on this host."
    for state in State:
        yield (
            "dio_agent_state",
            {"state": state.value},
            int(snapshot.state is state),
            "1 for the state it is in.",
        )
    yield "dio_agent_consecutive_failures", {}, snapshot.failures, "Reports in a row that failed."
    if snapshot.last_acknowledged is not None:
        age = round(now - snapshot.last_acknowledged, 3)
        yield "dio_agent_acknowledged_age_seconds", {}, age, "Since the last acknowledged report."
    yield (
        "dio_agent_paused_seconds",
        {},
        round(paused_s, 3),
        "Until a pause of reporting ends; 0 without one.",
    )
    for code in snapshot.conditions:
        yield "dio_agent_condition", {"code": code}, 1, "Conditions that hold; see dioctl status."
    for name, beat in threads.items():
        about = "Until a thread counts as hung; negative when it does."
        yield "dio_agent_thread_left_seconds", {"thread": name}, beat["hung_in_s"], about


def _spool(spool: Mapping[str, Any]) -> Iterator[Figure]:
    yield "dio_spool_bytes", {}, spool["bytes"], "Bytes of the spool in use."
    yield "dio_spool_max_bytes", {}, spool["max_bytes"], "Bytes that the spool may use."
    yield "dio_spool_dead_letters", {}, spool["dead_letters"], "Records that the nerve center called invalid."
    for name, key, about in _STREAM:
        for stream, figures in spool["streams"].items():
            yield f"dio_spool_{name}", {"stream": stream}, figures[key], about
    for stream, figures in spool["streams"].items():
        for reason, count in figures["gaps"].items():
            about = "Records that are missing, by reason."
            yield "dio_spool_gap_records", {"stream": stream, "reason": reason}, count, about


def _host(sample: Mapping[str, Any]) -> Iterator[Figure]:
    about = "As in the latest sample; see the nerve center's SampleData."
    for group, names in _GROUPS.items():
        for name in names:
            if (value := _number(sample.get(group), name)) is not None:
                yield f"dio_host_{group}_{name.removeprefix('load_')}", {}, value, about
    for group, (prefix, key, names) in _LISTS.items():
        for name in names:
            for item in sample.get(group) or ():
                if (value := _number(item, name)) is not None:
                    yield f"dio_host_{prefix}_{name}", {key: item[key]}, value, about
    network = sample.get("network") or {}
    for name in _INTERFACE:
        for item in network.get("interfaces") or ():
            if (value := _number(item, name)) is not None:
                yield f"dio_host_network_{name}", {"interface": item["name"]}, value, about
    for name in ("count", "running", "zombies"):
        if (value := _number(sample.get("processes"), name)) is not None:
            yield f"dio_host_processes_{name}", {}, value, about
    if (value := _number(sample, "uptime_s")) is not None:
        yield "dio_host_uptime_seconds", {}, value, about


def _number(group: Any, name: str) -> float | None:
    value = group.get(name) if isinstance(group, dict) else None
    return value if isinstance(value, (int, float)) else None


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
