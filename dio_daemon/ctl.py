"""`dioctl`: ask the agent on this host, and tell it what to do.

It has to be quick, so this module holds the command line only, and what a command needs is imported when it runs.
Importing is what `dioctl status` spends its time on: command lines as plain as that one do without argparse, and what
only type checkers read is imported for them alone (benchmarks/dioctl.py has the figures).
"""

from __future__ import annotations

import io
import os
import sys

from dio_daemon import __version__
from dio_daemon.errors import EX_CONFIG, ConfigError, DioError
from dio_daemon.ipc.client import BRIDGE_S, Client, NotRunning

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Any

    Command = Callable[[Client, Any], int]

DEFAULT_SOCKET = "/run/dio-agent/agent.sock"
DEFAULT_CONFIG = "/etc/dio-agent/agent.toml"

CONFIG_HELP = "the configuration file (default: %(default)s)"

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
    options: Any = plain(words) or build_parser().parse_args(words)
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


def lazily(module: str, name: str) -> Command:
    """A command that is imported when it runs."""

    def run(client: Client, options: Any) -> int:
        import importlib

        return int(getattr(importlib.import_module(f"dio_daemon.cli.{module}"), name)(client, options))

    return run


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser(
        prog="dioctl",
        description="Ask the DIO agent on this host, and tell it what to do.",
        epilog="Members of group dio may ask and report; changes are for root. Exit codes: 0 done, 1 failed, "
        "2 usage, 3 no agent answers, 78 bad configuration. See dioctl(1).",
    )
    parser.add_argument("--version", action="version", version=f"dioctl {__version__}")
    parser.add_argument(
        "--socket",
        default=DEFAULT_SOCKET,
        metavar="PATH",
        help="control socket (default: %(default)s)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="one JSON document, for programs")

    def add(
        name: str, help_: str, module: str, function: str, description: str | None = None
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=help_, description=description or help_ + ".", parents=[as_json]
        )
        made.set_defaults(run=lazily(module, function))
        return made

    add("status", "how the agent is, what it waits for, what it has delivered", "show", "status")
    top = add("top", "this host live, and what the agent itself costs", "top", "top")
    top.add_argument(
        "--interval",
        type=_interval,
        default=2.0,
        metavar="S",
        help="seconds between two looks, 0.2 to 3600 (default: 2)",
    )
    top.add_argument("--once", action="store_true", help="show it once and end")
    add(
        "health",
        "one line for monitoring; exit code 0 ok, 1 warning, 2 critical, 3 unknown",
        "show",
        "health",
    )
    add("spool", "what waits to be delivered, what is kept, and what is missing", "show", "spool")
    add("threats", "open threats of this host", "show", "threats")
    events = add("events", "what happens in the agent, as it happens", "show", "events")
    events.add_argument("--follow", "-f", action="store_true", help="the default, and the only way so far")
    add("metrics", "Prometheus text; with --json the latest sample", "show", "metrics")
    drill = add(
        "drill",
        "play harmless imitations of attacks, undo them, and show which were seen (root)",
        "drill",
        "drill",
    )
    drill.add_argument("--yes", action="store_true", help="do it; without, only what would be done is shown")
    drill.add_argument("--only", action="append", metavar="NAME", help="this imitation; may be given again")
    _add_steering(add)
    _add_report(commands, as_json)
    _add_config(commands, as_json)
    _add_rules(commands, as_json)
    _add_change(commands, as_json)
    _add_enroll(commands, as_json)
    debug = commands.add_parser("debug", help="for support").add_subparsers(metavar="COMMAND", required=True)
    bundle = debug.add_parser("bundle", help="one archive with all that support asks for", parents=[as_json])
    bundle.add_argument("--output", "-o", type=Path, metavar="FILE", help="where to write it (default: here)")
    bundle.set_defaults(run=lazily("bundle", "bundle"))
    return parser


def _interval(text: str) -> float:
    """Seconds between two looks. Raises ValueError, which the parser puts into words."""
    value = float(text)
    if not 0.2 <= value <= 3600:
        raise ValueError(text)
    return value


def _add_steering(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("reload", "read the configuration again (root)", "steer", "reload")
    add("flush", "deliver what waits now (root)", "steer", "flush")
    add("reregister", "register with the nerve center again (root)", "steer", "reregister")
    pause = add("pause", "pause reporting for a while; sampling goes on (root)", "steer", "pause")
    pause.add_argument("duration", metavar="DURATION", help="how long: 90s, 30m, 2h, 1d (7 days at most)")
    pause.add_argument("--reason", default="", help="why, for whoever looks at the nerve center")
    add("resume", "end the pause (root)", "steer", "resume")
    level = add("log-level", "log more or less until the next reload or start (root)", "steer", "log_level")
    level.add_argument("level", choices=["debug", "info", "warning", "error"])


def _add_report(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], as_json: argparse.ArgumentParser
) -> None:
    report = commands.add_parser("report", help="submit an event or metrics of your own")
    kinds = report.add_subparsers(metavar="KIND", required=True)
    event = kinds.add_parser("event", help="submit an event", parents=[as_json])
    event.add_argument("type", metavar="TYPE", help="such as backup.finished")
    event.add_argument("message", metavar="MESSAGE", nargs="?", default="")
    event.add_argument("--data", metavar="JSON", help="an object with more about it; - reads standard input")
    event.set_defaults(run=lazily("steer", "report_event"))
    metric = kinds.add_parser("metrics", help="submit metrics", parents=[as_json])
    metric.add_argument("metric", metavar="NAME=NUMBER", nargs="+")
    metric.set_defaults(run=lazily("steer", "report_metrics"))


def _add_config(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], as_json: argparse.ArgumentParser
) -> None:
    kinds = commands.add_parser("config", help="show or check the configuration").add_subparsers(
        metavar="COMMAND", required=True
    )
    show = kinds.add_parser("show", help="what is in force, and where it came from", parents=[as_json])
    show.set_defaults(run=lazily("show", "config_show"))
    check = kinds.add_parser("check", help="every error of the files, with its line", parents=[as_json])
    same = commands.add_parser("check-config", help="the same as config check", parents=[as_json])
    from pathlib import Path

    for parser in (check, same):
        parser.add_argument(
            "--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help=CONFIG_HELP
        )
        parser.set_defaults(run=_check_config)


def _add_rules(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], as_json: argparse.ArgumentParser
) -> None:
    from pathlib import Path

    kinds = commands.add_parser(
        "rules", help="list, check or try the rules that make threats"
    ).add_subparsers(metavar="COMMAND", required=True)
    listed = kinds.add_parser(
        "list", help="the rules of the files, and where each is from", parents=[as_json]
    )
    check = kinds.add_parser("check", help="every error of the files, with its line", parents=[as_json])
    check.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="a file to check together with them"
    )
    test = kinds.add_parser("test", help="what the rules say of recorded samples", parents=[as_json])
    test.add_argument(
        "file", metavar="FILE", type=Path, help="samples, one JSON object a line; - reads standard input"
    )
    for parser, name in ((listed, "list_"), (check, "check"), (test, "test")):
        parser.add_argument(
            "--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help=CONFIG_HELP
        )
        parser.set_defaults(run=lazily("rules", name))


def _add_change(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], as_json: argparse.ArgumentParser
) -> None:
    kinds = commands.add_parser(
        "change", help="announce changes of this host, so that they are recorded and not told (root)"
    ).add_subparsers(metavar="COMMAND", required=True)
    begin = kinds.add_parser("begin", help="what changes from now on is meant", parents=[as_json])
    begin.add_argument(
        "--for", dest="duration", default="30m", metavar="DURATION", help="how long: 30m, 2h (1d at most)"
    )
    begin.add_argument("--reason", default="", help="why, for the record")
    begin.set_defaults(run=lazily("steer", "change_begin"))
    end = kinds.add_parser("end", help="the change is done", parents=[as_json])
    end.set_defaults(run=lazily("steer", "change_end"))
    accept = kinds.add_parser(
        "accept", help="what is told of this host's body now was meant, too", parents=[as_json]
    )
    accept.set_defaults(run=lazily("steer", "change_accept"))


def _add_enroll(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], as_json: argparse.ArgumentParser
) -> None:
    from pathlib import Path

    enroll = commands.add_parser(
        "enroll",
        help="name the nerve center and give the enrollment token (root)",
        description="Write nerve_center.url and the enrollment token, then start the agent. The token is read from "
        "standard input or from a file, never from the command line. At the nerve center: nervectl token show",
        parents=[as_json],
    )
    enroll.add_argument(
        "url", metavar="URL", help="of the nerve center, such as https://center.example.org:8000"
    )
    enroll.add_argument("--token-file", type=Path, metavar="FILE", help="read the token from a file")
    enroll.add_argument("--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help=CONFIG_HELP)
    enroll.add_argument(
        "--allow-plain-http",
        action="store_true",
        help="send this agent's credential unencrypted to another host (only on networks that you trust)",
    )
    enroll.add_argument("--no-start", action="store_true", help="do not start the agent afterwards")
    enroll.set_defaults(run=_enroll)


def _check_config(client: Client, options: argparse.Namespace) -> int:
    from dio_daemon import config

    try:
        config.load(options.config)
    except ConfigError as error:
        if not options.json:
            raise
        import json

        found = [{"file": item.file, "line": item.line, "message": item.message} for item in error.findings]
        print(json.dumps({"errors": found}, indent=2))
        return EX_CONFIG
    print('{"errors": []}' if options.json else f"{options.config}: no errors")
    return 0


def _enroll(client: Client, options: argparse.Namespace) -> int:
    from dio_daemon.enroll import enroll

    arguments = (
        options.url,
        options.token_file,
        options.config,
        options.allow_plain_http,
        not options.no_start,
    )
    if not options.json:
        return enroll(*arguments)
    import contextlib
    import json

    with contextlib.redirect_stdout(sys.stderr):
        code = enroll(*arguments)
    print(json.dumps({"enrolled": True, "ready": code == 0 and not options.no_start}))
    return code


def why_not_running(socket: str) -> str:
    """What systemd knows of the agent, and what to do."""
    if not is_unit(socket):
        return "Is the agent running?"
    from dio_daemon.unit import explain

    return explain()


def patience_s(socket: str) -> float:
    """How long an agent that does not answer is worth waiting for, in seconds, as systemd knows it."""
    if not is_unit(socket):
        return BRIDGE_S
    from dio_daemon.unit import patience_s

    return patience_s()


def is_unit(socket: str) -> bool:
    """Whether it is the unit's agent that was asked, under systemd."""
    return socket == DEFAULT_SOCKET and os.path.isdir("/run/systemd/system")  # noqa: PTH112


if __name__ == "__main__":
    sys.exit(main())
