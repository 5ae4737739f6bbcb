"""The life of this host's threats.

One threat a fingerprint. It opens with the first finding and is told at once; it is told again when it becomes more
severe, when it has been milder for a while, when something else happened to its subject, hourly while it lasts, and
when it is over. It is over when its finding has not come back for `QUIET_S`; each time that it came back within an hour
quadruples that, up to an hour, so one that flaps is one long threat and not a hundred short ones.

Every change goes to the spool first and only then into the book and its file: an agent that dies in between tells
the same thing once more, and the nerve center takes it as the same threat. The file (`threats.json` in the state
folder) lets a threat outlive restarts; while it cannot be written, the book goes on in memory.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.detect.finding import SEVERITIES, Finding, Gone, level
from dio_daemon.detect.storms import Storms
from dio_daemon.detect.threat import Threat, from_disk, opened, to_disk
from dio_daemon.detect.tolerance import Normal, Seen, Tolerance
from dio_daemon.files import replace_file
from dio_daemon.threat_log import ThreatLog
from dio_daemon.wire import to_json

log = logging.getLogger(__name__)

QUIET_S = 30.0
MOST_QUIET_S = 3600.0
FLAP_S = 3600.0
OTHERWISE_S = 5.0
"""Least time between tellings of one threat because something else happened to its subject; doubles each time."""
AGAIN_S = 3600.0
SAVE_EVERY_S = 300.0
RESTORED_S = 120.0
"""Time for detectors to look around after a start, before what they do not return is over."""
MOST_CLEARED = 300
"""Threats that are over and remembered, so that one that comes back keeps its count."""
TOLERATED = "tolerated"
"""Why a threat cleared whose finding was marked as normal."""
MOST_FILE_BYTES = 16 << 20


class ThreatBook:
    """All threats of this host. `step` belongs to one thread; the rest may be called from any.

    Args:
        path: `threats.json` in the state folder.
        emit: puts one `ThreatData` on disk, ready to be delivered; called with it before anything else changes.
        log: told of every change, once it is on disk.
        clock: for the moments.
    """

    def __init__(self, path: Path, emit: Callable[[bytes], object], log: ThreatLog, clock: Clock) -> None:
        self._path = path
        self._emit = emit
        self._log = log
        self._clock = clock
        self._lock = threading.RLock()
        self._storms = Storms()
        self._threats: dict[str, Threat] = {}
        self._tolerance = Tolerance()
        self._saved = clock.monotonic()
        self._dirty = False
        self.problem = ""
        """Why the file could not be written; empty when it could."""
        self._load()

    def open_threats(self) -> list[Threat]:
        """Copies of the open ones: the most severe first, then the newest."""
        with self._lock:
            found = [replace(threat) for threat in self._threats.values() if threat.open]
        found.sort(key=lambda threat: threat.opened_at, reverse=True)
        return sorted(found, key=lambda threat: -level(threat.severity))

    def open_by_severity(self) -> dict[str, int]:
        """How many are open, the most severe first."""
        with self._lock:
            found = Counter(threat.severity for threat in self._threats.values() if threat.open)
        return {severity: found[severity] for severity in reversed(SEVERITIES)}

    def is_open(self, fingerprint: str) -> bool:
        """Whether a threat is open: a detector that starts anew takes up from there."""
        with self._lock:
            threat = self._threats.get(fingerprint)
            return threat is not None and threat.open

    def severity_of(self, fingerprint: str) -> str | None:
        """The severity of an open threat; None when it is not open."""
        with self._lock:
            threat = self._threats.get(fingerprint)
            return threat.severity if threat is not None and threat.open else None

    def tolerate(self, normal: Normal) -> None:
        """These findings are normal from now on, and no others: those that are open clear, and none opens."""
        with self._lock:
            self._tolerance.use(normal)
            now = self._clock.monotonic()
            for threat in list(self._threats.values()):
                if threat.open and self._tolerance.holds(threat.fingerprint, self._clock.now()):
                    self._clear(threat, now, TOLERATED)
            if self._dirty:
                self._save()

    def tolerated(self) -> dict[str, Seen]:
        """How often what is normal was seen, by fingerprint."""
        with self._lock:
            return self._tolerance.seen()

    def step(self, said: Sequence[Finding | Gone], now: float) -> None:
        """Take in all that the detectors say now.

        Args:
            said: every finding that is the case, every one that has just happened, and what is undone.
            now: monotonic seconds.
        """
        with self._lock:
            moment = self._clock.now()
            gone = {each.fingerprint for each in said if isinstance(each, Gone)}
            found: dict[str, Finding] = {}
            for each in said:
                if isinstance(each, Finding) and not self._tolerance.takes(each, moment):
                    known = found.get(each.fingerprint)
                    if known is None or level(each.severity) > level(known.severity):
                        found[each.fingerprint] = each
            open_ = {key: threat.type for key, threat in self._threats.items() if threat.open}
            few = self._storms.thin(found.values(), open_)
            thinned = {each.fingerprint: each for each in few if not self._tolerance.takes(each, moment)}
            self._tolerance.end_round()
            for finding in thinned.values():
                self._seen(finding, now)
            for key, threat in list(self._threats.items()):
                if threat.open and key not in thinned:
                    self._not_seen(threat, key in gone, now)
            self._forget()
            if self._dirty or (open_ and now - self._saved >= SAVE_EVERY_S):
                self._save()

    def close(self) -> None:
        """Put on disk what changed since it was last written."""
        with self._lock:
            self._save()

    def _seen(self, finding: Finding, now: float) -> None:
        threat = self._threats.get(finding.fingerprint)
        moment = rfc3339(self._clock.now())
        if threat is None or not threat.open:
            fresh = opened(finding, moment)
            if threat is not None:
                fresh.first_seen, fresh.count, fresh.cleared = (
                    threat.first_seen,
                    threat.count + 1,
                    threat.cleared,
                )
            fresh.seen, fresh.hold_left_s, fresh.version = now, finding.hold_s, finding.version
            self._tell(fresh, now)
            self._log.opened(fresh.line())
            self._threats.pop(finding.fingerprint, None)
            self._threats[finding.fingerprint] = fresh
            return
        again = finding.hold_s is not None or not threat.present
        changed = replace(threat, present=True, seen=now, last_seen=moment, hold_left_s=finding.hold_s)
        changed.count += again
        changed.take(finding)
        if level(finding.severity) > level(threat.severity):
            changed.severity, changed.milder_since = finding.severity, None
        elif level(finding.severity) == level(threat.severity):
            changed.milder_since = None
        elif threat.milder_since is None:
            changed.milder_since = now
        elif now - threat.milder_since >= self._quiet_s(threat, now):
            changed.severity, changed.milder_since = finding.severity, None
        if threat.version is None:  # restored: what it was then is not known
            changed.version = finding.version
        waits_s = min(AGAIN_S, OTHERWISE_S * 2 ** min(threat.retold, 16))
        otherwise = changed.version != finding.version and now - threat.told >= waits_s
        if otherwise:
            changed.version, changed.retold = finding.version, threat.retold + 1
            changed.count += not again
        if otherwise or changed.severity != threat.severity or now - threat.told >= AGAIN_S:
            self._tell(changed, now)
        if level(changed.severity) > level(threat.severity):
            self._log.escalated(changed.line(), threat.severity)
        self._threats[finding.fingerprint] = changed
        self._dirty |= again

    def _not_seen(self, threat: Threat, gone: bool, now: float) -> None:
        if threat.hold_left_s is not None and not gone:
            threat.hold_left_s -= max(0.0, now - threat.seen)
            threat.seen = now
            if threat.hold_left_s <= 0:
                self._clear(threat, now)
            return
        threat.hold_left_s = None
        # After a start detectors have RESTORED_S to find it: until then it has not been away.
        if now >= threat.seen:
            threat.present = False
        if now - threat.seen >= self._quiet_s(threat, now):
            self._clear(threat, now)

    def _clear(self, threat: Threat, now: float, why: str = "") -> None:
        moment = rfc3339(self._clock.now())
        over = replace(threat, state="cleared", cleared_at=moment, hold_left_s=None, reason=why)
        over.cleared = [*(at for at in threat.cleared if now - at < FLAP_S), now]
        self._tell(over, now)
        self._log.cleared(over.line(), self._open_s(threat), why)
        self._threats[threat.fingerprint] = over

    def _quiet_s(self, threat: Threat, now: float) -> float:
        flaps = sum(now - at < FLAP_S for at in threat.cleared)
        return float(min(MOST_QUIET_S, QUIET_S * 4 ** min(flaps, 8)))

    def _tell(self, threat: Threat, now: float) -> None:
        self._emit(to_json(threat.data()))
        threat.told = now
        self._dirty = True

    def _open_s(self, threat: Threat) -> float:
        opened_at = datetime.fromisoformat(threat.opened_at)
        return max(0.0, (self._clock.now() - opened_at).total_seconds())

    def _forget(self) -> None:
        """Of those that are over, keep the newest."""
        over = [key for key, threat in self._threats.items() if not threat.open]
        for key in sorted(over, key=lambda key: self._threats[key].cleared_at or "")[:-MOST_CLEARED]:
            del self._threats[key]
            self._dirty = True

    def _load(self) -> None:
        try:
            if self._path.stat().st_size > MOST_FILE_BYTES:
                raise ValueError("it is too large")
            document = json.loads(self._path.read_bytes())
            threats = [from_disk(each) for each in document["threats"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning(
                "Cannot read %s (%s): what is still wrong with this host will be told anew", self._path, error
            )
            return
        now = self._clock.monotonic()
        for threat in threats:
            threat.seen, threat.told = now + RESTORED_S, now
            self._threats[threat.fingerprint] = threat

    def _save(self) -> None:
        document: dict[str, Any] = {
            "threats": [to_disk(threat) for threat in self._threats.values()],
        }
        self._saved = self._clock.monotonic()
        try:
            replace_file(self._path, to_json(document), 0o600)
        except OSError as error:
            self._dirty = True  # tried again at the next step
            self.problem = f"Cannot write {self._path}: {error.strerror}"
            return
        self._dirty, self.problem = False, ""
