"""One threat: what the book knows of it, in memory, on disk and on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from dio_daemon import threat_log
from dio_daemon.detect.finding import MOST_TEXT, SEVERITIES, Finding, bounded
from dio_daemon.text import safe


@dataclass
class Threat:
    """A finding and its life. Times are RFC 3339.

    `count` says how often its cause was seen to begin, or to happen; `hold_left_s` how long one that happened once
    stays. What stands below `present` is of this process only and not kept.
    """

    fingerprint: str
    type: str
    subject: str
    severity: str
    confidence: float
    title: str
    summary: str
    why: str
    next: str
    technique: str | None
    evidence: dict[str, Any]
    state: str
    first_seen: str
    last_seen: str
    opened_at: str
    cleared_at: str | None = None
    count: int = 1
    hold_left_s: float | None = None

    present: bool = field(default=True, metadata={"kept": False})
    seen: float = field(default=0.0, metadata={"kept": False})
    milder_since: float | None = field(default=None, metadata={"kept": False})
    told: float = field(default=0.0, metadata={"kept": False})
    version: str | None = field(default=None, metadata={"kept": False})
    retold: int = field(default=0, metadata={"kept": False})
    cleared: list[float] = field(default_factory=list, metadata={"kept": False})
    reason: str = field(default="", metadata={"kept": False})
    """Why it is cleared, where its cause may still be there."""

    @property
    def open(self) -> bool:
        """Whether it is open."""
        return self.state == "open"

    def take(self, finding: Finding) -> None:
        """What a finding says of it now, all but the severity."""
        self.confidence = min(1.0, max(0.0, finding.confidence))
        self.title = safe(finding.title or finding.type.replace("_", " ").capitalize(), 128)
        self.summary = safe(finding.summary, MOST_TEXT)
        self.why = safe(finding.why, MOST_TEXT)
        self.next = safe(finding.next, MOST_TEXT)
        self.technique = finding.technique
        self.evidence = bounded(finding.evidence)

    def line(self) -> threat_log.Threat:
        """What the journal says of it."""
        return threat_log.Threat(self.fingerprint, self.type, self.severity, self.summary)

    def data(self) -> dict[str, Any]:
        """The contract's `ThreatData`."""
        return {
            **({"reason": self.reason} if self.reason else {}),
            "type": self.type,
            "severity": self.severity,
            "confidence": self.confidence,
            "fingerprint": self.fingerprint,
            "state": self.state,
            "title": self.title,
            "subject": self.subject,
            "summary": self.summary,
            "why": self.why,
            "next": self.next,
            "technique": self.technique,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "count": self.count,
            "evidence": self.evidence,
        }


KEPT = tuple(item.name for item in fields(Threat) if item.metadata.get("kept", True))


def opened(finding: Finding, moment: str) -> Threat:
    """A threat that a finding opens."""
    threat = Threat(
        fingerprint=finding.fingerprint,
        type=finding.type,
        subject=safe(finding.subject, MOST_TEXT),
        severity=finding.severity,
        confidence=0.0,
        title="",
        summary="",
        why="",
        next="",
        technique=None,
        evidence={},
        state="open",
        first_seen=moment,
        last_seen=moment,
        opened_at=moment,
    )
    threat.take(finding)
    return threat


def to_disk(threat: Threat) -> dict[str, Any]:
    """What is kept of it; of one that is cleared, without the evidence."""
    kept = {name: getattr(threat, name) for name in KEPT}
    return kept if threat.open else kept | {"evidence": {}}


def from_disk(kept: Any) -> Threat:
    """A threat as it was kept. Raises ValueError for what is none."""
    if not isinstance(kept, dict):
        raise ValueError("not a threat")
    try:
        threat = Threat(**{name: kept[name] for name in KEPT})
    except KeyError as error:
        raise ValueError(f"no {error}") from error
    texts = (threat.fingerprint, threat.type, threat.subject, threat.first_seen, threat.opened_at)
    if (
        not all(isinstance(text, str) for text in texts)
        or threat.severity not in SEVERITIES
        or threat.state not in ("open", "cleared")
        or not isinstance(threat.count, int)
        or not isinstance(threat.evidence, dict)
        or not isinstance(threat.hold_left_s, int | float | None)
        or datetime.fromisoformat(threat.opened_at).tzinfo is None
    ):
        raise ValueError("not a threat")
    return threat
