"""What is unusual for this host: figures far above what they are at this time of the day.

Silent while it learns, a week at least. A figure is unusual when it is large (six deviations and a floor above its
median), rare (a fifth above everything seen in three weeks around this hour), and lasting (three blocks of 5
minutes in a row, by their medians). It is over after three blocks that are not. What is unusual is not learned for
a day, so an attack does not teach that it is normal; what lasts longer is the new normal.

A drift that is slow enough is learned: no method that adapts can tell it from a host that grows. The levels of the
rules do not adapt, and stand where a drift would end.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dio_daemon.clock import Clock
from dio_daemon.detect.conditions import Place, parse_place
from dio_daemon.detect.finding import Finding, Gone
from dio_daemon.detect.history import PER_HOUR, History, Usual, from_disk
from dio_daemon.detect.median import median
from dio_daemon.files import replace_file
from dio_daemon.wire import to_json

log = logging.getLogger(__name__)

BLOCK_S = 300.0
LASTING = 3
"""Blocks in a row."""
DEVIATIONS = 6.0
RARE = 1.2
LEARN_AGAIN_S = 86400.0
SAVE_EVERY_S = 3600.0
STEPPED_S = 300.0
"""A wall clock that went so far from the steady one was stepped: what hour it was is not known."""
MOST_FILE_BYTES = 4 << 20
_BLOCKS_A_VALUE: Final = 3600 / PER_HOUR / BLOCK_S


@dataclass(frozen=True)
class Metric:
    """A figure that is learned. `floor` is how far above its median it must be to matter at all."""

    place: Place
    floor: float
    what: str
    unit: str
    next: str
    technique: str | None = None


def _metric(
    place: str, floor: float, what: str, unit: str, next_: str, technique: str | None = None
) -> Metric:
    return Metric(parse_place(place), floor, what, unit, next_, technique)


METRICS: Final = (
    _metric("cpu.percent", 40.0, "The processor is busier", "%", "Who uses it: dioctl top.", "T1496"),
    _metric("memory.percent", 25.0, "More memory is used", "%", "Who has it: dioctl top."),
    _metric(
        "network.tx_bytes_per_s",
        2e6,
        "More is sent over the network",
        "bytes/s",
        "Who sends, and where to: ss -tupn; nethogs. Is it a backup?",
        "T1048",
    ),
    _metric(
        "network.rx_bytes_per_s",
        5e6,
        "More is received over the network",
        "bytes/s",
        "Who receives: ss -tupn; nethogs.",
    ),
    _metric(
        "processes.count",
        150.0,
        "There are more processes",
        "",
        "Which: ps -eo comm= | sort | uniq -c | sort -n | tail.",
    ),
    _metric(
        "tasks.forks_per_s",
        200.0,
        "More processes are started",
        "/s",
        "A service that restarts: journalctl -p warning -S -15m.",
    ),
    _metric(
        "files.open",
        20_000.0,
        "More files are open",
        "",
        "Who has them: lsof | awk '{print $1}' | sort | uniq -c | sort -n | tail.",
    ),
)
"""Those whose floor says when they matter on any host. What has a limit of its own is the rules' matter."""


@dataclass
class _Learned:
    """One figure: its history and what the newest blocks say."""

    history: History = field(default_factory=History)
    block: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    streak: int = 0
    """Blocks in a row that disagree with the present finding, or with there being none."""
    since: float | None = None
    finding: Finding | None = None


class Baselines:
    """The detector of what is unusual.

    Args:
        path: `baselines.json` in the state folder.
        clock: for the hour of the day.
        metrics: what is learned.
    """

    name = "baselines"

    def __init__(self, path: Path, clock: Clock, metrics: Sequence[Metric] = METRICS) -> None:
        self._path = path
        self._clock = clock
        self._metrics = metrics
        self._learned = {metric.place.text: _Learned() for metric in metrics}
        self._begun: float | None = None
        self._saved = clock.monotonic()
        self._wall_of_steady = self._wall()
        self._load()

    def look(self, sample: Mapping[str, Any], now: float) -> Sequence[Finding | Gone]:
        """All that is unusual now."""
        if self._begun is None:
            self._begun = now
        for metric in self._metrics:
            value = metric.place.figure(sample)
            if value is not None:
                self._learned[metric.place.text].block.append(value)
        if now - self._begun >= BLOCK_S:
            self._end_block(sample, now)
        return [learned.finding for learned in self._learned.values() if learned.finding is not None]

    def close(self) -> None:
        """Write down what was learned."""
        self._save()

    def _end_block(self, sample: Mapping[str, Any], now: float) -> None:
        whole = self._begun is not None and now - self._begun < 2 * BLOCK_S  # longer: the host was suspended
        self._begun = now
        wall, self._wall_of_steady, before = self._wall(), self._wall(), self._wall_of_steady
        known = whole and abs(wall - before) < STEPPED_S
        moment = self._clock.now()
        for metric in self._metrics:
            learned = self._learned[metric.place.text]
            block, learned.block = learned.block, []
            if not known or not block:
                learned.medians.clear()
                continue
            middle = median(block)
            usual = learned.history.usual(moment.hour)
            odd = usual is not None and _unusual(middle, usual, metric.floor)
            self._judge(metric, learned, middle, usual, odd, sample, now)
            if odd and learned.since is not None and now - learned.since < LEARN_AGAIN_S:
                learned.medians.clear()
                continue
            learned.medians.append(middle)
            if len(learned.medians) >= _BLOCKS_A_VALUE:
                learned.history.add(moment.toordinal(), moment.hour, median(learned.medians))
                learned.medians.clear()
        if now - self._saved >= SAVE_EVERY_S:
            self._save()

    @staticmethod
    def _judge(
        metric: Metric,
        learned: _Learned,
        median: float,
        usual: Usual | None,
        odd: bool,
        sample: Mapping[str, Any],
        now: float,
    ) -> None:
        if odd and learned.since is None:
            learned.since = now
        learned.streak = learned.streak + 1 if odd is (learned.finding is None) else 0
        if learned.streak >= LASTING:
            learned.streak = 0
            learned.finding = _finding(metric, median, usual, sample) if odd and usual else None
        elif odd and learned.finding is not None and usual is not None:
            learned.finding = _finding(metric, median, usual, sample)
        if not odd and learned.finding is None:
            learned.since = None

    def _wall(self) -> float:
        """Seconds by which the wall clock is ahead of the steady one."""
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _load(self) -> None:
        try:
            if self._path.stat().st_size > MOST_FILE_BYTES:
                raise ValueError("it is too large")
            kept = json.loads(self._path.read_bytes())["histories"]
            for name, learned in self._learned.items():
                if name in kept:
                    learned.history = from_disk(kept[name])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("Cannot read %s (%s): what is usual on this host is learned anew", self._path, error)
            self._learned = {metric.place.text: _Learned() for metric in self._metrics}

    def _save(self) -> None:
        self._saved = self._clock.monotonic()
        histories = {name: learned.history.to_disk() for name, learned in self._learned.items()}
        try:
            replace_file(self._path, to_json({"histories": histories}), 0o600)
        except OSError as error:
            log.info("Cannot write %s: %s; tried again in an hour", self._path, error.strerror)


def _unusual(value: float, usual: Usual, floor: float) -> bool:
    """Large and rare; whether it lasts is not said by one block."""
    return value > usual.median + floor + DEVIATIONS * usual.deviation and value > RARE * usual.highest


def _finding(metric: Metric, value: float, usual: Usual, sample: Mapping[str, Any]) -> Finding:
    unit = f" {metric.unit}" if metric.unit else ""
    return Finding(
        type="unusual",
        severity="low",
        confidence=0.5,
        subject=metric.place.text,
        title="Unusual for this host",
        summary=f"{metric.what} than ever at this time of the day: {value:,.0f}{unit} for a quarter of an hour, "
        f"usual is {usual.median:,.0f}{unit}.",
        why="It is far outside what this host has done for three weeks. That may be new work, or something that was "
        "not meant to run here.",
        next=metric.next,
        technique=metric.technique,
        evidence={
            "value": value,
            "usual": {"median": usual.median, "deviation": usual.deviation, "highest": usual.highest},
            "days_learned": usual.days,
            "processes": (sample.get("processes") or {}).get("top"),
        },
    )
