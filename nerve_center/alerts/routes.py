"""Who is told what: `notify.toml`, read and checked whole.

    offline_after_s = 120            how long a host is silent, past being offline, before it is told
    group_s = 30                     how long to gather what belongs into one message
    outbreak_hosts = 5               hosts with the same finding that make an outbreak
    center_url = "https://center.example"            where people see the pages; messages link there

    [[route]]
    name = "ops"
    urls = ["ntfys://ntfy.example/dio", "mailtos://user:secret@example.com"]     as Apprise takes them
    severity = "high"                the least (default: medium)
    labels = {role = "web"}          only hosts that have all of these
    types = ["offline", "disk_full"] only these types of threats (default: all)
    cleared = true                   tell as well that it is over
    remind_every_h = 12              until somebody acknowledges it; 0: never

    [[maintenance]]
    name = "patch night"
    days = ["sat"]
    begin = "22:00"
    end = "02:00"
    zone = "Europe/Berlin"
    labels = {role = "web"}

URLs hold secrets: others must not be able to read the file, and no message of this module repeats one.
"""

from __future__ import annotations

import hashlib
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from nerve_center.alerts.windows import DAYS, Window
from nerve_center.errors import ConfigError
from nerve_center.store.threats import SEVERITIES

_MOST_BYTES = 262_144
_MOST = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_CENTER = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,255}(/[A-Za-z0-9._~/-]{0,255})?")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True)
class Target:
    """One address. `id` tells it from others without showing it."""

    url: str = field(repr=False)

    @property
    def id(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """As much as may be seen: the kind of service."""
        return self.url.partition(":")[0] + "://…"


@dataclass(frozen=True)
class Route:
    """Who is told, and what. `rank` is the least severity, 1 (low) to 4 (critical)."""

    name: str
    targets: tuple[Target, ...]
    rank: int = 2
    labels: Mapping[str, str] = field(default_factory=dict)
    types: frozenset[str] = frozenset()
    cleared: bool = True
    remind_every_h: float = 24.0

    def wants(self, rank: int, type_: str, labels: Mapping[str, str]) -> bool:
        """Whether a threat is this route's business."""
        if rank < self.rank or (self.types and type_ not in self.types):
            return False
        return all(labels.get(name) == value for name, value in self.labels.items())


@dataclass(frozen=True)
class Plan:
    """All of the file."""

    routes: tuple[Route, ...] = ()
    windows: tuple[Window, ...] = ()
    offline_after_s: float = 120.0
    group_s: float = 30.0
    outbreak_hosts: int = 5
    center_url: str = ""
    """Without a slash at its end; empty: messages have no links."""


def load(path: Path) -> Plan:
    """Read the file; none means that nobody is told anything. Raises ConfigError with every mistake and its line."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            raw = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return Plan()
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read: {exc.strerror}"]) from exc
    if mode & 0o007:
        raise ConfigError([f"{path}: it holds secrets and others may read it; run: chmod o= {path}"])
    try:
        if len(raw) > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES} bytes")
        text = raw.decode("utf-8")
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError([f"{path}: {exc}"]) from exc
    reader = _Reader(path, text)
    plan = reader.plan(document)
    if reader.errors:
        raise ConfigError(reader.errors)
    return plan


class _Reader:
    """Turns the document into a Plan and gathers what is wrong with it."""

    def __init__(self, path: Path, text: str) -> None:
        self.errors: list[str] = []
        self._path = path
        self._lines = text.splitlines()

    def plan(self, document: Mapping[str, Any]) -> Plan:
        values = dict(document)
        routes = tuple(self._tables(values, "route", self._route))
        windows = tuple(self._tables(values, "maintenance", self._window))
        names = [route.name for route in routes]
        for name in {name for name in names if names.count(name) > 1}:
            self._wrong(self._line("route", names.index(name)), f"two routes have the name {name!r}")
        numbers = {
            name: self._number(values, name, 1, low, high, default)
            for name, low, high, default in (
                ("offline_after_s", 0, 86400, Plan.offline_after_s),
                ("group_s", 0, 3600, Plan.group_s),
                ("outbreak_hosts", 2, 100_000, Plan.outbreak_hosts),
            )
        }
        center_url = values.pop("center_url", "")
        if not isinstance(center_url, str) or (center_url and not _CENTER.fullmatch(center_url)):
            self._wrong(1, "center_url must be an address such as https://center.example:8443")
            center_url = ""
        self._no_more(values, 1, "at the top of the file")
        return Plan(
            routes,
            windows,
            numbers["offline_after_s"],
            numbers["group_s"],
            int(numbers["outbreak_hosts"]),
            center_url.rstrip("/"),
        )

    def _tables(
        self, values: dict[str, Any], name: str, make: Callable[[dict[str, Any], int], Any]
    ) -> Iterator[Any]:
        found = values.pop(name, [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            self._wrong(1, f"{name} must be tables: write [[{name}]]")
            return
        if len(found) > _MOST:
            self._wrong(1, f"at most {_MOST} of [[{name}]]")
            return
        for index, item in enumerate(found):
            line, before = self._line(name, index), len(self.errors)
            made = make(dict(item), line)
            if len(self.errors) == before:
                yield made

    def _route(self, values: dict[str, Any], line: int) -> Route | None:
        name = self._name(values, line)
        urls = values.pop("urls", None)
        if not isinstance(urls, list) or not 0 < len(urls) <= _MOST:
            self._wrong(line, "urls must be a list of addresses as Apprise takes them")
            urls = []
        targets = []
        for number, url in enumerate(urls, start=1):
            if isinstance(url, str) and _URL.fullmatch(url):
                targets.append(Target(url))
            else:
                self._wrong(line, f"address {number} of urls is none: it begins like mailto:// or json://")
        severity = values.pop("severity", "medium")
        if severity not in SEVERITIES:
            self._wrong(line, f"severity must be one of {', '.join(SEVERITIES)}")
            severity = "medium"
        types = values.pop("types", [])
        if not isinstance(types, list) or not all(isinstance(item, str) for item in types):
            self._wrong(line, "types must be a list of texts")
            types = []
        cleared = values.pop("cleared", True)
        if not isinstance(cleared, bool):
            self._wrong(line, "cleared must be true or false")
        remind = self._number(values, "remind_every_h", line, 0, 8760, Route.remind_every_h)
        labels = self._labels(values, line)
        self._no_more(values, line, "in [[route]]")
        rank = SEVERITIES.index(severity) + 1
        return Route(name, tuple(targets), rank, labels, frozenset(types), bool(cleared), remind)

    def _window(self, values: dict[str, Any], line: int) -> Window | None:
        name = self._name(values, line)
        days = values.pop("days", list(DAYS))
        if not isinstance(days, list) or not days or not all(day in DAYS for day in days):
            self._wrong(line, f"days must be some of {', '.join(DAYS)}")
            days = []
        begin, end = (self._clock(values, key, line) for key in ("begin", "end"))
        zone = values.pop("zone", "UTC")
        try:
            found = ZoneInfo(zone)
        except (OSError, ValueError, TypeError, KeyError):
            self._wrong(line, "zone must be the name of a time zone, such as Europe/Berlin")
            found = ZoneInfo("UTC")
        labels = self._labels(values, line)
        self._no_more(values, line, "in [[maintenance]]")
        return Window(name, frozenset(days), begin, end, found, labels)

    def _name(self, values: dict[str, Any], line: int) -> str:
        name = values.pop("name", None)
        if isinstance(name, str) and _NAME.fullmatch(name):
            return name
        self._wrong(line, "name must be 1 to 64 letters, digits, spaces, dots, dashes or underscores")
        return ""

    def _labels(self, values: dict[str, Any], line: int) -> dict[str, str]:
        labels = values.pop("labels", {})
        if isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()):
            return labels
        self._wrong(line, 'labels must be a table of texts: labels = {role = "web"}')
        return {}

    def _clock(self, values: dict[str, Any], key: str, line: int) -> time:
        value = values.pop(key, None)
        found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self._wrong(line, f'{key} must be a time of day, such as "22:00"')
            return time()
        return time(int(found[1]), int(found[2]))

    def _number(
        self, values: dict[str, Any], key: str, line: int, low: float, high: float, default: float
    ) -> float:
        value = values.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self._wrong(line, f"{key} must be a number, {low} to {high}")
            return default
        return float(value)

    def _no_more(self, values: Mapping[str, Any], line: int, where: str) -> None:
        for key in values:
            self._wrong(line, f"unknown key {key} {where}")

    def _line(self, table: str, index: int) -> int:
        """Where the nth [[table]] stands."""
        heads = [
            number
            for number, text in enumerate(self._lines, start=1)
            if re.match(rf"\s*\[\[\s*{table}\s*\]\]", text)
        ]
        return heads[index] if index < len(heads) else 1

    def _wrong(self, line: int, what: str) -> None:
        self.errors.append(f"{self._path}:{line}: {what}")
