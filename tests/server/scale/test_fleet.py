"""The fleet simulator: people come as a day brings them, and a lost or doubled passage would be seen."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from sqlalchemy import delete, update

from config.errors import GatehouseError
from gatehouse.commands.simulate_fleet import FleetPlan, register, simulate
from gatehouse.commands.simulate_kiosks import HOURS, arrivals_a_second, percentile, some_arrivals
from server.context import House, utc_now
from server.ingest.models import Journal, JournalRecord
from server.kiosks.models import Kiosk
from tests.server.ingest.fleet import install_vault

PLAN = FleetPlan("", interval_s=0.3, seconds=0.9, a_day=20_000, speed=10, twice=0.5)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log of a test is for its failures."""


@pytest.fixture
def served(app) -> Iterator[str]:  # type: ignore[no-untyped-def]
    with make_server("127.0.0.1", 0, app, WSGIServer, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_day_brings_as_many_as_it_should_and_has_its_peaks() -> None:
    for sort, weights in HOURS.items():
        curve = [arrivals_a_second(sort, 1250, minute / 60) for minute in range(24 * 60)]
        assert sum(curve) * 60 == pytest.approx(1250, rel=0.001)
        assert curve.index(max(curve)) // 60 in {h for h, w in enumerate(weights) if w == max(weights)}
        assert max(abs(a - b) for a, b in zip(curve, curve[1:], strict=False)) < max(curve) / 50  # no steps
    chance = random.Random(7)
    assert sum(some_arrivals(1.5, chance) for _ in range(4000)) == pytest.approx(6000, rel=0.05)
    assert percentile([], 99) == 0.0 and percentile([1.0, 2.0, 3.0], 99) == 3.0


def test_a_fleet_is_held_once_whatever_is_sent_twice(app, house: House, served: str) -> None:  # type: ignore[no-untyped-def]
    install_vault(house)
    fleet = register(replace(house, now=utc_now), 12)
    report = simulate(house, fleet, replace(PLAN, server=served))
    assert report.is_whole, report
    assert report.exchanges > 36 and report.passages == report.receipted == report.held > 0
    # and it would have been seen otherwise
    with house.database.writing() as writing:
        gone = fleet[0].id
        writing.execute(delete(JournalRecord).where(JournalRecord.kiosk_id == gone, JournalRecord.sequence == 1))
        writing.execute(update(Journal).where(Journal.kiosk_id == fleet[1].id).values(head=bytes(32)))
    again = simulate(house, fleet, replace(PLAN, server=served, seconds=0.01, interval_s=60))
    assert (again.lost, again.is_whole) == (1, False) and again.forged >= 1


def test_a_server_that_answers_nonsense_is_counted_and_nothing_is_let_go(house: House) -> None:
    install_vault(house)
    fleet = register(house, 2)

    def nonsense(environ, start_response):  # type: ignore[no-untyped-def]
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "6")])
        return [b"<html>"]

    with make_server("127.0.0.1", 0, nonsense, WSGIServer, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        report = simulate(house, fleet, replace(PLAN, server=f"http://localhost:{server.server_port}"))
        server.shutdown()
        thread.join()
    assert report.errors and report.receipted == 0 and report.lost == report.passages > 0


def test_real_kiosks_are_not_joined_by_simulated_ones(house: House) -> None:
    install_vault(house)
    register(house, 1)
    with house.database.writing() as writing:
        writing.execute(update(Kiosk).values(name="east"))
    with pytest.raises(GatehouseError, match="real kiosks"):
        register(house, 1)
