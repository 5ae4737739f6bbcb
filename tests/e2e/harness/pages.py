"""The pages of a nerve center in a real Chromium, which runs on this machine, in the host's network."""

from __future__ import annotations

import json
from typing import Any

from .commands import run
from .dio import CENTER_URL
from .host import Host
from .roots import REPOSITORY

_PYTHON = REPOSITORY / ".venv/bin/python"


def faults(host: Host, person: str) -> dict[str, Any]:
    """What is wrong with the pages of the host's nerve center, by page; hosts of all kinds are told to it first.

    `person` is an admin there, who is logged in by a link.
    """
    link = host.run(f"nervectl user login-link {person}").strip()
    token = host.run("nervectl token show").strip()
    inside = ["nsenter", "-t", str(host.leader), "-n", "--", "env", f"PYTHONPATH={REPOSITORY}"]
    looks = ["--look", "wide", "--look", "phone", "--host", host.name]
    command = [*inside, str(_PYTHON), "-m", "tests.browser.look", *looks, CENTER_URL, link, token]
    found: dict[str, Any] = json.loads(run(command, timeout_s=300))
    return found
