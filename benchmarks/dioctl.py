"""How fast `dioctl status` is, beside `python3 -c pass`: what an interpreter costs that does nothing.

    python -m benchmarks.dioctl [--runs N]

A nerve center and an agent run on loopback; both commands are run by turns, so that whatever else the machine does
meets both alike. dioctl runs on the system's Python where that is new enough (as the Debian package does), or else on
the one this is run with. Medians and their ratio are printed, and all of it is saved in build/benchmarks/dioctl.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, running, seconds
from benchmarks.pair import Pair, agent_python

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "build/benchmarks/dioctl.json"
WARM_UP = 3
MOST_RATIO = 3.5
"""To an interpreter that does nothing; more fails this program."""


def main() -> int:
    """Measure, print, save; 1 when dioctl is slower than it may be."""
    parser = argparse.ArgumentParser(description="How fast dioctl status is beside python3 -c pass.")
    parser.add_argument("--runs", type=int, default=40, help="runs of each (default: %(default)s)")
    options = parser.parse_args()
    python = agent_python()
    with tempfile.TemporaryDirectory(prefix="dio-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        os.chdir(REPOSITORY)
        pair = Pair(folder, python, direct=True)
        stack.enter_context(running(pair.center, folder, "center", ready=True))
        stack.enter_context(running(pair.agent, folder, "agent", ready=True))
        measured = measure(python, pair.socket, options.runs)
    ratios = {
        what: round(figures["median_ms"] / measured["pass"]["median_ms"], 2)
        for what, figures in measured.items()
    }
    result = {"machine": machine(), "python": version(python), "runs": options.runs} | {
        "commands": measured,
        "ratio_to_pass": ratios,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for what, figures in measured.items():
        print(
            f"{what:22} {figures['median_ms']:7.1f} ms (least {figures['least_ms']:.1f})  {ratios[what]:5.2f}x"
        )
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")
    slow = ratios["dioctl status"] > MOST_RATIO
    if slow:
        print(f"dioctl status takes more than {MOST_RATIO} times an interpreter that does nothing")
    return int(slow)


def measure(python: str, socket: Path, runs: int) -> dict[str, dict[str, float]]:
    """Run each command so many times, by turns; what each took."""
    dioctl = [
        python,
        "-c",
        "import sys; from dio_daemon.ctl import main; sys.exit(main())",
        "--socket",
        str(socket),
    ]
    what: dict[str, list[str]] = {
        "pass": [python, "-c", "pass"],
        "dioctl status": [*dioctl, "status"],
        "dioctl status --json": [*dioctl, "status", "--json"],
    }
    taken: dict[str, list[float]] = {name: [] for name in what}
    for number in range(WARM_UP + runs):
        for name, command in what.items():
            each = seconds(command)
            if number >= WARM_UP:
                taken[name].append(each * 1000)
    return {
        name: {
            "median_ms": round(statistics.median(found), 2),
            "least_ms": round(min(found), 2),
            "most_ms": round(max(found), 2),
        }
        for name, found in taken.items()
    }


def version(python: str) -> Any:
    """The version of a Python."""
    code = "import sys; print(sys.version.split()[0])"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
