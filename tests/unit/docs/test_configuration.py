"""Every setting is in docs/configure.md, in the shipped file and in the manual page, with its true default."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dio_daemon.config
import nerve_center.config
from tests.unit.docs import pages

FILES = {"agent.toml": dio_daemon.config, "nerve-center.toml": nerve_center.config}
each_file = pytest.mark.parametrize("file", FILES)


def sections(file: str) -> dict[str, Any]:
    """Section to its dataclass with defaults."""
    config = FILES[file].Config()
    found = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
    return {name: value for name, value in found.items() if dataclasses.is_dataclass(value)}


def defaults(file: str) -> dict[str, dict[str, Any]]:
    """Section to key to default, as TOML has it."""
    return {
        name: {item.name: as_toml(getattr(value, item.name)) for item in dataclasses.fields(value)}
        for name, value in sections(file).items()
    }


def as_toml(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def documented(file: str) -> dict[str, dict[str, list[str]]]:
    """Section to key to the cells of its row: default, bounds, meaning."""
    text = pages.section(pages.page("configure"), file)
    names = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        table = pages.rows(pages.section(text, name))
        assert table[0] == ["key", "default", "bounds", "meaning"], name
        found[name] = {pages.code(key)[0]: cells for key, *cells in table[1:]}
    return found


@each_file
def test_every_setting_is_in_configure_md(file: str) -> None:
    told = {
        name: {key: tomllib.loads(f"x = {pages.code(cells[0])[0]}")["x"] for key, cells in keys.items()}
        for name, keys in documented(file).items()
    }
    assert told == defaults(file)


@each_file
def test_every_setting_has_a_meaning(file: str) -> None:
    for name, keys in documented(file).items():
        for key, cells in keys.items():
            assert len(cells) == 3 and cells[2].endswith("."), f"{name}.{key}"


@each_file
def test_the_bounds_are_those_of_the_code(file: str, tmp_path: Path) -> None:
    """Both ends of each range are taken, and what lies just outside is not."""
    ranges = 0
    for name, keys in documented(file).items():
        for key, cells in keys.items():
            found = re.fullmatch(r"([0-9.]+) to ([0-9.]+)", cells[1])
            numeric = isinstance(defaults(file)[name][key], int | float)
            if not found:
                assert not numeric or cells[1] == "true or false", f"{name}.{key} has no bounds"
                continue
            ranges += 1
            accepts = acceptance(file, name, key, tmp_path)
            for text, away in zip(found.groups(), (-1, 1), strict=True):
                whole = isinstance(defaults(file)[name][key], int)
                bound = int(text) if whole else float(text)
                beyond = bound + away if whole else math.nextafter(bound, away * math.inf)
                assert accepts(bound), f"{name}.{key} does not take {bound}"
                assert not accepts(beyond), f"{name}.{key} takes {beyond}"
    assert ranges > 5


def acceptance(file: str, name: str, key: str, folder: Path) -> Callable[[float], bool]:
    """Whether the program takes a value for a setting, asked through a real file."""

    def accepts(value: float) -> bool:
        # Wide enough for every other setting that has to fit with it.
        extra = "total_timeout_s = 600\n" if key == "connect_timeout_s" else ""
        extra = "connect_timeout_s = 0.1\n" if key == "total_timeout_s" else extra
        path = folder / file
        path.write_text(f"[{name}]\n{key} = {value!r}\n{extra}")
        try:
            FILES[file].load(path)
        except (dio_daemon.config.ConfigError, nerve_center.config.ConfigError):
            return False
        return True

    return accepts


@each_file
def test_the_shipped_file_shows_every_default_as_a_comment(file: str) -> None:
    assert pages.conffile(pages.ROOT / "packaging" / file) == defaults(file)


@each_file
def test_the_manual_page_of_the_file_has_every_default(file: str) -> None:
    assert pages.man_settings(f"{file}.5") == defaults(file)


def test_the_example_of_a_drop_in_is_taken(tmp_path: Path) -> None:
    """The examples in the manual pages are configurations that the programs take."""
    for file, module in FILES.items():
        example = re.search(r"\.SH EXAMPLE\n\.nf\n(.*?)\.fi", pages.man(f"{file}.5"), re.DOTALL)
        assert example, file
        path = tmp_path / file
        path.write_text(example[1])
        assert module.load(path) != module.Config()
