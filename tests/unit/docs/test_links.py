"""Links lead somewhere, and targets of make that the pages name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs import pages


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of them: small letters, hyphens, no punctuation."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("path", pages.markdown_files(), ids=lambda path: str(path.relative_to(pages.ROOT)))
def test_links(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        to = (path.parent / name).resolve() if name else path
        assert to.is_file(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(to), f"{target}: no such heading"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, left = set(), [pages.ROOT / "README.md"]
    while left:
        path = left.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                left.append((path.parent / target).resolve())
    assert set(pages.markdown_files()) <= reached


def test_decisions_are_numbered_and_listed() -> None:
    files = sorted(path.name for path in (pages.DOCS / "decisions").glob("[0-9]*.md"))
    assert [name[:4] for name in files] == [f"{number:04d}" for number in range(1, len(files) + 1)]
    index = (pages.DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for name in files:
        title = (
            (pages.DOCS / "decisions" / name).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        )
        assert f"[{name[:4]}]({name}) | {title} |" in index


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (pages.ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in pages.markdown_files():
        for line in path.read_text(encoding="utf-8").splitlines():
            for target in re.findall(r"(?:^    |`)make ([a-z]\w*)", line):
                assert target in targets, f"{path.name}: make {target}"
