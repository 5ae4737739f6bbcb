"""The shells complete what the parser takes, and nothing else."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from dio_daemon.cli.parser import build_parser
from tests.unit.docs.pages import ROOT

FOLDER = ROOT / "packaging" / "completion"
EXAMPLES = {"30m", "2h", "1d"}
SHORT = {"-h", "-f", "-o"}


def expected(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, set[str]]]:
    """For each command line that may be completed: long options, commands and choices."""
    found = {option for item in parser._actions for option in item.option_strings if option.startswith("--")}
    groups = [item for item in parser._actions if isinstance(item, argparse._SubParsersAction)]
    for item in parser._actions:
        if item.choices is not None and not item.option_strings:
            found |= set(item.choices)
    yield " ".join(words), found
    for group in groups:
        for name, inner in group.choices.items():
            yield from expected(inner, *words, name)


LINES = dict(expected(build_parser()))


def bash(words: list[str]) -> set[str]:
    script = (
        f"source {FOLDER}/dioctl.bash; COMP_WORDS=(dioctl {' '.join(words)}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));"
        '_dioctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("line", LINES)
def test_bash(line: str) -> None:
    words = line.split()
    assert bash([*words, '""']) - EXAMPLES == LINES[line]
    assert bash(["--socket", "/x", *words, '""']) - EXAMPLES == LINES[line]
    assert bash([*words, "--h"]) >= {"--help"}


def test_bash_completes_files_and_leaves_free_text_alone() -> None:
    assert f"{FOLDER}/_dioctl" in bash(["debug", "bundle", "--output", f"{FOLDER}/_"])
    assert bash(["pause", "1h", "--reason", '""']) == set()


@pytest.mark.parametrize("line", LINES)
def test_fish(line: str) -> None:
    found: set[str] = set()
    for end in ("", "--"):
        script = f"source {FOLDER}/dioctl.fish; complete -C 'dioctl {line} {end}'"
        done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, timeout=30, check=True)
        found |= {answer.split("\t")[0] for answer in done.stdout.splitlines()}
    assert found - EXAMPLES - SHORT == LINES[line]


def zsh(lines: Sequence[str]) -> dict[str, set[str]]:
    """What an interactive zsh completes at the end of each line."""
    done = subprocess.run(
        ["zsh", "-f", str(ROOT / "tests/support/complete.zsh"), str(FOLDER)],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    parts = done.stdout.split("> ")[1:]
    return {head: set(matches.split()) for head, _, matches in (part.partition("\n") for part in parts)}


def test_zsh() -> None:
    asked = {
        line: [f"dioctl {line} ".replace("  ", " "), f"dioctl {line} --".replace("  ", " ")] for line in LINES
    }
    said = zsh([end for ends in asked.values() for end in ends])
    for line, ends in asked.items():
        assert set().union(*(said[end] for end in ends)) - EXAMPLES - SHORT == LINES[line], line


def test_zsh_completes_files_and_goes_on_after_options() -> None:
    files, after, free = (
        f"dioctl debug bundle --output {FOLDER}/dioctl.f",
        "dioctl --socket /x config ",
        "dioctl pause 1h --reason ",
    )
    said = zsh([files, after, free])
    assert said[files] == {"dioctl.fish"}
    assert said[after] == {"show", "check", "--help"}
    assert said[free] == set()


def test_the_package_installs_them() -> None:
    listed = (ROOT / "packaging/deb/dio-agent.install").read_text(encoding="utf-8")
    for file, folder in (
        ("dioctl.bash", "usr/share/bash-completion/completions"),
        ("_dioctl", "usr/share/zsh/vendor-completions"),
        ("dioctl.fish", "usr/share/fish/vendor_completions.d"),
    ):
        assert f"packaging/completion/{file} {folder}\n" in listed
