"""The same machine, driven as hosts live: many exchanges, now and then a fault, and the nerve center restored.

Hypothesis chooses all rules alike, and rarely comes to what takes a fault, some exchanges, another fault and a restored
nerve center. Steps are drawn here by weight, from seeds: DIO_EXAMPLES says how many, DIO_FIRST_SEED where to begin.
"""

import os
import random

import pytest

from dio_daemon.wire import STREAMS
from tests.property.test_safe_spool_machine import FILES, SafeSpoolMachine
from tests.support.faulty_sqlite import EIO, ENOSPC, EROFS

STEPS = 200
FIRST = int(os.environ.get("DIO_FIRST_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("DIO_EXAMPLES", "30")))
WEIGHTS = {
    "append": 25,
    "exchange": 50,
    "wait": 5,
    "stop": 1,
    "kill": 5,
    "delete": 2,
    "cut": 1,
    "zero": 1,
    "refuse_writes": 2,
    "refuse_to_open": 1,
    "lose_a_commit": 1,
    "heal_disk": 6,
    "back_up": 0.3,
    "restore": 3,
}
NEED_A_PROCESS = {"append", "exchange", "wait", "stop", "kill"}


def _arguments(rng: random.Random, name: str) -> tuple[object, ...]:
    match name:
        case "append":
            return rng.choice(STREAMS), rng.randint(1, 3)
        case "exchange":
            lost = rng.choices(["no", "request", "response"], [12, 1, 1])[0]
            return rng.randint(1, 5), rng.choice([*STREAMS, None, None, None]), lost
        case "kill":
            return (rng.random() < 0.3,)
        case "delete":
            return (rng.choice([("spool.db",), ("spool.db-wal",), FILES[:3]]),)
        case "cut":
            return rng.choice(FILES[:2]), rng.random()
        case "zero":
            return rng.choice(FILES[:2]), rng.random(), rng.choice([100, 4096, 20_000])
        case "refuse_writes":
            return rng.choice([ENOSPC, EROFS, EIO]), rng.choice([0, 0, 0, 1, 2, 5, 12])
        case "lose_a_commit":
            return (rng.randint(0, 3),)
    return ()


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_missing_untold(seed: int) -> None:
    """Gaps may count too much here, never too little: who loses a spool before it wrote its cursor is told of more."""
    rng = random.Random(seed)
    machine = SafeSpoolMachine()
    machine.exact = False
    machine.begin()
    machine.back_up()
    try:
        for _ in range(STEPS):
            name = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if machine.spool is None and (name in NEED_A_PROCESS or rng.random() < 0.7):
                machine.start()
                continue
            getattr(machine, name)(*_arguments(rng, name))
            machine.never_twice()
    finally:
        machine.teardown()
