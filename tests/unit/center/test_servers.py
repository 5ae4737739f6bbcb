"""Connecting to the one of several servers that takes writes."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from nerve_center.store import postgresql
from nerve_center.store.servers import Servers, in_turn
from tests.support.postgresql import cluster


class Driver:
    """Takes connections at some hosts only, and notes who was asked."""

    OperationalError = psycopg2.OperationalError

    def __init__(self, *up: str) -> None:
        self.up = set(up)
        self.asked: list[str] = []

    def connect(self, host: str, **_: Any) -> str:
        self.asked.append(host)
        if host not in self.up:
            raise psycopg2.OperationalError(f"{host}\n\tdoes not answer")
        return host


def test_each_server_has_a_connect_of_its_own() -> None:
    assert in_turn({"host": "a,b", "port": "1,", "user": "dio"}) == [
        {"host": "a", "port": "1", "user": "dio"},
        {"host": "b", "user": "dio"},
    ]
    assert in_turn({"host": "a,b", "port": "7"}) == [{"host": "a", "port": "7"}, {"host": "b", "port": "7"}]
    assert in_turn({"host": "a"}) == [{"host": "a"}]


def test_the_next_one_is_asked_and_remembered() -> None:
    driver = Driver("b")
    servers = Servers(driver)
    each = in_turn({"host": "a,b,c"})
    assert [servers.connect(each), servers.connect(each)] == ["b", "b"]
    assert driver.asked == ["a", "b", "b"]
    driver.up = {"a"}
    assert servers.connect(each) == "a"
    assert driver.asked[3:] == ["b", "c", "a"]


def test_what_all_of_them_said_is_told() -> None:
    with pytest.raises(psycopg2.OperationalError, match=r"^a does not answer; b does not answer$"):
        Servers(Driver()).connect(in_turn({"host": "a,b"}))


def test_a_url_with_two_hosts_reaches_the_one_that_is_there(tmp_path: Any) -> None:
    there = cluster()
    name = there.create()
    url = make_url(f"postgresql://dio@/{name}?host={tmp_path}:5432&host={there.folder}:5432")
    engine = postgresql.writing_engine(url)
    try:
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT current_database()").scalar() == name
    finally:
        engine.dispose()
        there.drop(name)
