"""Waiting for PostgreSQL without holding up the others of a gevent worker.

The driver is written in C and waits where gevent cannot see it: while one request waits for the database, its whole
worker would. psycopg2 offers a callback for that: it asks what to wait for, and the callback waits by gevent.
"""

from __future__ import annotations

import sys
from typing import Any

CONNECT_S = 5.0
ANSWER_S = 45.0
"""Longer than the database itself lets a statement run: past that the network has lost it."""


def cooperate(driver: Any) -> None:
    """Make the driver wait by gevent where gevent has patched this process; otherwise change nothing."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("select") or driver.extensions.get_wait_callback():
        return
    from gevent import socket

    extensions = driver.extensions

    def wait(connection: Any) -> None:
        # The library's own connect_timeout does not hold for connections that are polled.
        timeout_s = CONNECT_S if connection.status == extensions.STATUS_SETUP else ANSWER_S
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            late = driver.OperationalError("the database has not answered in time")
            if state == extensions.POLL_READ:
                socket.wait_read(connection.fileno(), timeout_s, late)
            elif state == extensions.POLL_WRITE:
                socket.wait_write(connection.fileno(), timeout_s, late)
            else:
                raise driver.OperationalError(f"the driver answered {state!r} when it was polled")

    extensions.set_wait_callback(wait)
