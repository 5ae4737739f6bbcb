"""A link, and a control socket with dioctl that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dio_daemon import ctl
from tests.support.control import Socket
from tests.support.dioctl import Said
from tests.support.link import Agent


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Socket]:
    made = Socket(tmp_path)
    made.active()
    yield made
    made.close()


@pytest.fixture
def dioctl(running: Socket, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Said:
        code = ctl.main(["--socket", str(running.path), *arguments])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def agent(tmp_path: Path, request: pytest.FixtureRequest) -> Agent:
    """A link with all below it, before its first step."""
    made = Agent(tmp_path)
    request.addfinalizer(made.spool.close)
    return made
