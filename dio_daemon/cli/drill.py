"""`dioctl drill`: play harmless imitations on this host, undo them, and show which were seen and how fast."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dio_daemon.cli import leftovers
from dio_daemon.cli.imitations import IMITATIONS, Imitation, Undo, Unplayable
from dio_daemon.cli.leftovers import WORD
from dio_daemon.cli.terminal import table
from dio_daemon.clock import Clock, SystemClock
from dio_daemon.errors import DioError
from dio_daemon.ipc.client import Client

EVERY_S = 1.0
AFTER_LEFTOVERS_S = 20.0
"""What a killed drill left has to be seen to be gone before the same can be seen to come."""


_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Refused(DioError):
    """The drill is not begun; the text says what is missing."""


@dataclass
class Outcome:
    """What came of one imitation."""

    imitation: Imitation
    begun: float = 0.0
    impossible: str = ""
    seen_after_s: float | None = None
    threat: str = ""

    @property
    def open(self) -> bool:
        """Whether it is still waited for."""
        return not self.impossible and self.seen_after_s is None


def drill(client: Client, options: argparse.Namespace) -> int:
    """Play them all, or those that were named. Exit code 0 when every one that could be played was seen."""
    if unknown := set(options.only or []) - {each.name for each in IMITATIONS}:
        raise Refused(
            f"there is no {', '.join(sorted(unknown))}; there are: {', '.join(e.name for e in IMITATIONS)}"
        )
    chosen = [each for each in IMITATIONS if not options.only or each.name in options.only]
    if not options.yes:
        for each in chosen:
            print(f"{each.name:<10} {each.what}")
        raise Refused("this would be done on this host, and undone: say --yes if that is meant")
    if os.geteuid() != 0:
        raise Refused("only root can play this: use sudo")
    before, root, clock = _threats(client), Path("/"), SystemClock()  # fails at once where no agent answers
    for number in _ENDS:
        signal.signal(number, _interrupt)
    if leftovers.remove(root):
        print(
            f"A drill that was killed has left files; they are removed. {AFTER_LEFTOVERS_S:.0f} s",
            file=sys.stderr,
        )
        clock.wait(threading.Event(), AFTER_LEFTOVERS_S)
        before = _threats(client)
    if not options.json:
        longest = max(each.within_s for each in chosen)
        print(
            f"{len(chosen)} imitations; at most {longest:.0f} s until all were seen. Ctrl-C ends it and undoes all.",
            flush=True,
        )
    try:
        with leftovers.guarded(root):
            outcomes = play(chosen, root, lambda: _threats(client), before, clock)
    except KeyboardInterrupt:
        print("dioctl: interrupted; all is undone, and what was seen clears by itself", file=sys.stderr)
        raise
    missed = [each for each in outcomes if each.open]
    if options.json:
        print(json.dumps({"imitations": [_document(each) for each in outcomes]}, indent=2))
    else:
        print(table(["IMITATION", "SEEN", "AS", "WHAT"], [_row(each) for each in outcomes]))
        print("All is undone; what was seen clears by itself.")
        say_impossible(outcomes)
    return 1 if missed else 0


def _interrupt(number: int, frame: object) -> None:
    """End it once: whoever is impatient, or closes the terminal as well, must not interrupt the undoing."""
    for each in _ENDS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def play(
    imitations: Sequence[Imitation],
    root: Path,
    threats: Callable[[], list[dict[str, Any]]],
    before: list[dict[str, Any]],
    clock: Clock,
) -> list[Outcome]:
    """Begin all, wait for their threats, and undo all, whatever happens.

    Args:
        imitations: what to play.
        root: the folder that stands for `/`.
        threats: the open ones, as `ThreatData`.
        before: those that were open before.
        clock: for the waits.
    """
    known = {each["fingerprint"]: each for each in before}
    outcomes = [Outcome(each) for each in imitations]
    undos: list[Undo] = []
    never = threading.Event()
    try:
        for each in outcomes:
            each.begun = clock.monotonic()
            hidden_by = each.imitation.hidden_by & {threat["type"] for threat in before}
            if hidden_by:
                each.impossible = f"{', '.join(sorted(hidden_by))} is open already: wait until it has cleared"
                continue
            try:
                undos.append(each.imitation.begin(root))
            except Unplayable as lacking:
                each.impossible = str(lacking)
            except OSError as error:
                each.impossible = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        while any(_waits(each, clock.monotonic()) for each in outcomes):
            clock.wait(never, EVERY_S)
            found = threats()
            for each in outcomes:
                if each.open:
                    _look(each, found, known, clock.monotonic())
    finally:
        for undo in reversed(undos):
            try:
                undo()
            except OSError as error:
                print(f"dioctl: cannot undo everything: {error}; look for {WORD}", file=sys.stderr)
    return outcomes


def _waits(outcome: Outcome, now: float) -> bool:
    return outcome.open and now - outcome.begun < outcome.imitation.within_s


def _look(
    outcome: Outcome, found: list[dict[str, Any]], known: dict[str, dict[str, Any]], now: float
) -> None:
    imitation = outcome.imitation
    for threat in found:
        before = known.get(threat["fingerprint"])
        new = (
            before is None
            or threat.get("count", 1) > before.get("count", 1)
            or imitation.grew(before, threat)
        )
        if new and threat["type"] in imitation.types and (not imitation.marked or WORD in json.dumps(threat)):
            outcome.seen_after_s = round(now - outcome.begun, 1)
            outcome.threat = f"{threat['severity']} {threat['type']}"
            return


def _threats(client: Client) -> list[dict[str, Any]]:
    return [each["data"] for each in client.call("GET", "/v1/threats")["threats"]]


def _row(outcome: Outcome) -> list[str]:
    if outcome.impossible:
        seen = "not possible here"
    else:
        seen = "NO" if outcome.seen_after_s is None else f"after {outcome.seen_after_s:.0f} s"
    return [outcome.imitation.name, seen, outcome.threat or "-", outcome.imitation.what]


def say_impossible(outcomes: Sequence[Outcome]) -> None:
    """Why some could not be played, and how they can be."""
    left = [each for each in outcomes if each.impossible]
    if left:
        print("\nNot possible here:")
        for each in left:
            print(f"  {each.imitation.name:<10} {each.impossible}")
        names = " ".join(f"--only {each.imitation.name}" for each in left)
        print(f"When that is mended: dioctl drill --yes {names}")


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.imitation.name,
        "what": outcome.imitation.what,
        "seen": outcome.seen_after_s is not None,
        "seen_after_s": outcome.seen_after_s,
        "threat": outcome.threat or None,
        "impossible": outcome.impossible or None,
    }
