"""What the network interfaces do.

The totals are those of the physical uplinks: bridges, bonds, tunnels and the virtual ends of containers carry
the same packets once more. A guest without any physical interface (a container) has those of its default
routes for uplinks.
"""

# The functions of os cost a tenth of those of pathlib, and this runs at every sample.
# ruff: noqa: PTH110, PTH115, PTH119

import os
from typing import Any

import psutil

from dio_daemon.collect.procfs import Roots, read_text
from dio_daemon.collect.rates import percent, rate
from dio_daemon.text import safe

MOST_INTERFACES = 64


class Network:
    """Rates of the interfaces since the sample before."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._before: dict[str, Any] = {}

    def sample(self, interval_s: float | None) -> dict[str, Any]:
        """Return the group: physical interfaces first. Raises OSError, ValueError."""
        # nowrap would add up wraps in psutil's own memory; a counter that went back is null here.
        now: dict[str, Any] = psutil.net_io_counters(pernic=True, nowrap=False) or {}
        before, self._before = self._before, now
        physical = {name for name in now if self._is_physical(name)}
        chosen = sorted(now, key=lambda name: (name not in physical, name))[:MOST_INTERFACES]
        stats = _stats(chosen)
        interfaces = [
            _interface(name, now[name], before.get(name), interval_s)
            | {"physical": name in physical}
            | _link(stats.get(name), now[name], before.get(name), interval_s)
            for name in chosen
        ]
        uplinks = {name for name in physical if self._master(name) not in physical} or self._routed()
        rates = [
            (
                rate(now[name].bytes_recv, getattr(before.get(name), "bytes_recv", None), interval_s),
                rate(now[name].bytes_sent, getattr(before.get(name), "bytes_sent", None), interval_s),
            )
            for name in sorted(uplinks & now.keys())
        ]
        return {
            "rx_bytes_per_s": _total([received for received, _ in rates]),
            "tx_bytes_per_s": _total([sent for _, sent in rates]),
            "interfaces": interfaces,
        }

    def _is_physical(self, name: str) -> bool:
        """Whether a device of a bus (PCI, virtio, USB …) is behind the interface."""
        return os.path.exists(f"{self._roots.sys}/class/net/{name}/device")

    def _master(self, name: str) -> str | None:
        """Return the interface that this one is a member of; of two physical ones only the master counts."""
        try:
            return os.path.basename(os.readlink(f"{self._roots.sys}/class/net/{name}/master"))
        except OSError:
            return None

    def _routed(self) -> set[str]:
        """Return the interfaces of the IPv4 default routes."""
        try:
            lines = read_text(f"{self._roots.proc}/net/route").splitlines()[1:]
        except OSError:
            return set()
        routes = [line.split() for line in lines]
        return {
            route[0] for route in routes if len(route) > 7 and route[1] == "0" * 8 and route[7] == "0" * 8
        }


def _stats(names: list[str]) -> dict[str, Any]:
    """Return state and speed of the interfaces, as far as they can be told."""
    try:
        stats = psutil.net_if_stats()
    except (OSError, ValueError):
        return {}
    return {name: stats[name] for name in names if name in stats}


def _link(stats: Any, new: Any, old: Any, interval_s: float | None) -> dict[str, Any]:
    """Whether it is up, and how much of its speed is used; a virtual one has no speed."""
    if stats is None:
        return {"up": None, "busy_percent": None}
    rates = [
        rate(getattr(new, field), getattr(old, field, None), interval_s)
        for field in ("bytes_recv", "bytes_sent")
    ]
    known = [value for value in rates if value is not None]
    speed = stats.speed * 1e6 / 8  # megabits a second; 0 and 65535 stand for unknown
    busy = percent(max(known), speed) if known and 0 < stats.speed < 65535 else None
    return {"up": bool(stats.isup), "busy_percent": busy}


def _interface(name: str, new: Any, old: Any, interval_s: float | None) -> dict[str, Any]:
    def per_second(*fields: str) -> float | None:
        if old is None:
            return None
        return rate(
            sum(getattr(new, field) for field in fields),
            sum(getattr(old, field) for field in fields),
            interval_s,
        )

    return {
        "name": safe(name, 255),
        "rx_bytes_per_s": per_second("bytes_recv"),
        "tx_bytes_per_s": per_second("bytes_sent"),
        "rx_packets_per_s": per_second("packets_recv"),
        "tx_packets_per_s": per_second("packets_sent"),
        "errors_per_s": per_second("errin", "errout"),
        "drops_per_s": per_second("dropin", "dropout"),
    }


def _total(rates: list[float | None]) -> float | None:
    """Return the sum of the rates that are known, None when none is."""
    known = [value for value in rates if value is not None]
    return round(sum(known), 2) if known else None
