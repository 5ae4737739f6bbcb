"""A sign of life that also says how long the next step may take.

A thread that waits ten seconds for its next sample is as alive as one that is busy; one that overstays what it
announced hangs. The main thread tells systemd that the agent lives only while every heartbeat is fresh.
"""

from __future__ import annotations

from dio_daemon.clock import Clock

SLACK_S = 10.0
"""Added to every allowance: a loaded machine is slow, not hung."""


class Heartbeat:
    """One thread's sign of life. `beat` belongs to the thread, the rest to whoever watches."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._until = clock.monotonic() + SLACK_S
        self._beaten = clock.monotonic()

    def beat(self, next_step_s: float) -> None:
        """Alive; the step that begins now may take this many seconds."""
        now = self._clock.monotonic()
        self._beaten = now
        self._until = now + next_step_s + SLACK_S

    def left_s(self) -> float:
        """Seconds until this thread counts as hung; negative when it does."""
        return self._until - self._clock.monotonic()

    def age_s(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock.monotonic() - self._beaten

    @property
    def fresh(self) -> bool:
        """Whether the thread keeps what it announced."""
        return self.left_s() >= 0
