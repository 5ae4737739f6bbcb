"""docs/detection.md and dio-rules(5) tell the shipped rules and all keys, as they are."""

from __future__ import annotations

import re

from dio_daemon.detect.rule_files import CHECKS, load_rules
from tests.unit.docs import pages


def test_the_shipped_rules() -> None:
    table = pages.rows(pages.section(pages.page("detection"), "Rules", "The shipped rules"))[1:]
    told = {pages.code(row[0])[0]: (row[2], row[3]) for row in table}
    assert told == {
        rule.name: (
            " ".join(f"{severity} {enter:g}" for severity, enter, _ in rule.levels.steps),
            f"{rule.for_s:g} s",
        )
        for rule in load_rules(None)
    }


def test_every_rule_tells_a_person_what_to_do() -> None:
    for rule in load_rules(None):
        assert rule.title and rule.summary and rule.why and rule.next, rule.name


def test_every_key_is_in_the_manual_page() -> None:
    text = pages.man("dio-rules.5").partition(".SH KEYS")[2].partition(".SH EXAMPLE")[0]
    headings = re.findall(r"^\.TP\n\.BR? (.+)$", text, re.MULTILINE)
    assert {word for line in headings for word in re.findall(r"[a-z_]+", line)} == set(CHECKS)
