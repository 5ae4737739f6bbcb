"""The peers from Debian that run beside the agent: how each is started with the agent's interval, and installed.

glances exports each sample to a file, prometheus-node-exporter is scraped once an interval, collectd and netdata keep
what they read in files of their own; all with what Debian's packages turn on, as far as it works without systemd.
netdata tells nobody of itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import running
from tests.support.ports import free_port

_COLLECTD = (
    "cpu",
    "df",
    "disk",
    "interface",
    "load",
    "memory",
    "processes",
    "swap",
    "uptime",
    "users",
    "csv",
)
_SCRAPE_S = 10.0


@dataclass(frozen=True)
class Peer:
    """One of them: its name, which is its command's, Debian's package, and how it is started in a folder."""

    name: str
    package: str
    command: Callable[[Path, int, int], list[str]]
    scraped: bool = False


def _glances(folder: Path, interval_s: int, port: int) -> list[str]:
    export = ["--export", "json", "--export-json-file", str(folder / "glances.json")]
    return ["glances", "-q", "-t", str(interval_s), "--disable-check-update", *export]


def _node_exporter(folder: Path, interval_s: int, port: int) -> list[str]:
    return ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"]


def _collectd(folder: Path, interval_s: int, port: int) -> list[str]:
    lines = ['Hostname "bench"', f'BaseDir "{folder}"', f'PIDFile "{folder}/collectd.pid"']
    lines += [f"Interval {interval_s}", *(f"LoadPlugin {name}" for name in _COLLECTD)]
    lines += ["<Plugin csv>", f'  DataDir "{folder}/collectd"', "</Plugin>", ""]
    (folder / "collectd.conf").write_text("\n".join(lines))
    return ["collectd", "-f", "-C", str(folder / "collectd.conf")]


def _netdata(folder: Path, interval_s: int, port: int) -> list[str]:
    places = {name: folder / "netdata" / name for name in ("config", "cache", "lib", "log", "home")}
    for place in places.values():
        place.mkdir(parents=True)
    (places["config"] / ".opt-out-from-anonymous-statistics").touch()
    lines = ["[global]", "run as user = root", f"update every = {interval_s}"]
    lines += [
        "[db]",
        f"update every = {interval_s}",
        "[web]",
        f"default port = {port}",
        "bind to = 127.0.0.1",
    ]
    lines += ["[cloud]", "enabled = no", "[directories]"]
    lines += [f"{name} = {place}" for name, place in places.items()]
    (places["config"] / "netdata.conf").write_text("\n".join(lines) + "\n")
    return ["netdata", "-D", "-c", str(places["config"] / "netdata.conf")]


PEERS = (
    Peer("glances", "glances", _glances),
    Peer("prometheus-node-exporter", "prometheus-node-exporter", _node_exporter, scraped=True),
    Peer("collectd", "collectd-core", _collectd),
    Peer("netdata", "netdata-core", _netdata),
)


class Running:
    """Those that are installed, running; `pids` by name."""

    def __init__(self, stack: ExitStack, folder: Path, interval_s: int) -> None:
        self.pids: dict[str, int] = {}
        self._scraped: list[str] = []
        for peer in PEERS:
            if shutil.which(peer.name) is None:
                continue
            port, own = free_port(), folder / f"peer-{peer.name}"
            own.mkdir()
            command = peer.command(own, interval_s, port)
            self.pids[peer.name] = stack.enter_context(running(command, own, peer.name))[0]
            if peer.scraped:
                self._scraped.append(f"http://127.0.0.1:{port}/metrics")

    def scrape(self) -> None:
        """Ask whoever is asked, as Prometheus does. Raises OSError."""
        for url in self._scraped:
            with urllib.request.urlopen(url, timeout=_SCRAPE_S) as answer:
                answer.read()


def install() -> None:
    """Install what is missing by apt, as root; say it otherwise."""
    missing = [peer.package for peer in PEERS if shutil.which(peer.name) is None]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"Left out, not installed: {', '.join(missing)}. As root: {' '.join(command)}")
        return
    print(f"Installing by apt: {', '.join(missing)}")
    subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment)
    still = [peer.package for peer in PEERS if shutil.which(peer.name) is None]
    if still:
        print(f"Left out, not to be had: {', '.join(still)}")


def versions() -> dict[str, str]:
    """The versions of their packages, as far as dpkg knows them."""
    found = {}
    for peer in PEERS:
        query = ["dpkg-query", "-W", "-f", "${Version}", peer.package]
        try:
            asked = subprocess.run(query, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            return {}
        found[peer.name] = asked.stdout or "not installed by dpkg"
    return found
