"""The host's own body, watched by a real agent over the real /proc: from a process to the nerve center and back."""

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.processes import RealAgent, RealCenter, wait_for

PATIENT_S = 240.0
"""Two looks until it is told, and half a minute until it is over, on a machine that may be busy."""


def begun_by_nobody(program: Path) -> int:
    """Start a program whose parents are none of a test's: those of builders may run what they have just built."""
    script = f"setsid {program} 300 > /dev/null 2>&1 < /dev/null & echo $!"
    return int(subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout)


def test_a_program_in_a_temporary_folder(center: RealCenter, agent: RealAgent) -> None:
    (agent.folder / "agent.toml.d/20-test.toml").write_text("[integrity]\nenabled = true\n")
    center.start()
    agent.start()
    agent.wait_ready()

    def told(state: str) -> list[dict[str, Any]]:
        threats = center.get("/api/v1/threats?limit=1000")["threats"]
        return [each for each in threats if each["state"] == state and str(program) in each["summary"]]

    with TemporaryDirectory(dir="/tmp", prefix="integrity-") as folder:
        program = Path(folder, "waits")
        shutil.copyfile("/bin/sleep", program)
        program.chmod(0o755)
        pid = begun_by_nobody(program)
        try:
            (threat,) = wait_for(lambda: told("open"), "the threat", PATIENT_S)
        finally:
            os.kill(pid, signal.SIGKILL)
        assert threat["type"] == "process_from_temporary_folder"
        evidence = center.get(f"/api/v1/threats/{threat['id']}")["evidence"]
        assert evidence["pid"] == pid and evidence["exe"] == str(program) and evidence["uid"] == os.geteuid()
        assert evidence["sha256"] == hashlib.sha256(program.read_bytes()).hexdigest()
        assert evidence["package"] is None and {"present", "parents", "sockets", "unit"} <= evidence.keys()
        wait_for(lambda: told("cleared"), "its end", PATIENT_S)
    agent.kill(signal.SIGTERM)
    assert (agent.folder / "state/integrity.jsonl.gz").is_file()
