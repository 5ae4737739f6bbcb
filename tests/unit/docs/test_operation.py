"""Endpoints, commands, status lines, exit codes and values of the units, as the pages and manual pages tell them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
import yaml

import dio_daemon.app
import dio_daemon.cli.parser
import dio_daemon.ctl
import nerve_center.keeper.main
import nerve_center.serve
from dio_daemon import errors, feed, maintenance, submissions
from dio_daemon.ipc import callers, server
from dio_daemon.lifecycle import Snapshot, State
from dio_daemon.status import status_line
from nerve_center.contract import PATH as OPENAPI
from tests.support.clock import FakeClock
from tests.support.control import Socket
from tests.unit.docs import pages

URL = "http://127.0.0.1:8000"
WHY = "connection refused by 127.0.0.1:8000"


def test_every_endpoint_is_told() -> None:
    text = pages.page("protocol") + pages.page("operate")
    for path, methods in yaml.safe_load(OPENAPI.read_bytes())["paths"].items():
        for method in methods.keys() - {"parameters"}:
            assert f"`{method.upper()} {path}`" in text, f"{method.upper()} {path}"


def test_no_endpoint_is_told_that_is_not_there() -> None:
    contract = yaml.safe_load(OPENAPI.read_bytes())["paths"]
    for name in ("protocol", "operate", "troubleshooting", "install"):
        for method, path in re.findall(
            r"`(GET|POST|PUT|PATCH|DELETE) (/(?:api|health)[^`?]*)`", pages.page(name)
        ):
            assert method.lower() in contract.get(path, {}), f"{name}: {method} {path}"


def test_every_parameter_of_a_query_is_told() -> None:
    text = pages.section(pages.page("operate"), "Reading from the API")
    for methods in yaml.safe_load(OPENAPI.read_bytes())["paths"].values():
        for item in methods.get("get", {}).get("parameters", []):
            if item.get("in") == "query":
                assert re.search(rf"`{item['name']}[`=]", text), item["name"]


def test_requests_of_the_control_socket(tmp_path: Path) -> None:
    """Every path with its method and who may, and none that is not there."""
    with closing(Socket(tmp_path)) as running:
        routes = {
            (f"{route.method} {path}", "root" if route.root_only else "group")
            for path, route in running.routes.items()
        }
    table = pages.rows(pages.section(pages.page("control-socket"), "Paths"))
    assert {(pages.code(row[0])[0], row[1]) for row in table[1:]} == routes


def test_fields_of_the_control_socket(tmp_path: Path) -> None:
    """Every field of the answers that have fields of their own."""
    with closing(Socket(tmp_path)) as running:
        running.active()
        status = running.client.call("GET", "/v1/status")
        config = running.client.call("GET", "/v1/config")
        samples = running.client.call("GET", "/v1/samples")
    text = pages.section(pages.page("control-socket"), "Reading")
    table = pages.rows(text)
    assert {word for row in table[1:] for word in pages.code(row[0])} == set(status)
    for document in (
        status["spool"],
        status["spool"]["streams"]["samples"],
        status["threads"]["link"],
        config["settings"][0],
        samples["samples"][0],
    ):
        for field in document:
            assert f"`{field}`" in text, field


def test_limits_of_the_control_socket() -> None:
    text = pages.section(pages.page("control-socket"), "Limits")
    for told in (
        f"| {callers.MAX_CLIENTS}; one more gets",
        f"| {feed.MAX_FOLLOWERS}, each with a queue of {feed.QUEUE_LENGTH} lines",
        f"| {callers.CLIENT_S:.0f} s; a follower",
        f"no progress | {server.READ_S:.0f} s",
        f"| {server.MAX_HEAD_BYTES // 1024} KiB each",
        f"a body | {server.MAX_BODY_BYTES // 1024} KiB",
    ):
        assert told in text, told
    text = pages.section(pages.page("control-socket"), "Reporting")
    for told in (
        f"nested {submissions.MAX_DEPTH} deep",
        f"1 to {submissions.MAX_METRICS} finite",
        f"| {submissions.MAX_DATA_BYTES} bytes",
        f"{submissions.BURST:.0f} at once",
    ):
        assert told in text, told
    assert f"1 to {maintenance.MAX_S:.0f} seconds" in pages.page("control-socket")


def help_of(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """What a command says of itself."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def options(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", text)) - {"--help"}


@pytest.mark.parametrize(
    ("manual", "main"),
    [
        ("dio-agent.8", dio_daemon.app.main),
        ("dio-nerve-center.8", nerve_center.serve.main),
        ("dio-nerve-center-keeper.8", nerve_center.keeper.main.main),
    ],
)
def test_options_of_the_daemons(
    manual: str, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    known = options(help_of(main, [], capsys))
    assert known >= {"--config", "--check-config", "--version"}
    assert options(pages.man(manual)) == known


def parsers(parser: argparse.ArgumentParser, *names: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command of dioctl that does something, by its words."""
    groups = [item for item in parser._actions if isinstance(item, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(names), parser
    for group in groups:
        for name, inner in group.choices.items():
            yield from parsers(inner, *names, name)


def test_dioctl() -> None:
    manual = pages.man("dioctl.1")
    root = dio_daemon.cli.parser.build_parser()
    known = options(root.format_help())
    table = pages.rows(pages.section(pages.page("operate"), "dioctl and the control socket"))
    told = " ".join(word for row in table for cell in row for word in pages.code(cell)) + " "
    commands = dict(parsers(root))
    assert len(commands) > 18
    for words, parser in commands.items():
        assert f".B dioctl {words}\n" in manual, f"{words} is not in the synopsis"
        assert re.search(rf'^\.(B|BR|BI) "?{words}\b', manual, re.MULTILINE), f"{words} is not explained"
        assert f"dioctl {words} " in told, f"{words} is not in operate.md"
        known |= options(parser.format_help())
    assert options(manual) - {"--unix-socket"} == known  # curl's, in an example


def test_exit_codes_of_dioctl() -> None:
    manual = pages.man("dioctl.1")
    for code in (0, dio_daemon.ctl.EX_FAILED, 2, dio_daemon.ctl.EX_NOT_RUNNING, errors.EX_CONFIG, 130):
        assert f".B {code}\n" in manual
    for code, word in enumerate(("OK", "Warning", "Critical", "Unknown")):
        assert re.search(rf"^Of\n\.BR health :$.*^\.B {code}$\n{word}:", manual, re.MULTILINE | re.DOTALL)


def click_commands(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        if command.invoke_without_command and names:
            yield names, command
        for name, inner in command.commands.items():
            yield from click_commands(inner, *names, name)
    else:
        yield names, command


def test_nervectl() -> None:
    from nerve_center.nervectl import main

    assert isinstance(main, click.Group)
    manual = pages.man("nervectl.1")
    known = {option for item in main.params for option in item.opts if option.startswith("--")}
    table = {
        word
        for row in pages.rows(pages.section(pages.page("operate"), "The nerve center"))
        for word in pages.code(row[0])
    }
    for names, command in click_commands(main):
        words = " ".join(names)
        assert f".B nervectl {words}\n" in manual, f"{words} is not in the synopsis"
        assert re.search(rf'^\.(B|BR|BI) "?{words}\b', manual, re.MULTILINE), f"{words} is not explained"
        assert any(f"{told} ".startswith(f"nervectl {words} ") for told in table), (
            f"{words} is not in operate.md"
        )
        known |= {option for item in command.params for option in item.opts if option.startswith("--")}
    assert options(manual) == known - {"--help"}


ACKNOWLEDGED = "2026-01-01T14:24:58.123Z"
LINES = [
    (State.STARTING, {}, 0),
    (State.WAITING, {"reason": WHY, "attempt": 3, "next_attempt": 1009.0}, 1),
    (State.REGISTERING, {"attempt": 1}, 1),
    (State.ACTIVE, {"last_acknowledged_wall": ACKNOWLEDGED}, 0),
    (
        State.WARNING,
        {"failures": 2, "reason": WHY, "next_attempt": 1009.0, "last_acknowledged_wall": ACKNOWLEDGED},
        2,
    ),
    (State.OFFLINE, {"reason": WHY, "attempt": 3, "next_attempt": 1008.0}, 7),
    (State.STOPPING, {}, 1),
]


@pytest.mark.parametrize(("state", "fields", "pending"), LINES, ids=lambda value: getattr(value, "value", ""))
def test_the_status_lines_are_those_of_the_agent(
    state: State, fields: dict[str, object], pending: int
) -> None:
    snapshot = Snapshot(
        state,
        1000.0,
        "2026-01-01T00:00:00.000Z",
        agent_id="agent-9e585a959fad4296",
        center_url=URL,
        **fields,
    )
    line = status_line(snapshot, pending, FakeClock())
    assert f"| `{state.value}` | `{line}` |" in pages.section(pages.page("operate"), "What systemctl says")


def test_exit_codes_of_the_agent() -> None:
    told = {row[0] for row in pages.rows(pages.page("operate")) if row[0].isdigit()}
    manual = pages.man("dio-agent.8")
    for code in (0, errors.EX_TEMPFAIL, errors.EX_NOPERM, errors.EX_CONFIG):
        assert str(code) in told
        assert f".B {code}\n" in manual
    assert nerve_center.serve.EX_CONFIG == errors.EX_CONFIG
    assert f".B {errors.EX_CONFIG}\n" in pages.man("dio-nerve-center.8")


def test_values_of_the_units_are_those_of_the_units() -> None:
    folder = pages.ROOT / "packaging" / "systemd"
    units: set[str] = set()
    for path in folder.glob("*.service"):
        units |= set(path.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines())
    keys = {line.partition("=")[0] for line in units if "=" in line}
    checked = 0
    for path in pages.markdown_files():
        for value in re.findall(r"`([A-Z][A-Za-z]+=[^` ]+)`", path.read_text(encoding="utf-8")):
            if value.partition("=")[0] in keys:
                checked += 1
                assert value in units, f"{path.name}: {value}"
    assert checked >= 4


def test_the_drop_in_for_containers_is_the_same_in_page_and_manual() -> None:
    block = re.search(
        r"(?:^    .*\n)+",
        pages.section(pages.page("troubleshooting"), "226/NAMESPACE in an LXC guest"),
        re.MULTILINE,
    )
    assert block
    lines = [line.strip() for line in block[0].splitlines()]
    assert "\n".join(lines) in pages.man("dio-agent.8")
    unit = (pages.ROOT / "packaging/systemd/dio-agent.service").read_text()
    for line in lines[1:]:
        assert f"\n{line.partition('=')[0]}=" in unit, f"the unit does not set {line}"
