"""What the journal says of threats: one line when a threat opens, escalates or clears, under the threat's id.

    log = ThreatLog(feed.publish)
    log.opened(Threat("9c1e...", "disk_full", "high", "/srv is 97 % full"))

Followers of `/v1/events` are told the same as kind `threat`. Called by whoever decides on threats, once a change
is in the spool; nothing here blocks or raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dio_daemon.messages import Kind, about
from dio_daemon.text import safe

log = logging.getLogger(__name__)

_LEVELS = {"low": logging.INFO, "medium": logging.WARNING, "high": logging.WARNING, "critical": logging.ERROR}
"""Of a threat that opens or escalates; one that clears is good news whatever it was."""
_MAX_SUMMARY = 500


@dataclass(frozen=True)
class Threat:
    """What is told of a threat.

    Args:
        threat_id: tells it from every other one, the same from opening to clearing.
        type: of the threat, as a word.
        severity: low, medium, high or critical, as it is now.
        summary: one sentence; what a host or a process called itself may be in it.
    """

    threat_id: str
    type: str
    severity: str
    summary: str


class ThreatLog:
    """Tells of threats. May be used from any thread.

    Args:
        publish: told of every change as well, kind first; must not block.
    """

    def __init__(self, publish: Callable[[str, dict[str, Any]], None]) -> None:
        self._publish = publish

    def opened(self, threat: Threat) -> None:
        """A threat that was not there before."""
        self._tell("opened", Kind.THREAT_OPENED, threat)

    def escalated(self, threat: Threat, was: str) -> None:
        """An open threat became more severe; `was` is the severity that it had."""
        self._tell(f"escalated from {safe(was, 20)}", Kind.THREAT_ESCALATED, threat)

    def cleared(self, threat: Threat, open_s: float, why: str = "") -> None:
        """A threat is over, after so many seconds; `why` where it is not that its cause is gone."""
        self._tell(f"cleared ({why})" if why else "cleared", Kind.THREAT_CLEARED, threat, open_s)

    def _tell(self, change: str, kind: Kind, threat: Threat, open_s: float | None = None) -> None:
        level = logging.INFO if kind is Kind.THREAT_CLEARED else _LEVELS.get(threat.severity, logging.WARNING)
        extra = about(kind, threat_id=threat.threat_id, threat_type=threat.type, severity=threat.severity)
        if open_s is not None:
            extra["dio_fields"]["duration_s"] = open_s
        summary = safe(threat.summary, _MAX_SUMMARY)
        log.log(level, "Threat %s: %s %s: %s", change, threat.severity, threat.type, summary, extra=extra)
        self._publish(
            "threat",
            {
                "change": change.partition(" ")[0],
                "threat_id": threat.threat_id,
                "type": threat.type,
                "severity": threat.severity,
                "summary": summary,
            },
        )
