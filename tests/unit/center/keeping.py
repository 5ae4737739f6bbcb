"""What tests of the keeper's tasks share."""

from __future__ import annotations

import threading

import pytest

from nerve_center.keeper.lease import Lease
from nerve_center.keeper.task import Desk
from tests.unit.center.harness import CenterUnderTest


@pytest.fixture
def desk(center: CenterUnderTest) -> Desk:
    """The desk of an active keeper; its lease is as long as the test."""
    parts = center.center
    lease = Lease(parts.engine, parts.writer, center.clock, "keeper", 1e12)
    lease.step()
    return Desk(center.settings, parts.engine, parts.writer, lease, center.clock, threading.Event())
