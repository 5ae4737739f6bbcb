"""A nerve center that comes back to thousands of agents at once.

    python -m benchmarks.herd [--agents 2000] [--outage 30]

The hosts are simulated, the protocol is not; nerve center, keeper and hosts share this machine. All enroll, the center
is killed and stays away while every host goes on sampling, and comes back. Printed, and saved in
build/benchmarks/herd.json: seconds until all are active again and up to date, the latency of /health meanwhile,
requests refused, and by the center's own continuity report the records that were lost, which have to be none.
"""

from benchmarks.fleet import REFUSALS, continuity, enrolled, outage  # first of all: it patches

# isort: split

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.center import REPOSITORY, Center
from benchmarks.measure import machine
from benchmarks.simulated import INTERVAL_S, Herd, allow_files

RESULT = REPOSITORY / "build/benchmarks/herd.json"


def main() -> int:
    """Measure, print, save; 1 when a record was lost or an agent did not come back."""
    parser = argparse.ArgumentParser(description="A nerve center that comes back to thousands of agents.")
    parser.add_argument("--agents", type=int, default=2000)
    parser.add_argument("--outage", type=float, default=30, help="seconds that the center is away")
    options = parser.parse_args()
    allow_files()
    result: dict[str, Any] = {
        "machine": machine(),
        "agents": options.agents,
        "outage_s": options.outage,
        "interval_s": INTERVAL_S,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="herd-", dir=RESULT.parent) as name:
        center = Center(Path(name))
        center.start(keeper=True)
        try:
            herd = Herd(center.port, center.token)
            agents, result["enrolling_all_s"] = enrolled(herd, options.agents)
            result["outage"] = outage(center, herd, agents, options.outage)
            result["continuity"] = continuity(center, herd, agents)
        finally:
            center.kill()
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    after, records = result["outage"], result["continuity"]
    refused = sum(after["answers"].get(each, 0) for each in REFUSALS)
    print(
        f"/health p50 {after['health_latency_p50_s']:.2f} s, peak {after['health_latency_peak_s']:.2f} s; "
        f"{refused} requests refused; {records['lost']} of {records['sampled']} records lost\n"
        f"Saved in {RESULT.relative_to(REPOSITORY)}"
    )
    return int(records["lost"] > 0 or after["all_active_again_s"] is None)


if __name__ == "__main__":
    sys.exit(main())
