"""The pages of an installed nerve center in a real Chromium, which runs on this machine, in the host's network."""

from __future__ import annotations

import json
from typing import Any

from .commands import run, run_full
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
    command = [*inside, str(_PYTHON), "-m", "tests.browser.look", *looks, "--", CENTER_URL, link, token]
    found: dict[str, Any] = json.loads(run(command, timeout_s=600))
    return found


def by_hand(center: Host, new: Host) -> str:
    """All that the tests of the pages do, and Schemathesis with the API, on the host's nerve center; their last line.

    `new` has the agent's package in /srv/deb, and is enrolled by the commands that the page shows.
    """
    given = {
        "DIO_CENTER_PID": center.leader,
        "DIO_CENTER_ADDRESS": center.address,
        "DIO_NEW_HOST_PID": new.leader,
        "PYTHONPATH": REPOSITORY,
    }
    settings = [f"{name}={value}" for name, value in given.items()]
    inside = ["nsenter", "-t", str(center.leader), "-n", "--", "env", "-C", str(REPOSITORY), *settings]
    tests = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/browser",
        "tests/contract/center/test_schemathesis.py",
    ]
    done = run_full([*inside, str(_PYTHON), *tests], check=False, timeout_s=800)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()[-1]
