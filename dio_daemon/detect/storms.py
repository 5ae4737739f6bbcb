"""Many findings of one type become a few threats and one that counts the rest.

At most `PER_TYPE` threats of one type are open, and `MOST_OPEN` in all: a storm must neither fill the spool nor
bury what else is wrong. What does not fit is summed up in one finding of its type, with how many and which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dio_daemon.detect.finding import SEVERITIES, Finding, fingerprint, level

PER_TYPE = 20
MOST_OPEN = 200
MOST_NAMED = 50
SUBJECT = "more"
"""The subject of the finding that stands for the rest of its type."""


class Storms:
    """Decides which findings become threats of their own."""

    def __init__(self) -> None:
        self._more: dict[str, dict[str, Finding]] = {}
        """Type to what is summed up, by fingerprint."""

    def thin(self, findings: Iterable[Finding], open_: Mapping[str, str]) -> list[Finding]:
        """The findings that stand for all.

        Args:
            findings: all that is the case, and what has just happened.
            open_: fingerprint to type of the threats that are open.
        """
        kept: list[Finding] = []
        counts: dict[str, int] = {}
        for type_ in open_.values():
            counts[type_] = counts.get(type_, 0) + 1
        total = len(open_)
        more: dict[str, dict[str, Finding]] = {}
        for finding in sorted(findings, key=lambda each: -level(each.severity)):
            if finding.fingerprint in open_:
                kept.append(finding)
            elif counts.get(finding.type, 0) < PER_TYPE and total < MOST_OPEN:
                counts[finding.type] = counts.get(finding.type, 0) + 1
                total += 1
                kept.append(finding)
            else:
                more.setdefault(finding.type, {})[finding.fingerprint] = finding
        for type_ in [each for each in self._more if fingerprint(each, SUBJECT) not in open_]:
            del self._more[type_]
        return kept + [self._sum(type_, found) for type_, found in more.items()]

    def _sum(self, type_: str, found: dict[str, Finding]) -> Finding:
        happened = {key: each for key, each in self._more.get(type_, {}).items() if each.hold_s is not None}
        everything = self._more[type_] = dict(list((happened | found).items())[-10_000:])
        first = next(iter(found.values()))
        holds = [each.hold_s for each in everything.values() if each.hold_s is not None]
        subjects = [each.subject for each in everything.values()]
        return Finding(
            type=type_,
            severity=SEVERITIES[max(level(each.severity) for each in everything.values())],
            confidence=max(each.confidence for each in everything.values()),
            subject=SUBJECT,
            title=first.title,
            summary=f"{len(subjects)} more of the same kind at once, the last: {first.summary}",
            why=first.why,
            next=first.next,
            technique=first.technique,
            evidence={"more": len(subjects), "subjects": subjects[:MOST_NAMED]},
            hold_s=max(holds) if holds else None,
        )
