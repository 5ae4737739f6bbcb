"""Files that are taken hostage: what is told, and what looks like it and is not."""

from __future__ import annotations

import random

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.hostage import LEAST_FILES, WITHIN_S, HostageWatch, noise_bits
from dio_daemon.detect.integrity.told import TOLD_S
from tests.unit.integrity.conftest import FakeHost

NOISE = random.Random(7).randbytes(1024)
TEXT = b"All work and no play makes Jack a dull boy.\n" * 40


def play(
    fake: FakeHost, content: bytes = NOISE, ending: str = "locked", keep: bool = False, apart_s: float = 0.1
) -> tuple[HostageWatch, list[Finding]]:
    """Files of a home are replaced, one after the other."""
    watch, now = HostageWatch(fake.host, fake.told()), 0.0
    found: list[Finding] = []
    for number in range(LEAST_FILES + 5):
        original = fake.put(f"/home/ann/docs/report{number}.odt", TEXT)
        path = f"/home/ann/docs/report{number}.odt.{ending}"
        fake.put(path, content)
        if not keep:
            original.unlink()
        now += apart_s
        watch.appeared(path, now)
        found = watch.look(now)
    return watch, found


def test_many_files_that_are_replaced_by_noise(fake: FakeHost) -> None:
    watch, (found,) = play(fake)
    assert (found.type, found.severity, found.technique) == ("files_encrypted", "critical", "T1486")
    assert ".locked" in found.summary and "/home/ann/docs" in found.summary
    assert found.evidence["files"] == LEAST_FILES
    assert watch.look(WITHIN_S * 2) == [found]
    fake.clock.monotonic_s += TOLD_S
    assert watch.look(TOLD_S * 2) == []


def test_it_is_accepted(fake: FakeHost) -> None:
    watch, _ = play(fake)
    assert watch.accept() == 1 and watch.look(10.0) == []


@pytest.mark.parametrize(
    "how",
    [
        {"ending": "gz"},
        {"ending": "bak"},
        {"content": TEXT},
        {"content": b"\0"},
        {"keep": True},
        {"apart_s": WITHIN_S / 10},
        {"ending": "x" * 40},
    ],
)
def test_what_looks_like_it_and_is_not(fake: FakeHost, how: dict[str, object]) -> None:
    """Compressed, set aside, text, empty, a copy beside the original, over a long time, a random name."""
    assert play(fake, **how)[1] == []  # type: ignore[arg-type]  # options of several types, by name


def test_names_of_all_kinds_are_bounded(fake: FakeHost) -> None:
    watch = HostageWatch(fake.host, fake.told())
    for number in range(10_000):
        watch.appeared(f"/home/ann/a.b.{number}", 0.0)
        watch.appeared("/home/ann/.hidden", 0.0)
    assert watch.look(1.0) == []


def test_how_even_bytes_are() -> None:
    assert noise_bits(NOISE) > 7.5
    assert 0 < noise_bits(TEXT) < 5
    assert noise_bits(b"aaaa") == 0
