"""Waiting for what the kernel tells, also by a process that has no descriptor left."""

import os
import resource

from dio_daemon.detect.integrity.inotify import wait_for


def test_fewer_descriptors_allowed_than_are_waited_for() -> None:
    """poll(2) refuses that; a limit may be lowered under a running agent."""
    reading, writing = os.pipe()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        nothing = wait_for([reading], 0.0)
        os.write(writing, b"x")
        something = wait_for([reading], 60.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(reading)
        os.close(writing)
    assert (nothing, something) == (set(), {reading})
