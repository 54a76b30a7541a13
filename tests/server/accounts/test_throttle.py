"""The shared throttle: every process counts the same attempts, and a source pays for its own only."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from server import create_app
from server.context import House
from server.web.models import AttemptCount
from server.web.throttle import Throttle, source_of
from tests.server.people import NOON, Clock

TRIES = Throttle("tries", 3, timedelta(minutes=1))


def note(app: Flask, source: str = "203.0.113.7", throttle: Throttle = TRIES) -> None:
    house: House = app.extensions["gatehouse"]
    with app.app_context(), house.database.writing() as writing:
        throttle.note(writing, source, house.now())


def wait_s(app: Flask, source: str = "203.0.113.7", throttle: Throttle = TRIES) -> int:
    house: House = app.extensions["gatehouse"]
    with app.app_context(), house.database.reading() as reading:
        return throttle.seconds_to_wait(reading, source, house.now())


def test_a_second_process_knows_what_the_first_one_counted(app: Flask, house: House, clock: Clock) -> None:
    other = create_app(house.settings, now=clock)
    for process in (app, other, app):
        assert wait_s(other) == 0
        note(process)
    assert wait_s(app) == wait_s(other) == 60
    other.extensions["gatehouse"].database.engine.dispose()


def test_others_and_other_purposes_are_not_slowed_down(app: Flask) -> None:
    for _ in range(3):
        note(app)
    assert wait_s(app, "203.0.113.8") == 0
    assert wait_s(app, throttle=Throttle("other", 3, timedelta(minutes=1))) == 0


def test_the_window_ends_and_counting_begins_anew(app: Flask, clock: Clock) -> None:
    for _ in range(3):
        note(app)
    clock.passes(seconds=60)
    assert wait_s(app) == 0
    note(app)
    assert wait_s(app) == 0


def test_attempts_at_the_same_time_all_count(app: Flask) -> None:
    threads = [threading.Thread(target=note, args=(app,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    house: House = app.extensions["gatehouse"]
    with house.database.reading() as reading:
        assert reading.scalar(select(AttemptCount.count)) == 6


def test_the_table_does_not_grow_for_ever_and_holds_no_address(app: Flask, house: House, clock: Clock) -> None:
    for n in range(30):
        note(app, f"198.51.100.{n}")
    clock.passes(minutes=10)
    note(app)
    with house.database.reading() as reading:
        assert reading.scalar(select(func.count()).select_from(AttemptCount)) == 1
        assert reading.scalar(select(AttemptCount.ends_at)) == NOON + timedelta(minutes=11)
        key = reading.scalars(select(AttemptCount.key)).one()
    assert b"203.0.113.7" not in key and len(key) == 32


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_household_is_one_source(address: str | None, source: str) -> None:
    assert source_of(address) == source
