"""`dioctl`: ask the agent on this host, and tell it what to do.

It has to be quick, so what a command needs is imported when it runs.
Importing is what `dioctl status` spends its time on: command lines as plain as that one do without argparse, and what
only type checkers read is imported for them alone (benchmarks/dioctl.py has the figures).
"""

from __future__ import annotations

import io
import os
import sys

from dio_daemon.cli import DEFAULT_SOCKET, lazily
from dio_daemon.errors import EX_CONFIG, ConfigError, DioError
from dio_daemon.ipc.client import Client, NotRunning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

EX_FAILED = 1
EX_NOT_RUNNING = 3

PLAIN = {"status": ("show", "status"), "health": ("show", "health"), "spool": ("show", "spool")}
"""Commands that scripts ask for again and again, with no option but --json: module and function of each."""


class Plain:
    """The options of a plain command line, as the parser would find them."""

    def __init__(self, command: str, socket: str, json: bool) -> None:
        self.run = lazily(*PLAIN[command])
        self.socket = socket
        self.json = json


def plain(words: Sequence[str]) -> Plain | None:
    """The options of `[--socket PATH] status [--json]` and its like; None for what takes the parser."""
    socket, rest = DEFAULT_SOCKET, list(words)
    if rest[:1] == ["--socket"] and len(rest) > 1 and not rest[1].startswith("-"):
        socket, rest = rest[1], rest[2:]
    if not rest or rest[0] not in PLAIN or rest[1:] not in ([], ["--json"]):
        return None
    return Plain(rest[0], socket, bool(rest[1:]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The `dioctl` command; its exit code: 0 done, 1 failed, 2 usage, 3 no agent answers, 78 bad configuration."""
    words = sys.argv[1:] if arguments is None else arguments
    # A locale of a few letters only: what it has not shows as a question mark.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    options: Any = plain(words) or parsed(words)
    client = Client(options.socket, patience=lambda: patience_s(options.socket))
    try:
        code = int(options.run(client, options))
        sys.stdout.flush()
        return code
    except NotRunning as error:
        print(f"dioctl: {error}\n{why_not_running(options.socket)}", file=sys.stderr)
        return EX_NOT_RUNNING
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)
        return EX_CONFIG
    except DioError as error:
        print(f"dioctl: {error}", file=sys.stderr)
        return EX_FAILED
    except BrokenPipeError:
        # Whoever read the output went away. There is nobody to tell, and nowhere to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_FAILED
    except KeyboardInterrupt:
        return 130


def parsed(words: Sequence[str]) -> Any:
    """The options of any command line. Ends with status 2 where it is none."""
    from dio_daemon.cli.parser import build_parser

    return build_parser().parse_args(words)


def why_not_running(socket: str) -> str:
    """What systemd knows of the agent, and what to do."""
    from dio_daemon import unit

    return unit.explain(socket)


def patience_s(socket: str) -> float:
    """How long an agent that does not answer is worth waiting for, in seconds, as systemd knows it."""
    from dio_daemon import unit

    return unit.patience_s(socket)


if __name__ == "__main__":
    sys.exit(main())
