"""All benchmarks, one after the other, in at most a quarter of an hour.

    python -m benchmarks

Each prints its own table and saves what it found in build/benchmarks; all of it, with the machine, its load when that
began and the versions, is put together in build/benchmarks/all.json. One that takes longer than its share is ended, and
that is said.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measure import machine

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "build/benchmarks"
SHARES_S: dict[tuple[str, ...], int] = {
    ("dioctl", "--runs", "20"): 50,
    ("agent_footprint", "--seconds", "20"): 250,
    ("agent_away", "--seconds", "20"): 110,
    ("ingest", "--seconds", "4"): 140,
    ("fleet", "--agents", "1000", "--seconds", "30", "--outage", "20"): 160,
    ("history", "--days", "10"): 40,
    ("pages", "--hosts", "300", "--seconds", "5"): 150,
}
_ENDS_WITHIN_S = 5
_PACKAGES = ("flask", "gevent", "gunicorn", "psutil", "requests", "sqlalchemy")


def main() -> int:
    """Run all; how many failed or were ended."""
    load = os.getloadavg()[0]
    found: dict[str, Any] = {"machine": machine(), "load_before": round(load, 1), "versions": versions()}
    if load > 0.5 * (os.cpu_count() or 1):
        print(f"This machine has other work (a load of {load:.1f}): only the ratios below mean something.")
    failed = 0
    for command, share_s in SHARES_S.items():
        name = command[0]
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        wrong = run(command, share_s)
        result = RESULTS / f"{name}.json"
        found[name] = {"seconds": round(time.monotonic() - began), "wrong": wrong}
        if wrong is None and result.is_file():
            found[name]["result"] = json.loads(result.read_text())
        elif wrong is not None:
            failed += 1
            print(f"{name} {wrong}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "all.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"\nSaved in {(RESULTS / 'all.json').relative_to(REPOSITORY)}")
    return failed


def run(command: tuple[str, ...], share_s: int) -> str | None:
    """Run one benchmark; what went wrong, None where nothing did."""
    module, *options = command
    process = subprocess.Popen([sys.executable, "-m", f"benchmarks.{module}", *options], cwd=REPOSITORY)
    try:
        code = process.wait(share_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # as from a keyboard: what it started is ended by itself
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return f"took longer than its {share_s} s and was ended"
    return None if code == 0 else f"ended with code {code}"


def versions() -> dict[str, str]:
    """What the figures depend on beside the machine."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, **found}


if __name__ == "__main__":
    sys.exit(main())
