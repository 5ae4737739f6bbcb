"""Rules in a policy, checked before they are saved: every mistake with its line.

What a rule may say is `RuleOverride` of the contract. Whether a rule is whole together with those that a host has
(its value, its summary) is seen by that host alone, which refuses the policy and says why.
"""

from __future__ import annotations

import re
import string
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nerve_center.contract import Contract
from nerve_center.errors import Refused
from nerve_center.jsontext import Mismatch, check_depth, check_text

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_AT = re.compile(r"^(?P<message>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_HEADER = re.compile(r"^\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*(?P<key>[A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*(?P<dot>\.[^=]*)?=""")
_SEVERITIES = ("low", "medium", "high", "critical")
_WORDS = ("subject", "value", "threshold", "held")
_FORM = re.compile(r"[<>^]?[+,]?[0-9]{0,2}(\.[0-9]{1,2})?[a-z%]?")
_PLAINLY = (
    (re.compile(r"must be (?=number|string|boolean|integer|null|object)"), "must be a "),
    (re.compile(r"must be a (?=integer|object)"), "must be an "),
    (re.compile(r"must be bigger than or equal to (\S+)"), r"must be \1 or more"),
    (re.compile(r"must be smaller than or equal to (\S+)"), r"must be \1 or less"),
)
MOST_RULES = 500


@dataclass(frozen=True)
class Mistake:
    """What is wrong, and on which line (from 1; None where it has none)."""

    line: int | None
    message: str

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


def mistakes(contract: Contract, source: str) -> list[Mistake]:
    """All that is wrong with rules in TOML, by line."""
    try:
        document = tomllib.loads(source)
        check_depth(document)
        check_text(document)
    except tomllib.TOMLDecodeError as exc:
        return [_syntax(str(exc), source)]
    except (Mismatch, ValueError, RecursionError) as exc:
        return [Mistake(None, f"not valid TOML: {str(exc)[:200]}")]
    found: list[Mistake] = []
    if len(document) > MOST_RULES:
        found.append(Mistake(None, f"more than {MOST_RULES} rules"))
    for name, rule in document.items():
        if not _NAME.fullmatch(name):
            found.append(Mistake(_line(source, name, None), f"{name!r} is no name of a rule: a-z, 0-9 and _"))
        elif not isinstance(rule, dict):
            found.append(
                Mistake(_line(source, name, None), f"{name} must be a rule: [{name}] and its keys below")
            )
        else:
            found += _of_rule(contract, source, name, rule)
    return sorted(found, key=lambda item: item.line or 0)


def refuse_mistakes(contract: Contract, source: str) -> None:
    """Raise Refused (422 `rules-invalid`) where there are any; `errors` has each with its line."""
    found = mistakes(contract, source)
    if found:
        raise Refused(
            422,
            "rules-invalid",
            "The rules have mistakes.",
            "\n".join(map(str, found[:10])),
            members={"errors": [{"line": item.line, "message": item.message} for item in found[:50]]},
        )


def _of_rule(contract: Contract, source: str, name: str, rule: dict[str, Any]) -> list[Mistake]:
    found = []
    for key, value in rule.items():
        line = _line(source, name, key)
        try:
            contract.check("RuleOverride", {key: value})
        except Mismatch as exc:
            why = _plainly(exc.message)
            found.append(Mistake(line, f"{name}.{why}" if why.startswith(key) else f"{name}.{key}: {why}"))
            continue
        if key in ("summary", "next") and not _is_template(value):
            named = "{subject}, {value:.0f}, {threshold:.0f} and {held}"
            found.append(Mistake(line, f"{name}.{key} may name {named} only"))
    if not found:
        found += _levels(source, name, rule)
    return found


def _plainly(message: str) -> str:
    """What the validator says, in the words of `dioctl rules check`."""
    why = re.sub(r"^data(?:\.|\s+)?", "", message)
    if why.startswith("must not contain"):
        return "is no key of a rule"
    for said, meant in _PLAINLY:
        why = said.sub(meant, why)
    return why


def _is_template(text: str) -> bool:
    try:
        for _, name, form, _ in string.Formatter().parse(text):
            if name not in (None, *_WORDS) or not _FORM.fullmatch(form or ""):
                return False
        text.format(subject="x", value=1.0, threshold=1.0, held="a minute")
    except (ValueError, KeyError, IndexError):
        return False
    return True


def _levels(source: str, name: str, rule: dict[str, Any]) -> list[Mistake]:
    """Levels that do not go together; only where this text has both sides, for a host may have the other one."""
    sign = 1 if rule.get("op", ">=") in (">=", ">") else -1
    found = []
    for key, table in (
        ("", rule),
        *((f"subjects.{each}", item) for each, item in rule.get("subjects", {}).items()),
    ):
        enter, leave = table.get("enter"), table.get("leave", {})
        line = _line(source, name, "subjects" if key else "enter")
        if enter is None:
            continue
        for severity in leave:
            if severity not in enter:
                found.append(Mistake(line, f"{name}.leave names {severity}, which enter does not have"))
            elif (enter[severity] - leave[severity]) * sign < 0 and "op" in rule:
                found.append(
                    Mistake(line, f"{name}: {severity} would be left further out than it is entered")
                )
        steps = [(each, enter[each]) for each in _SEVERITIES if each in enter]
        for (mild, at), (severe, further) in pairwise(steps):
            if (further - at) * sign < 0 and "op" in rule:
                found.append(
                    Mistake(line, f"{name}: {severe} is entered at {further:g}, before {mild} at {at:g}")
                )
    return found


def _syntax(error: str, source: str) -> Mistake:
    found = _AT.match(error)
    if found is None:
        return Mistake(None, f"not valid TOML: {error}")
    if found["line"] is None:
        filled = [number for number, line in enumerate(source.splitlines(), 1) if line.strip()]
        return Mistake(filled[-1] if filled else None, f"not valid TOML: {found['message']} at the end")
    return Mistake(int(found["line"]), f"not valid TOML: {found['message']}")


def _line(source: str, rule: str, key: str | None) -> int | None:
    """The line on which a rule, or a key of it, stands; that of the rule where the key is not found."""
    current, rule_line = None, None
    for number, line in enumerate(source.splitlines(), 1):
        if header := _HEADER.match(line):
            current = header["name"].strip("\"'")
            if current == rule or current.startswith(f"{rule}."):
                rule_line = rule_line or number
                if key is None or current.startswith(f"{rule}.{key}"):
                    return number
        elif found := _KEY.match(line):
            name = found["key"].strip("\"'")
            dotted = (found["dot"] or "").lstrip(". ").split(".")[0].strip()
            if (current == rule and name == key) or (
                current is None and name == rule and key in (None, dotted)
            ):
                return number
            if current is None and name == rule:
                rule_line = rule_line or number
    return rule_line
