"""Reading rules: the shipped ones, then `rules.d/*.toml` beside the agent's configuration, in order of name.

What the nerve center's policy
adds comes after them. A later one wins key by key; a table (`enter`, `leave`, `only_if`) as a whole, and a new `enter`
without a `leave` is without one. Everything that is wrong is reported at once, each with file and line, and of files
with errors nothing is used. The keys are those of `CHECKS` below;
dio-rules(5) and docs/detection.md tell what they mean.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from dio_daemon.checks import Check, boolean, choice, number, text
from dio_daemon.detect.conditions import parse_condition, parse_place
from dio_daemon.detect.finding import SEVERITIES
from dio_daemon.detect.rules import Levels, Rule
from dio_daemon.errors import ConfigError, Finding
from dio_daemon.toml_lines import line_of, parse_toml, read_text

SHIPPED: Final = Path(__file__).with_name("default_rules.toml")
MOST_RULES = 500

RuleText = tuple[str, str]
"""The name of a file (or of a policy), and what stands in it."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FORM = re.compile(r"[<>^]?[+,]?[0-9]{0,2}(\.[0-9]{1,2})?[a-z%]?")
"""How a figure may be written: a width of a thousand million would fill the memory."""
_NUMBER = number(-1e18, 1e18)


def _levels(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not set(value) <= set(SEVERITIES):
        raise ValueError("must be a table of severities, such as { medium = 90, high = 95 }")
    try:
        return {name: _NUMBER(value[name]) for name in SEVERITIES if name in value}
    except ValueError as error:
        raise ValueError(f"must hold numbers: {error}") from error


def _conditions(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not set(value) <= set(SEVERITIES):
        raise ValueError('must be a table of severities, such as { high = "pressure.io_some_percent >= 20" }')
    return {name: parse_condition(text(300)(item)) for name, item in value.items()}


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 256:
        raise ValueError('must be a list of at most 256 patterns, such as ["/mnt/*"]')
    return tuple(text(1024)(item) for item in value)


def _places(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > 16:
        raise ValueError('must be a list of at most 16 places, such as ["processes.top"]')
    return tuple(parse_place(text(200)(item)) for item in value)


def _template(most: int) -> Check:
    def check(value: Any) -> str:
        words = str(text(most)(value))
        try:
            for _, name, form, _ in string.Formatter().parse(words):
                if name not in (None, "subject", "value", "threshold", "held") or not _FORM.fullmatch(
                    form or ""
                ):
                    raise ValueError("names something else")
            words.format(subject="x", value=1.0, threshold=1.0, held="a minute")
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                "may name {subject}, {value:.0f}, {threshold:.0f} and {held} only;"
                f" two braces stand for one ({error})"
            ) from error
        return words

    return check


def _subjects(value: Any) -> dict[str, dict[str, dict[str, float]]]:
    wanted = 'must be a table of patterns, such as {"/srv" = { enter = { high = 97 } }}'
    if not isinstance(value, dict) or len(value) > 256:
        raise ValueError(wanted)
    found = {}
    for pattern, table in value.items():
        if not isinstance(table, dict) or not set(table) <= {"enter", "leave"} or "enter" not in table:
            raise ValueError(wanted)
        found[str(text(1024)(pattern))] = {name: _levels(item) for name, item in table.items()}
    return found


CHECKS: Final[Mapping[str, Check]] = {
    "enabled": boolean,
    "title": text(128),
    "value": lambda value: parse_place(text(200)(value)),
    "subject": text(128),
    "op": choice(">=", ">", "<=", "<"),
    "enter": _levels,
    "leave": _levels,
    "for_s": number(0, 7 * 86400),
    "leave_for_s": number(0, 86400),
    "only_if": _conditions,
    "subjects": _subjects,
    "ignore": _patterns,
    "confidence": number(0, 1),
    "summary": _template(500),
    "why": text(1000),
    "next": _template(1000),
    "technique": text(32),
    "evidence": _places,
}
_NEEDED = ("value", "enter", "summary")


@dataclass
class _Draft:
    """A rule while its files are read."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, tuple[str, int | None]] = field(default_factory=dict)


def folder_of(config: Path) -> Path:
    """Where rules of one's own stand for a configuration file: `rules.d` beside it."""
    return config.with_name("rules.d")


def load_rules(folder: Path | None, only: Path | None = None) -> list[Rule]:
    """The rules in force.

    Args:
        folder: of rules of one's own; None for the shipped ones alone. One that is not there is empty.
        only: a file to check as if it came last.

    Raises:
        ConfigError: with every finding of every file.
    """
    return rules_of(rule_texts(folder, only))


def rule_texts(folder: Path | None, only: Path | None = None) -> list[RuleText]:
    """What stands in the files of rules, in the order in which they apply; as `load_rules`.

    Raises:
        ConfigError: with every file that cannot be read.
    """
    findings: list[Finding] = []
    files = [SHIPPED]
    if folder is not None:
        try:
            files += sorted(entry for entry in folder.glob("*.toml") if entry.is_file())
        except OSError as error:
            findings.append(Finding(str(folder), None, f"cannot be read: {error.strerror}"))
    found = [
        (str(file), read_text(file, findings)) for file in [*files, *([only] if only is not None else [])]
    ]
    # What can be read is checked as well, so that one look at the errors is enough.
    if findings:
        try:
            rules_of(found)
        except ConfigError as error:
            findings += error.findings
        raise ConfigError(sorted(findings, key=lambda finding: (finding.file, finding.line or 0)))
    return found


def rules_of(texts: Sequence[RuleText]) -> list[Rule]:
    """The rules that texts make together.

    Raises:
        ConfigError: with every finding of every text.
    """
    findings: list[Finding] = []
    drafts: dict[str, _Draft] = {}
    for name, source in texts:
        _read_text(name, source, drafts, findings)
    rules = [rule for name, draft in drafts.items() if (rule := _rule(name, draft, findings))]
    if len(drafts) > MOST_RULES:
        findings.append(Finding(texts[-1][0], None, f"more than {MOST_RULES} rules"))
    if findings:
        raise ConfigError(sorted(findings, key=lambda finding: (finding.file, finding.line or 0)))
    return rules


def _read_text(file: str, source: str, drafts: dict[str, _Draft], findings: list[Finding]) -> None:
    document, problems = parse_toml(source)
    findings += [Finding(file, line, message) for line, message in problems]
    for name, table in document.items():
        at = line_of(source, name, None)
        if not _NAME.fullmatch(name):
            findings.append(Finding(file, at, f"{name!r} is no name of a rule: a-z, 0-9 and _"))
        elif not isinstance(table, dict):
            findings.append(Finding(file, at, f"{name} must be a rule: [{name}] and its keys below"))
        else:
            _read_rule(file, source, name, table, drafts.setdefault(name, _Draft()), findings)


def _read_rule(
    file: str, source: str, name: str, table: dict[str, Any], draft: _Draft, findings: list[Finding]
) -> None:
    if "enter" in table:  # what belonged to other levels does not belong to these
        draft.values.pop("leave", None)
        draft.sources.pop("leave", None)
        conditions = draft.values.get("only_if") or {}
        if isinstance(table["enter"], dict):
            draft.values["only_if"] = {
                each: conditions[each] for each in conditions if each in table["enter"]
            }
    draft.sources.setdefault("", (file, line_of(source, name, None)))
    for key, value in table.items():
        at = (file, line_of(source, name, key))
        check = CHECKS.get(key)
        if check is None:
            findings.append(Finding(*at, f"{name} has no key {key}; known: {', '.join(CHECKS)}"))
            continue
        try:
            draft.values[key] = check(value)
        except ValueError as error:
            findings.append(Finding(*at, f"{name}.{key} {error}"))
            draft.values.setdefault(key, None)
        draft.sources[key] = at


def _rule(name: str, draft: _Draft, findings: list[Finding]) -> Rule | None:
    values = dict(draft.values)
    before = len(findings)

    def complain(message: str, *keys: str) -> None:
        where = next((draft.sources[key] for key in keys if key in draft.sources), draft.sources[""])
        findings.append(Finding(*where, message))

    for key in _NEEDED:
        if key not in values:
            complain(f"{name} needs {key}")
    if any(value is None for value in values.values()) or len(findings) > before:
        return None
    op = values.get("op", ">=")
    enter, leave = values.pop("enter"), values.pop("leave", {})
    levels = _steps(name, op, enter, leave, lambda message: complain(message, "leave", "enter"))
    subjects = {
        pattern: _steps(
            name, op, each["enter"], each.get("leave", {}), lambda message: complain(message, "subjects")
        )
        for pattern, each in values.pop("subjects", {}).items()
    }
    if values["value"].after is not None and not values.get("subject") and values["value"].after != ():
        complain(f"{name} needs subject: the key of a list's element that names it, such as mount", "value")
    if not set(values.get("only_if", {})) <= set(enter):
        complain(f"{name}.only_if names a severity that enter does not have", "only_if")
    if len(findings) > before:
        return None
    where = draft.sources[max(draft.sources, key=lambda key: draft.sources[key][0] != str(SHIPPED))]
    return Rule(
        name=name,
        levels=levels,
        subjects=subjects,
        source="default" if where[0] == str(SHIPPED) else where[0],
        line=where[1],
        **values,
    )


def _steps(name: str, op: str, enter: dict[str, float], leave: dict[str, float], complain: Any) -> Levels:
    """Levels that make sense together: a severer one further out, and each left on its near side."""
    sign = 1 if op in (">=", ">") else -1
    steps = tuple((severity, enter[severity], leave.get(severity, enter[severity])) for severity in enter)
    if not steps:
        complain(f"{name}.enter needs at least one severity")
    if not set(leave) <= set(enter):
        complain(f"{name}.leave names a severity that enter does not have")
    for severity, begin, end in steps:
        if (begin - end) * sign < 0:
            complain(f"{name}: {severity} is entered at {begin:g} and would be left at {end:g}, further out")
    for (mild, at, _), (severe, further, _) in pairwise(steps):
        if (further - at) * sign < 0:
            complain(f"{name}: {severe} is entered at {further:g}, before {mild} at {at:g}")
    return Levels(steps)
