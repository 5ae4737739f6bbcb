"""The rules: levels on what is sampled, held for a while.

A rule's value reaches a severity when it has been at that severity's `enter` level for `for_s`, and leaves it when it
has been past its `leave` level for `leave_for_s`. What could not be had changes nothing; a disk that is gone is over.
A hole in the sampling (a suspended host) begins every wait anew: nobody knows what was in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from dio_daemon.detect.conditions import Condition, Place, as_figure, compare
from dio_daemon.detect.finding import Finding, Gone, fingerprint, level
from dio_daemon.text import for_shell, lasting

HOLE_S = 60.0
HOLE_INTERVALS = 5
FORGET_S = 3600.0
"""What could not be had for so long is not there any more, such as swap that was switched off."""
MOST_SUBJECTS = 256
"""Of one rule; the rest of a longer list is not looked at."""

Witness = Callable[[str, Mapping[str, Any], Any], Mapping[str, Any]]
"""More evidence for a figure: its place, the sample, and the element that it is about."""


@dataclass(frozen=True)
class Levels:
    """Where severities begin and end, the mildest first: (severity, enter, leave)."""

    steps: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Rule:
    """One rule; see rule_files for how it is written."""

    name: str
    value: Place
    summary: str
    levels: Levels
    title: str = ""
    subject: str = ""
    op: str = ">="
    for_s: float = 0.0
    leave_for_s: float = 60.0
    confidence: float = 0.8
    why: str = ""
    next: str = ""
    technique: str = ""
    only_if: Mapping[str, Condition] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    evidence: tuple[Place, ...] = ()
    enabled: bool = True
    subjects: Mapping[str, Levels] = field(default_factory=dict)
    source: str = "default"
    line: int | None = None

    def levels_of(self, subject: str) -> Levels:
        """The levels that are in force for a subject."""
        for pattern, levels in self.subjects.items():
            if fnmatchcase(subject, pattern):
                return levels
        return self.levels

    def values(self, sample: Mapping[str, Any]) -> Iterator[tuple[str, float | None, Any]] | None:
        """Subject, figure and element of each; None where nothing could be had."""
        group = self.value.group(sample)
        if group is None:
            return None
        if self.value.after is None:
            return iter([(self.subject or self.name, as_figure(group), None)])
        return self._elements(group) if isinstance(group, list) else None

    def _elements(self, group: list[Any]) -> Iterator[tuple[str, float | None, Any]]:
        for element in group[:MOST_SUBJECTS]:
            named = element.get(self.subject) if isinstance(element, Mapping) else element
            if isinstance(named, str) and not any(fnmatchcase(named, pattern) for pattern in self.ignore):
                yield named, as_figure(self.value.of(element)), element


@dataclass
class _Of:
    """How it stands with one subject of one rule."""

    reached: str | None
    since: dict[str, float] = field(default_factory=dict)
    """Severity to when it began to be at its level."""
    below: float | None = None
    finding: Finding | None = None
    witnessed: Mapping[str, Any] | None = None
    """What the witness said when this severity was reached."""
    unknown: float | None = None
    """Since when its figure cannot be had, in monotonic seconds."""

    def last_said(self, now: float) -> Finding | None:
        """What still holds while its figure cannot be had."""
        if self.unknown is None:
            self.unknown = now
        return self.finding if now - self.unknown < FORGET_S else None


class Rules:
    """The detector of all rules.

    Args:
        rules: those in force.
        severity_of: of an open threat, by fingerprint; None when it is not open. A threat that was open before a
            restart is at its severity from the start.
        fill_in: adds what a sample alone does not tell, such as forecasts.
        witness: asked for more evidence when a severity is reached.
    """

    name = "rules"

    def __init__(
        self,
        rules: Sequence[Rule],
        severity_of: Callable[[str], str | None],
        fill_in: Callable[[Mapping[str, Any], float], Mapping[str, Any]],
        witness: Witness = lambda place, sample, element: {},
    ) -> None:
        self._fill_in = fill_in
        self._witness = witness
        self._rules = [rule for rule in rules if rule.enabled]
        self._severity_of = severity_of
        self._states: dict[tuple[str, str], _Of] = {}
        self._last: float | None = None
        self._gap_s = 0.0

    def look(self, sample: Mapping[str, Any], now: float) -> Sequence[Finding | Gone]:
        """All that is past a level now."""
        self._notice_holes(now)
        sample = self._fill_in(sample, now)
        found: list[Finding] = []
        for rule in self._rules:
            values = rule.values(sample)
            if values is None:
                said = [
                    state.last_said(now) for (name, _), state in self._states.items() if name == rule.name
                ]
                found += [finding for finding in said if finding is not None]
                continue
            seen = set()
            for subject, value, element in values:
                key = (rule.name, subject)
                if key in seen:
                    continue
                seen.add(key)
                state = self._states.get(key)
                if state is None:
                    state = self._states[key] = _Of(self._severity_of(fingerprint(rule.name, subject)))
                if value is not None:
                    state.unknown = None
                    self._judge(rule, subject, value, element, state, sample, now)
                finding = state.finding if value is not None else state.last_said(now)
                if finding is not None:
                    found.append(finding)
            for key in [key for key in self._states if key[0] == rule.name and key not in seen]:
                del self._states[key]
        return found

    def _notice_holes(self, now: float) -> None:
        if self._last is not None:
            gap_s = now - self._last
            if gap_s > max(HOLE_S, HOLE_INTERVALS * self._gap_s) and self._gap_s:
                for state in self._states.values():
                    state.since.clear()
                    state.below = None
            else:
                self._gap_s = gap_s
        self._last = now

    def _judge(
        self,
        rule: Rule,
        subject: str,
        value: float,
        element: Any,
        state: _Of,
        sample: Mapping[str, Any],
        now: float,
    ) -> None:
        levels = rule.levels_of(subject)
        reached = None
        for severity, enter, _leave in levels.steps:
            condition = rule.only_if.get(severity)
            if compare(value, rule.op, enter) and (condition is None or condition.holds(sample)):
                since = state.since.setdefault(severity, now)
                if now - since >= rule.for_s:
                    reached = severity
            else:
                state.since.pop(severity, None)
        if state.reached is not None and (reached is None or level(reached) < level(state.reached)):
            condition = rule.only_if.get(state.reached)
            if self._stays(rule, state, levels, value, condition is None or condition.holds(sample), now):
                reached = state.reached
        else:
            state.below = None
        if reached != state.reached:
            state.reached, state.below, state.witnessed = reached, None, None
        elif state.below is not None and (state.finding is not None or _past_all(levels, rule.op, value)):
            return  # it is about to be over: what is told, also before a restart, stays as it was
        state.finding = (
            None if reached is None else self._finding(rule, subject, value, element, state, sample, now)
        )

    @staticmethod
    def _stays(rule: Rule, state: _Of, levels: Levels, value: float, holds: bool, now: float) -> bool:
        """Whether the severity that was reached still holds."""
        leave = next((leave for severity, _, leave in levels.steps if severity == state.reached), None)
        if leave is None:  # the rule was changed: that severity is none of its own any more
            return False
        if holds and compare(value, rule.op, leave):
            state.below = None
            return True
        if state.below is None:
            state.below = now
        return now - state.below < rule.leave_for_s

    def _finding(
        self,
        rule: Rule,
        subject: str,
        value: float,
        element: Any,
        state: _Of,
        sample: Mapping[str, Any],
        now: float,
    ) -> Finding:
        severity = state.reached or "low"
        enter = next((enter for name, enter, _ in rule.levels_of(subject).steps if name == severity), 0.0)
        since = state.since.get(severity)
        evidence: dict[str, Any] = {
            "rule": rule.name,
            "value": value,
            "threshold": enter,
            "for_s": rule.for_s,
        }
        if since is not None:
            evidence["since_s"] = round(now - since)
        if isinstance(element, Mapping):
            evidence["about"] = {
                name: item for name, item in element.items() if not isinstance(item, (list, dict))
            }
        for place in rule.evidence:
            evidence[place.text] = place.group(sample)
        if state.witnessed is None:
            about_processes = any(place.text.startswith(("processes", "files")) for place in rule.evidence)
            state.witnessed = self._witness(rule.value.text, sample, element) if about_processes else {}
        evidence |= state.witnessed
        words = {"subject": subject, "value": value, "threshold": enter, "held": lasting(rule.for_s)}
        return Finding(
            type=rule.name,
            severity=severity,
            confidence=rule.confidence,
            subject=subject,
            title=rule.title,
            summary=rule.summary.format(**words),
            why=rule.why,
            next=rule.next.format(**words | {"subject": for_shell(subject, 300)}),
            technique=rule.technique or None,
            evidence=evidence,
        )


def _past_all(levels: Levels, op: str, value: float) -> bool:
    """Whether a figure is past where even the mildest severity ends."""
    return not any(compare(value, op, leave) for _, _, leave in levels.steps)
