"""`dioctl`: ask the agent on this host, and tell it what to do.

It imports little, since it has to be quick: the control socket's client, and what a command needs of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dio_daemon import __version__
from dio_daemon.clock import SystemClock
from dio_daemon.errors import EX_CONFIG, ConfigError, DioError
from dio_daemon.ipc.client import Client, NoPermission, NotRunning

DEFAULT_SOCKET = Path("/run/dio-agent/agent.sock")
DEFAULT_CONFIG = Path("/etc/dio-agent/agent.toml")

EX_FAILED = 1
EX_USAGE = 2
EX_NOT_RUNNING = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """The `dioctl` command; its exit code: 0 done, 1 failed, 2 usage, 3 no agent answers, 78 bad configuration."""
    options = _parser().parse_args(arguments)
    client = Client(options.socket, SystemClock())
    try:
        return int(options.run(client, options))
    except NotRunning as error:
        print(f"dioctl: {error}\n{why_not_running(options.socket)}", file=sys.stderr)
        return EX_NOT_RUNNING
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)
        return EX_CONFIG
    except (NoPermission, DioError) as error:
        print(f"dioctl: {error}", file=sys.stderr)
        return EX_FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return EX_FAILED
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dioctl",
        description="Ask the DIO agent on this host.",
        epilog="Members of group dio may ask; changes are for root. See dioctl(1).",
    )
    parser.add_argument("--version", action="version", version=f"dioctl {__version__}")
    parser.add_argument(
        "--socket",
        type=Path,
        default=DEFAULT_SOCKET,
        metavar="PATH",
        help="control socket (default: %(default)s)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    status = commands.add_parser("status", help="how the agent is, what it waits for, what it has delivered")
    status.add_argument("--json", action="store_true", help="the whole document, for programs")
    status.set_defaults(run=_status)

    spool = commands.add_parser("spool", help="what waits to be delivered, what is kept, and what is missing")
    spool.add_argument("--json", action="store_true", help="the whole document, for programs")
    spool.set_defaults(run=_spool)

    reload = commands.add_parser("reload", help="read the configuration again (root)")
    reload.set_defaults(run=_reload)

    check = commands.add_parser("check-config", help="check the configuration: every error with its line")
    check.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    check.set_defaults(run=_check_config)

    enroll = commands.add_parser(
        "enroll",
        help="name the nerve center and give the enrollment token (root)",
        description="Write nerve_center.url and the enrollment token, then start the agent. The token is read from "
        "standard input or from a file, never from the command line. At the nerve center: nervectl token show",
    )
    enroll.add_argument(
        "url", metavar="URL", help="of the nerve center, such as https://center.example.org:8000"
    )
    enroll.add_argument("--token-file", type=Path, metavar="FILE", help="read the token from a file")
    enroll.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    enroll.add_argument(
        "--allow-plain-http",
        action="store_true",
        help="send this agent's credential unencrypted to another host (only on networks that you trust)",
    )
    enroll.add_argument("--no-start", action="store_true", help="do not start the agent afterwards")
    enroll.set_defaults(run=_enroll)
    return parser


def _status(client: Client, options: argparse.Namespace) -> int:
    document = client.call("GET", "/v1/status")
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(f"{name + ':':<19}{value}" for name, value in status_rows(document)))
    return 0


def status_rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What `dioctl status` shows of the status document, as (label, text)."""
    spool = document["spool"]
    rows = [
        ("Agent", document["agent_id"] or "-"),
        (
            "State",
            f"{document['state']} for {_duration(document['state_age_s'])} (since {document['since']})",
        ),
    ]
    if document["reason"]:
        rows.append(("Reason", document["reason"]))
    if document["next_attempt_in_s"] is not None:
        rows.append(("Next attempt", f"in {document['next_attempt_in_s']:.0f} s"))
    rows.append(("Nerve center", document["nerve_center"]))
    if document["last_acknowledged_at"]:
        age = _duration(document["last_acknowledged_age_s"])
        rows.append(("Last acknowledged", f"{age} ago ({document['last_acknowledged_at']})"))
    else:
        rows.append(("Last acknowledged", "nothing yet"))
    used, most = spool["bytes"] / 1048576, spool["max_bytes"] / 1048576
    waiting = f"{spool['pending']} records wait, {used:.1f} of {most:.0f} MiB used"
    if spool["dead_letters"]:
        waiting += f", {spool['dead_letters']} dead letters"
    rows.append(("Spool", waiting))
    rows += [("Condition", f"{code}: {text}") for code, text in document["conditions"].items()]
    rows += [("Hung thread", name) for name, beat in document["threads"].items() if not beat["fresh"]]
    rows.append(("Version", document["version"]))
    return rows


def _spool(client: Client, options: argparse.Namespace) -> int:
    document = client.call("GET", "/v1/spool")
    if options.json:
        print(json.dumps(document, indent=2))
        return 0
    used, most = document["bytes"] / 1048576, document["max_bytes"] / 1048576
    print(
        f"Epoch {document['epoch']}, {used:.1f} of {most:.0f} MiB used, {document['dead_letters']} dead letters"
    )
    print(f"{'STREAM':<9}{'LAST':>9}{'ACKED':>9}{'WAITING':>9}{'KEPT':>9}  OLDEST WAITING")
    for name, stream in document["streams"].items():
        figures = (stream["next_seq"] - 1, stream["acknowledged_seq"], stream["pending"], stream["kept"])
        print(
            f"{name:<9}" + "".join(f"{figure:>9}" for figure in figures),
            f" {stream['oldest_pending_at'] or '-'}",
        )
        for reason, count in stream["gaps"].items():
            print(f"{'':9}gap: {count} records, {reason}")
    return 0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} d"


def _reload(client: Client, options: argparse.Namespace) -> int:
    client.call("POST", "/v1/reload", timeout_s=18.0)
    print("Configuration reloaded")
    return 0


def _check_config(client: Client, options: argparse.Namespace) -> int:
    from dio_daemon import config

    config.load(options.config)
    print(f"{options.config}: no errors")
    return 0


def _enroll(client: Client, options: argparse.Namespace) -> int:
    from dio_daemon.enroll import enroll

    return enroll(
        options.url, options.token_file, options.config, options.allow_plain_http, not options.no_start
    )


def why_not_running(socket: Path) -> str:
    """What systemd knows of the agent, and what to do."""
    if socket != DEFAULT_SOCKET or not Path("/run/systemd/system").is_dir():
        return "Is the agent running?"
    from dio_daemon.unit import explain

    return explain()


if __name__ == "__main__":
    sys.exit(main())
