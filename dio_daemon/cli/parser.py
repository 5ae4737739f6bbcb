"""The command line of `dioctl`: every command, its options, and what it runs."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dio_daemon import __version__
from dio_daemon.cli import DEFAULT_CONFIG, DEFAULT_SOCKET, lazily

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

CONFIG_HELP = "the configuration file (default: %(default)s)"
_UNKNOWN = re.compile(r"argument \w+: invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Says of a command that there is none what it may have been meant to be."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        if (found := _UNKNOWN.fullmatch(message)) is not None:
            near = difflib.get_close_matches(found[1], re.findall(r"[\w-]+", found[2]), n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; see: {self.prog} --help"
            message = f"there is no {found[1]!r}{meant}"
        super().error(message)


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(
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
    as_json = Parser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="one JSON document, for programs")

    def add(name: str, help_: str, module: str, function: str, description: str | None = None) -> Parser:
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
    add("policy", "what the nerve center sets here: interval, rules, what is normal", "show", "policy")
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


def _add_steering(add: Callable[..., Parser]) -> None:
    add("reload", "read the configuration again (root)", "steer", "reload")
    add("flush", "deliver what waits now (root)", "steer", "flush")
    add("reregister", "register with the nerve center again (root)", "steer", "reregister")
    pause = add("pause", "pause reporting for a while; sampling goes on (root)", "steer", "pause")
    pause.add_argument("duration", metavar="DURATION", help="how long: 90s, 30m, 2h, 1d (7 days at most)")
    pause.add_argument("--reason", default="", help="why, for whoever looks at the nerve center")
    add("resume", "end the pause (root)", "steer", "resume")
    level = add("log-level", "log more or less until the next reload or start (root)", "steer", "log_level")
    level.add_argument("level", choices=["debug", "info", "warning", "error"])


def _add_report(commands: Commands, as_json: Parser) -> None:
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


def _add_config(commands: Commands, as_json: Parser) -> None:
    kinds = commands.add_parser("config", help="show or check the configuration").add_subparsers(
        metavar="COMMAND", required=True
    )
    show = kinds.add_parser("show", help="what is in force, and where it came from", parents=[as_json])
    show.set_defaults(run=lazily("show", "config_show"))
    check = kinds.add_parser("check", help="every error of the files, with its line", parents=[as_json])
    same = commands.add_parser("check-config", help="the same as config check", parents=[as_json])
    for parser in (check, same):
        parser.add_argument(
            "--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help=CONFIG_HELP
        )
        parser.set_defaults(run=lazily("files", "check_config"))


def _add_rules(commands: Commands, as_json: Parser) -> None:
    kinds = commands.add_parser(
        "rules", help="list, check or try the rules that make threats"
    ).add_subparsers(metavar="COMMAND", required=True)
    listed = kinds.add_parser("list", help="the rules in force, and where each is from", parents=[as_json])
    check = kinds.add_parser("check", help="every error of the files, with its line", parents=[as_json])
    check.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="a file to check together with them"
    )
    test = kinds.add_parser("test", help="what the rules say of recorded samples", parents=[as_json])
    test.add_argument(
        "file", metavar="FILE", type=Path, help="samples, one JSON object a line; - reads standard input"
    )
    for parser in (listed, test):
        parser.add_argument(
            "--files", action="store_true", help="of this host's files alone, without those of the policy"
        )
    for parser, name in ((listed, "list_"), (check, "check"), (test, "test")):
        parser.add_argument(
            "--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help=CONFIG_HELP
        )
        parser.set_defaults(run=lazily("rules", name))


def _add_change(commands: Commands, as_json: Parser) -> None:
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


def _add_enroll(commands: Commands, as_json: Parser) -> None:
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
    enroll.set_defaults(run=lazily("files", "enroll"))
