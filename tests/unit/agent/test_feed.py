"""The feed: publishing never waits, and whoever is slow loses its place alone."""

import json
import threading

import pytest

from dio_daemon import feed as feeds
from dio_daemon.feed import MAX_FOLLOWERS, QUEUE_LENGTH, Feed, Follower
from tests.support.clock import FakeClock


@pytest.fixture
def feed() -> Feed:
    return Feed(FakeClock())


def follow(feed: Feed) -> Follower:
    follower = feed.follow()
    assert follower is not None
    assert follower.next_line() == b"\n"
    return follower


def rest(follower: Follower) -> list[dict[str, object]]:
    lines = []
    while (line := follower.next_line()) is not None:
        if line.strip():
            lines.append(json.loads(line))
    return lines


def test_every_follower_is_told(feed: Feed) -> None:
    followers = [follow(feed) for _ in range(MAX_FOLLOWERS)]
    feed.publish("state", {"from": "active", "to": "warning"})
    feed.close()
    for follower in followers:
        assert rest(follower) == [
            {
                "time": "2026-01-01T00:00:00.000Z",
                "kind": "state",
                "data": {"from": "active", "to": "warning"},
            }
        ]


def test_followers_enough(feed: Feed) -> None:
    followers = [follow(feed) for _ in range(MAX_FOLLOWERS)]
    assert feed.follow() is None
    followers[0].close()
    followers[0].close()
    assert feed.follow() is not None
    assert feed.follow() is None


def test_a_place_is_given_back_by_a_follower_that_never_read(feed: Feed) -> None:
    for _ in range(3 * MAX_FOLLOWERS):
        follower = feed.follow()
        assert follower is not None
        follower.close()


def test_a_slow_follower_is_dropped_and_told_so_and_the_others_are_not(feed: Feed) -> None:
    slow, quick = follow(feed), follow(feed)
    for number in range(QUEUE_LENGTH + 50):
        feed.publish("sample", {"seq": number})
        line = quick.next_line()
        assert line is not None
        assert json.loads(line)["data"] == {"seq": number}
    assert feed.follow() is not None  # its place is free before it notices
    lines = rest(slow)
    assert len(lines) == QUEUE_LENGTH
    assert lines[-1]["kind"] == "dropped"
    assert lines[0]["data"] == {"seq": 1}  # the oldest made room
    assert slow.next_line() is None


def test_publishing_never_waits(feed: Feed) -> None:
    for _ in range(MAX_FOLLOWERS):
        follow(feed)
    done = threading.Event()

    def publish() -> None:
        for number in range(10 * QUEUE_LENGTH):
            feed.publish("sample", {"seq": number})
        done.set()

    thread = threading.Thread(target=publish)
    thread.start()
    assert done.wait(10)
    thread.join()
    assert feed._followers == []


def test_a_sign_of_life_when_nothing_happens(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEEPALIVE_S", 0.001)
    follower = follow(feed)
    assert follower.next_line() == b"\n"
    assert follower.next_line() == b"\n"


def test_the_end_comes_even_to_a_full_queue(feed: Feed) -> None:
    follower, idle = follow(feed), follow(feed)
    for number in range(QUEUE_LENGTH):
        feed.publish("sample", {"seq": number})
        idle.next_line()
    feed.close()
    assert len(rest(follower)) == QUEUE_LENGTH - 1
    assert rest(idle) == []
    assert feed.follow() is None
    feed.publish("sample", {})  # to nobody
