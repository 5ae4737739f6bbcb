"""Reading the documentation: Markdown sections and tables, conffiles, manual pages, and string constants of code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
MAN = ROOT / "packaging" / "man"
PACKAGES = ("dio_daemon", "nerve_center")


def page(name: str) -> str:
    """The text of a page of docs/."""
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def section(text: str, *headings: str) -> str:
    """What stands below a heading, down to the next one of its level; several headings go inwards."""
    for heading in headings:
        found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
        assert found, f"there is no heading {heading!r}"
        rest = text[found.end() :]
        end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
        text = rest[: end.start()] if end else rest
    return text


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, without headings and rules."""
    found = []
    for line in text.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\-: ]+", line):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def markdown_files() -> list[Path]:
    """All documentation in Markdown."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def conffile(path: Path) -> dict[str, dict[str, Any]]:
    """The settings of a shipped file in which every line is a comment."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        assert not line or line.startswith("#"), f"{path.name} sets something: {line}"
        if re.match(r"#(\[[a-z_]+\]$|[a-z_]+ = )", line):
            lines.append(line[1:])
    return tomllib.loads("\n".join(lines))


def man(name: str) -> str:
    """A manual page as text: escapes resolved, font requests left in place."""
    source = (MAN / name).read_text(encoding="utf-8")
    return source.replace(r"\(dq", '"').replace(r"\-", "-").replace("\\ ", " ")


def man_settings(name: str) -> dict[str, dict[str, Any]]:
    """The settings of a configuration file's manual page: `.SS [section]`, then `.BR key " = default"`."""
    lines = []
    for line in man(name).splitlines():
        if found := re.fullmatch(r"\.SS (\[[a-z_]+\])", line):
            lines.append(found[1])
        elif found := re.fullmatch(r'\.BR ([a-z_]+) "( = .*)"', line):
            lines.append(found[1] + found[2])
    return tomllib.loads("\n".join(lines))


def modules(package: str) -> Iterator[ast.Module]:
    """Every module of a package, parsed."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def calls(package: str, *functions: str) -> Iterator[ast.Call]:
    """Every call of a function by its name, whatever it is an attribute of."""
    for module in modules(package):
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if name in functions:
                    yield node


def text_of(node: ast.AST | None) -> str | None:
    """The value of a string constant; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
