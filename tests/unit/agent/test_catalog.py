"""Every kind of event is logged, explained in the catalog, and on the page."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import get_type_hints

from dio_daemon.messages import Fields, Kind
from tests.unit.docs import pages

CATALOG = pages.ROOT / "packaging" / "systemd" / "dio-agent.catalog"


def catalog() -> dict[str, str]:
    """Message id to its entry."""
    parts = re.split(r"^-- ([0-9a-f]{32})\n", CATALOG.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_catalog_explains_every_kind_and_nothing_else() -> None:
    entries = catalog()
    assert set(entries) == {kind.value for kind in Kind}
    for text in entries.values():
        head, _, body = text.partition("\n\n")
        assert re.fullmatch(r"Subject: .+\nDefined-By: DIO(\nDocumentation: man:[a-z.-]+\([158]\))+", head), (
            text
        )
        assert len(body) > 20
        assert all(len(line) <= 84 for line in text.splitlines()), text
        for page, section in re.findall(r"man:([a-z.-]+)\((\d)\)", head):
            if page not in ("machine-id", "journald.conf"):
                assert (pages.MAN / f"{page}.{section}").is_file(), page


def test_journalctl_takes_the_catalog(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    (folder / CATALOG.name).write_bytes(CATALOG.read_bytes())
    for arguments in (["--update-catalog"], ["--list-catalog"]):
        done = subprocess.run(
            ["journalctl", f"--root={tmp_path}", *arguments], capture_output=True, text=True, check=True
        )
    assert {line.split()[0] for line in done.stdout.splitlines()} == {kind.value for kind in Kind}


def test_kinds_have_ids_of_their_own() -> None:
    assert len({kind.value for kind in Kind}) == len(Kind)
    for kind in Kind:
        assert re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", kind.value), kind


def test_every_kind_is_logged_somewhere() -> None:
    source = "".join(path.read_text() for path in (pages.ROOT / "dio_daemon").rglob("*.py"))
    for kind in Kind:
        assert f"Kind.{kind.name}" in source, kind


def test_the_page_lists_every_event_and_field() -> None:
    text = pages.page("journal")
    events = {word for row in pages.rows(pages.section(text, "Events")) for word in pages.code(row[0])}
    assert events == {kind.name.lower() for kind in Kind}
    fields = {word for row in pages.rows(pages.section(text, "Fields")) for word in pages.code(row[0])}
    standard = {
        "MESSAGE",
        "PRIORITY",
        "SYSLOG_IDENTIFIER",
        "MESSAGE_ID",
        "CODE_FILE",
        "CODE_LINE",
        "CODE_FUNC",
    }
    own = {f"DIO_{name.upper()}" for name in get_type_hints(Fields)}
    assert fields == standard | own | {"DIO_EVENT", "DIO_AGENT_ID"}
