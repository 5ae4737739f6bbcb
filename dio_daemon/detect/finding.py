"""What a detector says of the host.

A detector is level-triggered: each `look` returns everything that is the case now, and what it no longer returns is
over. What happens once (a line was added to a crontab) is a finding with `hold_s`: it is returned once and stays
until the detector returns `Gone` for it, somebody marks it as normal, or `hold_s` have passed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from dio_daemon.text import safe

SEVERITIES: Final = ("low", "medium", "high", "critical")
"""From the mildest on."""

MOST_EVIDENCE_BYTES = 16_384
MOST_TEXT = 1_000
MOST_ITEMS = 200
MOST_DEPTH = 6


def fingerprint(type_: str, subject: str) -> str:
    """The same for the same type and subject, on this host and over restarts: 32 hex digits."""
    return hashlib.sha256(f"{type_}\0{subject}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True)
class Finding:
    """Something is the case that should not be.

    Args:
        type: what kind of thing, such as `disk_space`: lower case letters, digits and `_.-`, at most 64.
        severity: one of `SEVERITIES`.
        confidence: 0 to 1; how sure it is that a person would want to know.
        subject: what it is about, such as a mount or a path; with the type it makes the fingerprint, so nothing
            that changes while the cause stays (a figure, a pid) belongs into it.
        summary: one sentence: what happened.
        why: why it matters.
        next: what to look at next.
        technique: of ATT&CK, such as `T1053.003`.
        title: a heading of a few words; empty: the type in words.
        evidence: JSON, as it was at that moment; past `MOST_EVIDENCE_BYTES` its largest parts are left out.
        hold_s: None for what is returned as long as it is the case; seconds for what happens once.
        version: of what lasts: another one means that something else happened to the same subject, which is told.
    """

    type: str
    severity: str
    confidence: float
    subject: str
    summary: str
    why: str = ""
    next: str = ""
    technique: str | None = None
    title: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    hold_s: float | None = None
    version: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """What tells it from every other one of this host."""
        return fingerprint(self.type, self.subject)


@dataclass(frozen=True)
class Gone:
    """What happened once is undone: the cause of an earlier finding with `hold_s` is no longer there."""

    type: str
    subject: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the finding that is over."""
        return fingerprint(self.type, self.subject)


class Detector(Protocol):
    """Looks for one family of trouble. `look` is called by one thread, once a sampling step or more often."""

    @property
    def name(self) -> str:
        """For people: `rules`, `files`."""

    def look(self, sample: Mapping[str, Any], now: float) -> Sequence[Finding | Gone]:
        """All that is the case now.

        Args:
            sample: the newest sample (`SampleData` of the contract).
            now: monotonic seconds.
        """


def level(severity: str) -> int:
    """How severe: 0 for low to 3 for critical."""
    return SEVERITIES.index(severity)


def bounded(evidence: Mapping[str, Any], most: int = MOST_EVIDENCE_BYTES) -> dict[str, Any]:
    """Evidence that can go out and fits: what is too large is left out, the largest parts first, and counted.

    Texts keep their line ends and lose other control characters; what JSON does not have becomes text.
    """
    kept = {str(name)[:64]: _plain(value, MOST_DEPTH) for name, value in evidence.items()}
    sizes = {name: len(json.dumps(value)) + len(name) + 8 for name, value in kept.items()}
    left_out = 0
    while sizes and sum(sizes.values()) > most:
        largest = max(sizes, key=lambda name: sizes[name])
        del sizes[largest], kept[largest]
        left_out += 1
    return kept | {"left_out": left_out} if left_out else kept


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return "\n".join(safe(line, MOST_TEXT) for line in value[:MOST_EVIDENCE_BYTES].split("\n"))
    if isinstance(value, (dict, list, tuple)) and depth == 0:
        return "…"
    if isinstance(value, dict):
        items = list(value.items())[:MOST_ITEMS]
        return {safe(str(name), 64): _plain(item, depth - 1) for name, item in items}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value[:MOST_ITEMS]]
    return safe(repr(value), MOST_TEXT)
