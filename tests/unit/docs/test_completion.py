"""The shells complete what the parsers take, and nothing else."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from dio_daemon.cli.parser import build_parser
from nerve_center.nervectl import main as nervectl
from tests.unit.docs.pages import ROOT

FOLDER = ROOT / "packaging" / "completion"
EXAMPLES = {"30m", "2h", "1d"}
SHORT = {"-h", "-f", "-o"}


def of_argparse(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, set[str]]]:
    """For each command line that may be completed: long options, commands and choices."""
    found = {option for item in parser._actions for option in item.option_strings if option.startswith("--")}
    groups = [item for item in parser._actions if isinstance(item, argparse._SubParsersAction)]
    for item in parser._actions:
        if item.choices is not None and not item.option_strings:
            found |= set(item.choices)
    yield " ".join(words), found
    for group in groups:
        for name, inner in group.choices.items():
            yield from of_argparse(inner, *words, name)


def of_click(command: click.Command, *words: str) -> Iterator[tuple[str, set[str]]]:
    """The same of a command of click."""
    found = {"--help"}
    for item in command.params:
        if isinstance(item, click.Option):
            found |= {option for option in item.opts if option.startswith("--")}
        elif isinstance(item.type, click.Choice):
            found |= set(item.type.choices)
    inner = command.commands if isinstance(command, click.Group) else {}
    yield " ".join(words), found | set(inner)
    for name, each in inner.items():
        yield from of_click(each, *words, name)


LINES = {"dioctl": dict(of_argparse(build_parser())), "nervectl": dict(of_click(nervectl))}
EVERY = [(program, line) for program, lines in LINES.items() for line in lines]


def run(command: list[str], folder: Path, said: str = "") -> str:
    """What a shell prints that runs in an empty folder, where there are no files to complete."""
    done = subprocess.run(
        command, input=said, capture_output=True, text=True, timeout=240, check=True, cwd=folder
    )
    assert not done.stderr
    return done.stdout


def bash(folder: Path, program: str, *words: str) -> set[str]:
    script = (
        f"source {FOLDER}/{program}.bash; COMP_WORDS=({program} {' '.join(words)});"
        f"COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _{program};"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return set(run(["bash", "-c", script], folder).split())


@pytest.mark.parametrize(("program", "line"), EVERY)
def test_bash(tmp_path: Path, program: str, line: str) -> None:
    words, ahead = line.split(), "--socket" if program == "dioctl" else "--config"
    assert bash(tmp_path, program, *words, '""') - EXAMPLES == LINES[program][line]
    assert bash(tmp_path, program, ahead, "/x", *words, '""') - EXAMPLES == LINES[program][line]
    assert bash(tmp_path, program, *words, "--h") >= {"--help"}


def test_bash_completes_files_and_leaves_free_text_alone(tmp_path: Path) -> None:
    for line in ("dioctl debug bundle --output", "nervectl --config", "nervectl database restore"):
        assert f"{FOLDER}/_dioctl" in bash(tmp_path, *line.split(), f"{FOLDER}/_"), line
    assert bash(tmp_path, "dioctl", "pause", "1h", "--reason", '""') == set()
    assert bash(tmp_path, "nervectl", "user", "add", "--role", '""') == {"viewer", "operator", "admin"}


@pytest.mark.parametrize(("program", "line"), EVERY)
def test_fish(tmp_path: Path, program: str, line: str) -> None:
    asked = "; ".join(f"complete -C '{program} {line} {end}'" for end in ("", "--"))
    answers = run(["fish", "-c", f"source {FOLDER}/{program}.fish; {asked}"], tmp_path).splitlines()
    found = {answer.split("\t")[0] for answer in answers}
    assert found - EXAMPLES - SHORT == LINES[program][line]


def zsh(folder: Path, lines: Sequence[str]) -> dict[str, set[str]]:
    """What an interactive zsh completes at the end of each line."""
    command = ["zsh", "-f", str(ROOT / "tests/support/complete.zsh"), str(FOLDER)]
    parts = run(command, folder, "".join(f"{line}\n" for line in lines)).split("> ")[1:]
    return {head: set(matches.split()) for head, _, matches in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize("program", LINES)
def test_zsh(tmp_path: Path, program: str) -> None:
    asked = {
        line: [f"{program} {line} ".replace("  ", " "), f"{program} {line} --".replace("  ", " ")]
        for line in LINES[program]
    }
    if program == "nervectl":
        asked["user role"].append("nervectl user role ann ")  # the role is its second word
    said = zsh(tmp_path, [end for ends in asked.values() for end in ends])
    for line, ends in asked.items():
        assert set().union(*(said[end] for end in ends)) - EXAMPLES - SHORT == LINES[program][line], line


def test_zsh_completes_files_and_goes_on_after_options(tmp_path: Path) -> None:
    expected = {
        f"dioctl debug bundle --output {FOLDER}/dioctl.f": {"dioctl.fish"},
        "dioctl --socket /x config ": {"show", "check", "--help"},
        "dioctl pause 1h --reason ": set(),
        f"nervectl database backup {FOLDER}/nervectl.f": {"nervectl.fish"},
        "nervectl --config /x notify ": {"list", "test", "--help"},
        "nervectl user add --role ": {"viewer", "operator", "admin"},
    }
    assert zsh(tmp_path, list(expected)) == expected


@pytest.mark.parametrize(("package", "program"), [("dio-agent", "dioctl"), ("dio-nerve-center", "nervectl")])
def test_the_package_installs_them(package: str, program: str) -> None:
    listed = (ROOT / f"packaging/deb/{package}.install").read_text(encoding="utf-8")
    for file, folder in (
        (f"{program}.bash", "usr/share/bash-completion/completions"),
        (f"_{program}", "usr/share/zsh/vendor-completions"),
        (f"{program}.fish", "usr/share/fish/vendor_completions.d"),
    ):
        assert f"packaging/completion/{file} {folder}\n" in listed
