"""The commands that need no agent: `config check` and `enroll`."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable

from dio_daemon import config
from dio_daemon import enroll as enrolling
from dio_daemon.errors import EX_CONFIG, ConfigError
from dio_daemon.ipc.client import Client


def check_config(client: Client, options: argparse.Namespace) -> int:
    """Every error of the configuration's files, with its line."""

    def load() -> str:
        config.load(options.config)
        return f"{options.config}: no errors"

    return checked(load, options.json)


def checked(load: Callable[[], str], as_json: bool) -> int:
    """What loading says, which raises ConfigError where there are errors; with `as_json` a list of those."""
    try:
        sentence = load()
    except ConfigError as error:
        if not as_json:
            raise
        found = [{"file": item.file, "line": item.line, "message": item.message} for item in error.findings]
        print(json.dumps({"errors": found}, indent=2))
        return EX_CONFIG
    print('{"errors": []}' if as_json else sentence)
    return 0


def enroll(client: Client, options: argparse.Namespace) -> int:
    """Name the nerve center, keep the token and start the agent."""
    arguments = (
        options.url,
        options.token_file,
        options.config,
        options.allow_plain_http,
        not options.no_start,
    )
    if not options.json:
        return enrolling.enroll(*arguments)
    with contextlib.redirect_stdout(sys.stderr):
        code = enrolling.enroll(*arguments)
    print(json.dumps({"enrolled": True, "ready": code == 0 and not options.no_start}))
    return code
