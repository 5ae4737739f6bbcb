"""The shells complete what the parser takes, and nothing else."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from dio_daemon.ctl import build_parser
from tests.unit.docs.pages import ROOT

FOLDER = ROOT / "packaging" / "completion"
EXAMPLES = {"30m", "2h", "1d"}


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


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize("line", LINES)
def test_fish(line: str) -> None:
    found: set[str] = set()
    for end in ("", "--"):
        script = f"source {FOLDER}/dioctl.fish; complete -C 'dioctl {line} {end}'"
        done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, timeout=30, check=True)
        found |= {answer.split("\t")[0] for answer in done.stdout.splitlines()}
    assert found - EXAMPLES - {"-h", "-f", "-o"} == LINES[line]


def zsh_words() -> dict[str, set[str]]:
    """Command to words, as they stand in the file for zsh."""
    text = (FOLDER / "_dioctl").read_text(encoding="utf-8")
    listed = re.search(r"commands=\(\n(.*?)\n +\)", text, re.DOTALL)
    assert listed
    found = {"": set(re.findall(r"'([a-z-]+):", listed[1])) | {"--help", "--version", "--socket"}}
    for names, kind, rest in re.findall(
        r"^ +([a-z' |-]+)\)\s+_dioctl_(options|kinds) (.*?) ;;", text, re.MULTILINE
    ):
        words = set(re.findall(r"(?<![\w(-])(--[a-z-]+|[a-z]+(?= |$))", re.sub(r"'[^']*'", "", rest))) | {
            "--help"
        }
        for choices in re.findall(r":level:\(([a-z ]+)\)", rest):
            words |= set(choices.split())
        for name in names.split("|"):
            found[name.strip().strip("'")] = words
        assert kind == "options" or names.strip() in ("report", "config", "debug")
    return found


def test_zsh() -> None:
    assert zsh_words() == LINES


def test_zsh_knows_every_option_that_it_names() -> None:
    text = (FOLDER / "_dioctl").read_text(encoding="utf-8")
    for option in set().union(*LINES.values()):
        if option.startswith("--") and option not in ("--help", "--version", "--socket"):
            assert re.search(rf"^ +{option}\) specs\+=\(.*{option}.*\[", text, re.MULTILINE), option
    if shutil.which("zsh") is not None:
        subprocess.run(["zsh", "-n", str(FOLDER / "_dioctl")], check=True, timeout=30)


def test_the_package_installs_them() -> None:
    listed = (ROOT / "packaging/deb/dio-agent.install").read_text(encoding="utf-8")
    for file, folder in (
        ("dioctl.bash", "usr/share/bash-completion/completions"),
        ("_dioctl", "usr/share/zsh/vendor-completions"),
        ("dioctl.fish", "usr/share/fish/vendor_completions.d"),
    ):
        assert f"packaging/completion/{file} {folder}\n" in listed
