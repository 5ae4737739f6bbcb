"""Every word that programs and people tell cases apart by is explained, and none that does not exist."""

from __future__ import annotations

import ast
import re

from dio_daemon import histories
from dio_daemon.lifecycle import State
from nerve_center import presence
from tests.unit.docs import pages


def explained(name: str, *headings: str) -> set[str]:
    """What stands in backticks in the first column of the tables of a section."""
    table = pages.rows(pages.section(pages.page(name), *headings))
    return {word for row in table for word in pages.code(row[0])}


def literal_codes(package: str) -> set[str]:
    """Codes that are written out in a `type`."""
    text = "".join(path.read_text(encoding="utf-8") for path in (pages.ROOT / package).rglob("*.py"))
    return set(re.findall(r"urn:dio:problem:([a-z-]+)", text))


def chosen_codes(package: str) -> set[str]:
    """Codes that a conditional expression chooses between: `code = "a" if … else "b"`."""
    return {
        text
        for module in pages.modules(package)
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.IfExp)
        and getattr(node.targets[0], "id", "") == "code"
        for text in (pages.text_of(node.value.body), pages.text_of(node.value.orelse))
        if text
    }


def router_codes() -> set[str]:
    """Codes of what the web framework itself refuses: `_ROUTER_CODES = {404: ("not-found", …), …}`."""
    return {
        text
        for module in pages.modules("nerve_center")
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "_ROUTER_CODES"
        and isinstance(node.value, ast.Dict)
        for value in node.value.values
        if isinstance(value, ast.Tuple) and (text := pages.text_of(value.elts[0]))
    }


def called_codes(package: str, *functions: str) -> set[str]:
    """Codes that are the second argument of a call."""
    found = (call.args[1] for call in pages.calls(package, *functions) if len(call.args) > 1)
    return {text for node in found if (text := pages.text_of(node))}


def test_problem_codes_of_the_nerve_center() -> None:
    codes = (
        called_codes("nerve_center", "Refused", "answer")
        | literal_codes("nerve_center")
        | chosen_codes("nerve_center")
        | router_codes()
    )
    assert len(codes) > 15
    assert explained("protocol", "Errors", "Problem codes of the nerve center") == codes


def test_problem_codes_of_the_control_socket() -> None:
    codes = called_codes("dio_daemon", "problem") | (
        literal_codes("dio_daemon") & {"busy"}  # the one that is written out, for callers too many
    )
    assert len(codes) > 5
    assert explained("control-socket", "Errors") == codes


def condition_codes() -> set[str]:
    """Keys of the dictionaries that are shown as conditions."""
    groups = {text for call in pages.calls("dio_daemon", "group") if (text := pages.text_of(call.args[0]))}
    codes: set[str] = set()
    for module in pages.modules("dio_daemon"):
        for node in ast.walk(module):
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)):
                continue
            target = node.targets[0]
            if getattr(target.value, "id", "") not in ("found", "problems"):
                continue
            if (text := pages.text_of(target.slice)) is not None:
                codes.add(text)
            elif isinstance(target.slice, ast.JoinedStr):
                prefix = pages.text_of(target.slice.values[0])
                if prefix and prefix.islower():  # in capitals they are fields of the journal
                    codes |= {f"{prefix}{group}" for group in groups}
    for call in pages.calls("dio_daemon", "set_conditions"):
        if len(call.args) > 1 and isinstance(call.args[1], ast.Dict):
            codes |= {text for key in call.args[1].keys if (text := pages.text_of(key))}
    return codes


def test_condition_codes() -> None:
    sources = {
        pages.text_of(call.args[0]) for call in pages.calls("dio_daemon", "set_conditions") if call.args
    }
    assert sources == {"collect", "detect", "maintenance", "policy", "rules", "spool"}, (
        "another source of conditions: does condition_codes find its codes?"
    )
    codes = condition_codes()
    assert {"spool_in_memory", "spool_filling", "collect_cpu", "reporting_paused"} <= codes
    assert explained("troubleshooting", "Conditions") == codes


def is_kind(node: ast.AST) -> bool:
    """Whether a node gives an error its kind: a class attribute, or an argument of a call."""
    if isinstance(node, ast.Assign):
        return getattr(node.targets[0], "id", "") == "kind"
    return isinstance(node, ast.keyword) and node.arg in ("kind", "error_kind")


def test_error_kinds() -> None:
    kinds = {
        text
        for module in pages.modules("dio_daemon")
        for node in ast.walk(module)
        if is_kind(node) and (text := pages.text_of(node.value))
    }
    kinds.remove("error")  # the base class's, which no error has
    table = pages.rows(pages.section(pages.page("troubleshooting"), "The agent does not become active"))
    end = next(index for index, row in enumerate(table) if row[0] == "code")
    assert {word for row in table[1:end] for word in pages.code(row[0])} == kinds


def test_reasons_of_gaps() -> None:
    makers = ("drop_older", "drop_until", "merge", "fill_holes")
    streams = {"events", "samples"}
    reasons = {
        text
        for call in pages.calls("dio_daemon", *makers)
        for node in call.args
        if (text := pages.text_of(node)) and text not in streams
    }
    for module in pages.modules("dio_daemon"):
        for node in ast.walk(module):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if pages.text_of(key) == "reason" and (text := pages.text_of(value)):
                        reasons.add(text)
    reasons |= set(histories.REASONS)
    assert len(reasons) > 4
    table = pages.rows(pages.section(pages.page("protocol"), "The way in", "Report"))
    start = next(index for index, row in enumerate(table) if row[0] == "reason")
    assert {pages.code(row[0])[0] for row in table[start + 1 :]} == reasons


def test_states_of_the_agent() -> None:
    states = [state.value for state in State]
    told = [
        pages.code(row[0])[0]
        for row in pages.rows(pages.section(pages.page("operate"), "What systemctl says"))[1:]
    ]
    assert told == states
    manual = pages.man("dio-agent.8")
    for state in states:
        assert f".B {state}\n" in manual, state


def test_presence_at_the_nerve_center() -> None:
    reported, second = 0, 1_000_000
    states = {presence.state(None, None, None, 10, 0), presence.state(reported, reported, None, 10, 0)}
    states |= {presence.state(reported, None, None, 10, at * second) for at in (22, 32, 33)}
    states.add(presence.state(reported, None, 99 * second, 10, 33 * second))
    table = pages.rows(pages.section(pages.page("operate"), "Reading from the API"))
    start = next(index for index, row in enumerate(table) if row[0] == "state")
    assert {pages.code(row[0])[0] for row in table[start + 1 :]} == states
