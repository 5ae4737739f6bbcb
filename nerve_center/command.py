"""The command line that the units of the nerve center share: read the configuration, log, run."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from nerve_center import __version__, config, logs
from nerve_center.config import Config
from nerve_center.errors import ConfigError, StartError

EX_CONFIG = 78


def run(
    argv: list[str] | None,
    prog: str,
    description: str,
    work: Callable[[Path | None, Config], int],
    check: Callable[[Config], object] = lambda settings: None,
) -> int:
    """Run a unit's command; its exit code.

    Args:
        argv: its arguments; the process's own where there are none.
        prog, description: what `--help` says.
        work: gets the configuration's file, None for the default one, and the configuration; may raise StartError.
        check: what else the configuration has to stand, also under `--check-config`; may raise ConfigError.
    """
    options = _parser(prog, description).parse_args(argv)
    try:
        settings = config.load(options.config)
        check(settings)
    except ConfigError as exc:
        prefix = "<3>" if logs.under_journal(os.environ) else ""
        for line in exc.errors:
            print(prefix + line, file=sys.stderr)  # noqa: T201 for the person who asked, or the journal
        return EX_CONFIG
    if options.check_config:
        return 0
    logs.set_up(settings.log.level)
    try:
        return work(options.config, settings)
    except StartError as exc:
        logging.getLogger("nerve_center").critical("%s", exc)
        return 1


def _parser(prog: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration file (default: {config.DEFAULT_PATH})"
    )
    parser.add_argument("--check-config", action="store_true", help="check the configuration and exit")
    parser.add_argument("--version", action="version", version=f"{prog} {__version__}")
    return parser
