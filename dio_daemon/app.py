"""The `dio-agent` command: its options, its configuration, and what is said where the agent cannot start.

What an agent is made of stands in `agent`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from dio_daemon import __version__, config, journal
from dio_daemon.agent import Agent, Parts
from dio_daemon.clock import Clock
from dio_daemon.errors import EX_CONFIG, EX_TEMPFAIL, ConfigError, DioError
from dio_daemon.files import takes_files
from dio_daemon.messages import Kind, about
from dio_daemon.service_manager import Systemd
from dio_daemon.text import counted

log = logging.getLogger(__name__)

UNUSABLE_S = 20.0
"""Before an end because the state folder or the socket cannot be used: systemd starts the agent again at once,
and nothing can be remembered from one start to the next."""


def main(arguments: Sequence[str] | None = None, parts: Parts | None = None) -> int:
    """The `dio-agent` command; its exit code."""
    parts = parts or Parts()
    options = _options(sys.argv[1:] if arguments is None else arguments)
    journal.set_up_logging("info", os.environ)
    clock = parts.clock()
    manager = Systemd(os.environ, clock)
    try:
        settings = config.load(options.config)
    except ConfigError as error:
        bad = about(Kind.BAD_CONFIGURATION, exit_code=EX_CONFIG)
        for finding in error.findings:
            log.error("%s", finding, extra=bad)
        log.error(
            "The configuration has %s; the agent does not start",
            counted(len(error.findings), "error", "errors"),
            extra=bad,
        )
        manager.status(f"bad configuration: {error.findings[0]}")
        return EX_CONFIG
    if options.check_config:
        print(f"{options.config}: no errors")  # noqa: T201 - for the person who asked
        return 0
    journal.set_level(settings.log.level)
    faulthandler.enable()  # the watchdog's SIGABRT then shows in the journal where each thread hung
    try:
        return Agent(settings, options.config, clock, manager, parts).run()
    except (DioError, OSError) as error:
        unusable = about(Kind.UNUSABLE, exit_code=EX_TEMPFAIL, wait_s=UNUSABLE_S)
        log.error("%s; trying again in %.0f s", error, UNUSABLE_S, extra=unusable)
        manager.status(str(error))
        manager.extend_timeout(2 * UNUSABLE_S)
        _until_usable(settings.paths.state_dir, clock)
        return EX_TEMPFAIL
    finally:
        manager.close()


def _options(arguments: Sequence[str]) -> SimpleNamespace:
    """The command line's. systemd gives none, and a parser would stay in memory."""
    found = SimpleNamespace(config=config.DEFAULT_PATH, check_config=False)
    if not arguments:
        return found
    import argparse

    parser = argparse.ArgumentParser(
        prog="dio-agent",
        description="Watch this host and report to a nerve center. Usually started by systemd.",
        epilog="Ask a running agent with dioctl(1). Exit codes: 0 stopped, 75 nerve center not ready, "
        "77 refused by the nerve center, 78 bad configuration.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=config.DEFAULT_PATH,
        metavar="FILE",
        help="configuration file; drop-ins are read from FILE.d (default: %(default)s)",
    )
    parser.add_argument("--check-config", action="store_true", help="check the configuration and exit")
    parser.add_argument("--version", action="version", version=f"dio-agent {__version__}")
    return parser.parse_args(arguments, SimpleNamespace())


def _until_usable(state_dir: Path, clock: Clock) -> None:
    """Hold back, for `UNUSABLE_S` at most, and no longer once a state folder that took no file takes one again."""
    never, until = threading.Event(), clock.monotonic() + UNUSABLE_S
    refused = not takes_files(state_dir)
    while (left := until - clock.monotonic()) > 0 and not (refused and takes_files(state_dir)):
        clock.wait(never, min(1.0, left))


if __name__ == "__main__":
    sys.exit(main())
