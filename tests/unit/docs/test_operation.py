"""Endpoints, commands, status lines, exit codes and values of the units, as the pages and manual pages tell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import click
import pytest
import yaml

import dio_daemon.app
import dio_daemon.ctl
import nerve_center.serve
from dio_daemon import errors
from dio_daemon.lifecycle import Snapshot, State
from dio_daemon.status import status_line
from nerve_center.contract import PATH as OPENAPI
from tests.support.clock import FakeClock
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


def test_requests_of_the_control_socket() -> None:
    source = (pages.ROOT / "dio_daemon" / "app.py").read_text(encoding="utf-8")
    paths = set(re.findall(r'"(/v1/[a-z/]+)"', source))
    told = re.findall(
        r"`(?:GET|POST) (/v1/[a-z/]+)`", pages.section(pages.page("operate"), "dioctl and the control socket")
    )
    assert paths and set(told) == paths


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
    [("dio-agent.8", dio_daemon.app.main), ("dio-nerve-center.8", nerve_center.serve.main)],
)
def test_options_of_the_daemons(
    manual: str, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    known = options(help_of(main, [], capsys))
    assert known >= {"--config", "--check-config", "--version"}
    assert options(pages.man(manual)) == known


def test_dioctl(capsys: pytest.CaptureFixture[str]) -> None:
    manual = pages.man("dioctl.1")
    text = help_of(dio_daemon.ctl.main, [], capsys)
    known = options(text)
    commands = re.findall(r"^ {4}([a-z][a-z-]+)(?: |$)", text, re.MULTILINE)
    assert {"status", "reload", "check-config", "enroll"} <= set(commands)
    for command in commands:
        assert f".B dioctl {command}\n" in manual, f"{command} is not in the synopsis"
        assert re.search(rf'^\.(B|BR|BI) "?{command}\b', manual, re.MULTILINE), f"{command} is not explained"
        known |= options(help_of(dio_daemon.ctl.main, [command], capsys))
    assert options(manual) - {"--unix-socket"} == known  # curl's, in an example


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


LINES = [
    (State.STARTING, {}, 0),
    (State.WAITING, {"reason": WHY, "attempt": 3, "next_attempt": 1009.0}, 1),
    (State.REGISTERING, {"attempt": 1}, 1),
    (State.ACTIVE, {"last_acknowledged": 997.0}, 0),
    (
        State.WARNING,
        {"failures": 2, "reason": WHY, "next_attempt": 1009.0, "last_acknowledged": 976.0},
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
        **fields,  # type: ignore[arg-type]  # a table of keywords
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
