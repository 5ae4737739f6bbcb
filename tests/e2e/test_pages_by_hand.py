"""The installed nerve center as people use it: in a real Chromium, by mouse, by keyboard and by touch."""

from __future__ import annotations

import pytest
from conftest import MakeHost, Note
from harness import dio, packaged, pages

LISTEN = {"/etc/dio-nerve-center/nerve-center.toml.d/10-listen.toml": '[server]\nhost = "0.0.0.0"\n'}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_pages_by_hand(make_host: MakeHost, note: Note) -> None:
    """Every act on the pages; a new host is put under watch by the commands that they show."""
    center = make_host("center", files=LISTEN)
    new = make_host("fresh", "ready")
    packaged.bring(new)
    new.write("/usr/local/bin/sudo", '#!/bin/sh\nexec "$@"\n', 0o755)  # who types is root already
    center.run(f"systemctl start {dio.CENTER} {dio.KEEPER}")
    note("the tests of the pages", pages.by_hand(center, new))
    assert new.active(dio.AGENT)
    assert dio.wrong(center, dio.CENTER) == []
