"""TOML with line numbers: every syntax error of a file, and the line of a key.

tomllib stops at the first error and tells no lines of values. A file with three mistakes should be mended
once, so the line of each error is blanked and the rest is read again.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from dio_daemon.errors import Finding

MAX_SYNTAX_ERRORS = 20
MAX_FILE_BYTES = 1 << 20

_AT = re.compile(r"^(?P<message>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_HEADER = re.compile(r"^\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*(?P<key>[A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*(?P<dot>\.[^=]*)?=""")


def read_toml(file: Path, findings: list[Finding]) -> tuple[str, dict[str, Any]]:
    """A file's text and the document that can be read in it; what is wrong is added to `findings`."""
    source = read_text(file, findings)
    document, problems = parse_toml(source)
    findings += [Finding(str(file), line, message) for line, message in problems]
    return source, document


def read_text(file: Path, findings: list[Finding]) -> str:
    """What stands in a file; empty where it cannot be read, and why is added to `findings`."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise ValueError(f"is larger than {MAX_FILE_BYTES} bytes")
        return raw.decode("utf-8")
    except OSError as error:
        findings.append(Finding(str(file), None, f"cannot be read: {error.strerror}"))
    except ValueError as error:
        findings.append(Finding(str(file), None, f"cannot be read: {error}"))
    return ""


def parse_toml(source: str) -> tuple[dict[str, Any], list[tuple[int | None, str]]]:
    """The document that can be read, and (line, message) of each syntax error, lines counted from 1."""
    problems: list[tuple[int | None, str]] = []
    lines = source.splitlines()
    while True:
        try:
            return tomllib.loads("\n".join(lines) + "\n"), problems
        except tomllib.TOMLDecodeError as error:
            line, message = _where(str(error), lines)
            problems.append((line, f"not valid TOML: {message}"))
            if len(problems) >= MAX_SYNTAX_ERRORS or line is None:
                return {}, problems
            lines[line - 1] = ""
        except (ValueError, RecursionError) as error:  # a number too long, brackets too deep: no line is told
            return {}, [*problems, (None, f"not valid TOML: {str(error)[:200]}")]


def _where(error: str, lines: list[str]) -> tuple[int | None, str]:
    found = _AT.match(error)
    if not found:
        return None, error
    if found["line"] is None:
        rest = [number for number, line in enumerate(lines, 1) if line.strip()]
        return (rest[-1] if rest else None), found["message"] + " at the end of the file"
    number = min(int(found["line"]), len(lines))
    while number > 1 and not lines[number - 1].strip():
        number -= 1
    return number, f"{found['message']} (column {found['column']})"


def line_of(source: str, section: str | None, key: str | None) -> int | None:
    """The line on which a section's key stands; of the section itself when key is None; None when not found."""
    current: str | None = None
    section_line: int | None = None
    for number, line in enumerate(source.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            current = header["name"].strip("\"'")
            if current == section or current.startswith(f"{section}."):
                section_line = section_line or number
                if key is None or current == f"{section}.{key}":
                    return number
            continue
        found = _KEY.match(line)
        if not found:
            continue
        name = found["key"].strip("\"'")
        if current == section and name == key:
            return number
        if current is None and name == section:
            dotted = (found["dot"] or "").lstrip(". ").strip()
            if key is None or dotted.split(".")[0].strip() == key:
                return number
            section_line = section_line or number
    return section_line
