import os
from pathlib import Path

import psutil
import pytest
from fake_host import FakeHost, HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    host = FakeHost(tmp_path)
    monkeypatch.setattr(psutil, "PROCFS_PATH", host.roots.proc)  # where psutil's documentation says to set it
    return host


@pytest.fixture
def statvfs_result() -> os.statvfs_result:
    # bsize frsize blocks bfree bavail files ffree favail flag namemax
    return os.statvfs_result((4096, 1024, 1000, 400, 350, 200, 150, 150, 0, 255))
