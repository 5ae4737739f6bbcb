from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.center.harness import CenterUnderTest


@pytest.fixture
def center(tmp_path: Path) -> Iterator[CenterUnderTest]:
    under_test = CenterUnderTest(tmp_path)
    yield under_test
    under_test.close()
