"""The fleet at a glance: counts that add up, plans that show doors, findings with a fix, and the steps after a loss."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from html import unescape
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from server.accounts.rights import Reach
from server.context import House
from server.ingest.models import Journal, JournalRecord
from server.kiosks import fleet_counting
from server.kiosks.fleet_counting import Hour, count_new, passages_by_hour
from server.kiosks.fleet_findings import FINDINGS, findings_of
from server.kiosks.fleet_overview import chart_of
from server.kiosks.models import Kiosk
from server.web.language import catalogue
from tests.server.people import KIOSK, LIBRARY, MARKET, NOON, Browser, put_kiosk

AsPerson = Callable[[str], Browser]
NOON_MS = int(NOON.timestamp() * 1000)
OTHER = bytes.fromhex("feed000000000000")


def put_passages(house: House, kiosk: bytes, venue: bytes, *rows: tuple[int, str | None]) -> None:
    """Passages of *kiosk* from sequence 1 on, each (milliseconds from noon, outcome); None as outcome is an event."""
    with house.database.writing() as writing:
        last = writing.get(Journal, kiosk)
        start = last.sequence if last else 0
        for sequence, (offset_ms, outcome) in enumerate(rows, start + 1):
            fields = {"epoch": bytes(8), "header": b"h", "sealed": b"s", "hash": bytes(32), "received_day": 20514}
            writing.add(
                JournalRecord(
                    kiosk_id=kiosk,
                    sequence=sequence,
                    received_at_ms=NOON_MS,
                    kind=1 if outcome else 2,
                    venue_id=venue,
                    at_ms=NOON_MS + offset_ms,
                    outcome=outcome,
                    **fields,
                )
            )
        writing.merge(Journal(kiosk_id=kiosk, sequence=start + len(rows), head=bytes(32), changed_at=NOON))


def hours(house: House, *paths: str, venues: tuple[bytes, ...] = ()) -> dict[int, tuple[int, int, int]]:
    with house.database.reading() as reading:
        found = passages_by_hour(reading, Reach(paths, venues), NOON)
    assert len(found) == 24
    return {
        int((hour.began_at - NOON).total_seconds() // 3600): (hour.admitted, hour.held, hour.denied)
        for hour in found
        if hour.total
    }


@pytest.mark.stores("sqlite")
def test_passages_are_counted_once_for_each_area_and_all_above(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_counting, "RECORDS", 2)
    put_passages(
        house, KIOSK, LIBRARY, (-10, "admit"), (-20, "admit"), (-30, "deny"), (-40, None), (-7_200_000, "hold")
    )
    put_passages(house, OTHER, MARKET, (-10, "admit"))
    runs = [count_new(house, NOON)]
    while runs[-1][1]:
        runs.append(count_new(house, NOON))
    assert sum(counted for counted, _ in runs) == 5 and len(runs) == 3
    assert count_new(house, NOON) == (0, False)
    street = "510000/510100/510104/510104001/"
    assert hours(house, street) == {-1: (2, 0, 1), -2: (0, 1, 0)}
    assert hours(house, "510000/510100/") == {-1: (3, 0, 1), -2: (0, 1, 0)}
    assert hours(house, "510000/510100/", street) == hours(house, "510000/510100/")  # one within the other counts once
    assert hours(house, venues=(LIBRARY,)) == hours(house, street)
    put_passages(house, KIOSK, LIBRARY, (-5, "admit"))
    count_new(house, NOON)
    assert hours(house, street)[-1] == (3, 0, 1)


@pytest.mark.stores("sqlite")
def test_a_kiosk_with_a_wrong_clock_counts_by_ours(house: House) -> None:
    put_passages(house, KIOSK, LIBRARY, (86_400_000 * 9, "admit"), (-86_400_000 * 900, "admit"))
    count_new(house, NOON)
    assert hours(house, "510000/") == {0: (2, 0, 0)}


def test_the_highest_line_of_the_chart_is_a_round_number() -> None:

    for highest, line in ((0, 1), (1, 1), (3, 5), (10, 10), (11, 20), (499, 500), (501, 1000)):
        chart = chart_of([Hour(NOON, highest, 0, 0)], ZoneInfo("Asia/Shanghai"))
        assert chart.top == line
        (bar,) = chart.bars
        assert bar.admitted[0] + bar.admitted[1] == pytest.approx(chart.base) and bar.admitted[0] >= 19


@pytest.mark.stores("sqlite")
def test_the_overview_leads_down_to_the_doors_of_what_is_ones_own(house: House, as_person: AsPerson) -> None:
    put_kiosk(house, app_version="0.3.1", bundle_version=7, last_seen_at=NOON - timedelta(hours=3))
    put_kiosk(house, OTHER, MARKET, name="市场门机")
    street = as_person("street")
    top = street.get("/kiosks/overview").text
    assert "锦江区一社区" in top and "0.3.1 × 1" in top and "青羊" not in top
    doors = street.get("/kiosks/overview?area=510104001001").text
    assert f"/kiosks/{KIOSK.hex()}" in doors and "西门" in doors and "无终端" in doors and "市场" not in doors
    for outside in ("510105001001", "510100", "nowhere"):
        assert street.get(f"/kiosks/overview?area={outside}").status_code == 404
    assert "锦江图书馆" in as_person("operator").get("/kiosks/overview").text
    assert "青羊市场" not in as_person("operator").get("/kiosks/overview").text


@pytest.mark.stores("sqlite")
def test_a_kiosk_s_page_says_what_is_wrong_and_what_to_do(house: House, as_person: AsPerson) -> None:
    health = {"parts": {"card": "read_only", "power": "under_voltage"}}
    put_kiosk(house, health=health, clock_offset_ms=-99_000_000, last_seen_at=NOON - timedelta(hours=1))
    page = unescape(as_person("street").get(f"/kiosks/{KIOSK.hex()}").text)
    for name in ("unreachable", "clock", "card", "power", "test"):
        assert FINDINGS[name].what in page and FINDINGS[name].fix in page


def test_a_sound_kiosk_has_no_findings_and_a_lost_one_no_fixes(house: House) -> None:
    fleet = house.settings.fleet
    sound = Kiosk(state="active", last_seen_at=NOON, opening_test_at=NOON, clock_offset_ms=20, health={})
    assert findings_of(sound, NOON, fleet) == []
    assert findings_of(Kiosk(state="lost", last_seen_at=None), NOON, fleet) == []


@pytest.mark.stores("sqlite")
def test_the_steps_after_a_loss_follow_the_kiosk_s_state(app: Flask, house: House, as_person: AsPerson) -> None:
    put_kiosk(house, unsent_count=12, oldest_unsent_at=NOON)
    street, path = as_person("street"), f"/kiosks/{KIOSK.hex()}"
    assert "12 records" in street.get(f"{path}/lost").text and "/cases/case/" not in street.get(f"{path}/lost").text
    fields = {"reason": "gone", "kiosk_name": "东门左"}
    assert street.post(f"{path}/lost", fields).status_code == 303
    after = street.get(f"{path}/lost").text
    assert "Its key is refused. The other steps are still open." in after and "/cases/case/" in after
    assert as_person("otherstreet").get(f"{path}/lost").status_code == 404


def test_every_finding_has_its_chinese() -> None:
    messages = {text for finding in FINDINGS.values() for text in (finding.what, finding.why, finding.fix)}
    assert [message for message in sorted(messages) if catalogue().gettext(message) == message] == []
