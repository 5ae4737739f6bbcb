"""One message to one address, through Apprise, which is loaded when the first one is sent."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from nerve_center.alerts.message import OVER, Message
from nerve_center.alerts.routes import Target

Send = Callable[[Target, Message, str], str | None]
"""Sends a message with an id; None when it was taken, else why not."""

_LEAST_SECRET = 4


def send(target: Target, message: Message, notification_id: str) -> str | None:
    """See `Send`. Takes as long as the service's time limits, some seconds. What it says never shows a URL's parts."""
    try:
        import apprise
    except ImportError:
        return "Apprise is not installed (apt install apprise)"
    logging.getLogger("apprise").propagate = False  # it names addresses
    service = apprise.Apprise()
    if not service.add(target.url):
        return "Apprise does not know an address of this form"
    kinds = apprise.NotifyType
    kind = {"critical": kinds.FAILURE, "high": kinds.FAILURE, OVER: kinds.SUCCESS}.get(
        message.severity, kinds.WARNING
    )
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as captured:  # type: ignore[no-untyped-call]  # apprise says no types of it
        taken = service.notify(
            title=message.title,
            body=f"{message.body}\n\nId of this notification: {notification_id}",
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
        )
        said = captured.getvalue()
    return None if taken else _without_secrets(said, target.url) or "the service did not take it"


def _without_secrets(said: str, url: str) -> str:
    """The first line of what Apprise said, without any part of the address."""
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")[:300]
    for part in sorted(re.split(r"[:/@?&=#,]+", url)[1:], key=len, reverse=True):
        if len(part) >= _LEAST_SECRET:
            line = line.replace(part, "***")
    return line
