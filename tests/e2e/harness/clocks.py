"""Clocks that are wrong, for the processes of one unit: a container may not set the machine's own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .commands import run
from .host import Host

_SOURCE = Path(__file__).with_name("wrong_clock.c")
_LIBRARY = "/opt/wrong-clock.so"
HOUR_S = 3600


class WrongClock:
    """The time of day and the time since boot as the processes of units see them, from their next start on."""

    def __init__(self, host: Host, *units: str) -> None:
        """Prepare the units; right until `set`."""
        self._host = host
        self._folder = f"/opt/wrong-clock/{units[0]}"
        host.write(_LIBRARY, "")
        Path(f"/proc/{host.leader}/root{_LIBRARY}").write_bytes(_built())
        self.set(0)
        for unit in units:
            host.write(
                f"/etc/systemd/system/{unit}.d/wrong-clock.conf",
                f"[Service]\nEnvironment=LD_PRELOAD={_LIBRARY}\n"
                f"Environment=DIO_TEST_WALL={self._folder}/wall DIO_TEST_ASLEEP={self._folder}/asleep\n",
            )
        host.run("systemctl daemon-reload")

    def set(self, wall_s: int, asleep_s: int = 0) -> None:
        """Be wrong by so many seconds: the time of day, and the time since boot (as after being suspended)."""
        for name, seconds in (("wall", wall_s), ("asleep", asleep_s)):
            self._host.write(f"{self._folder}/{name}.new", f"{seconds}\n")
            self._host.run(f"mv {self._folder}/{name}.new {self._folder}/{name}")


def _built() -> bytes:
    """The library, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "wrong_clock.so")
        run(["gcc", "-std=gnu17", "-O2", "-shared", "-fPIC", "-o", str(made), str(_SOURCE)])
        return made.read_bytes()
