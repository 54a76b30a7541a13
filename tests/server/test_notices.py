"""Public notices: written, looked at, published and withdrawn by who may; the kiosks get those that concern them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from protocol.notice import Notice, NoticeLevel, notices_from_bytes
from server.audit import AuditEvent
from server.bundles.models import BundlePart
from server.bundles.parts import venue_scope
from server.bundles.publishing import publish_all
from server.context import House
from server.notices.models import PublicNotice
from tests.server.ingest.fleet import install_vault
from tests.server.people import LIBRARY, MARKET, PEOPLE, Browser, Clock, put_kiosk, sign_in

READERS = {"city", "district", "street", "otherstreet", "worker", "inspector"}
WRITERS = {"city", "district"}


@pytest.fixture(autouse=True)
def kiosks(house: House) -> Iterator[None]:
    install_vault(house)
    put_kiosk(house)
    put_kiosk(house, bytes.fromhex("c0ffee00c0ffee01"), MARKET)
    yield


def filled(
    clock: Clock, where: str = "area:510104", begins: float = -1, ends: float = 48, **more: str
) -> dict[str, str]:
    def local(hours: float) -> str:
        return (clock.at + timedelta(hours=8 + hours)).strftime("%Y-%m-%dT%H:%M")

    return {
        "where": where,
        "level": "important",
        "title_zh": "流感疫苗接种",
        "title_en": "Flu vaccination",
        "body_zh": "本周六上午接种，咨询 028-5550100",
        "body_en": "Saturday morning; ask 028-5550100",
        "source": "区卫健局 2026-12 号",
        "begins": local(begins),
        "ends": local(ends),
        **more,
    }


def write(browser: Browser, fields: dict[str, str]) -> str:
    """Keep a draft; its address."""
    answer = browser.post("/notices/new", fields)
    assert answer.status_code == 303, answer.text
    return str(answer.location)


def shown(house: House, clock: Clock, venue: bytes = LIBRARY) -> list[Notice]:
    publish_all(house, clock.at)
    with house.database.reading() as reading:
        return list(notices_from_bytes(reading.get_one(BundlePart, (venue_scope(venue), "notices")).data))


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_each_person_gets_exactly_what_the_matrix_says(app: Flask, clock: Clock, name: str) -> None:
    path = write(sign_in(app, "district"), filled(clock))
    browser = sign_in(app, name)
    assert (browser.get("/notices").status_code == 200) == (name in READERS)
    assert (browser.get("/notices/new").status_code == 200) == (name in WRITERS)
    near = {"city", "district", "inspector"}  # the district's notice lies above streets and communities
    assert (browser.get(path).status_code == 200) == (name in near)
    for more in ("/edit", "/publication", "/withdrawal"):
        status = browser.post(path + more, {}).status_code
        assert name in WRITERS or status in {403, 404}, more
    assert (browser.post("/notices/new", {}).status_code == 422) == (name in WRITERS)


def test_strangers_see_nothing(app: Flask) -> None:
    for path in ("/notices", "/notices/new", "/notices/0"):
        assert app.test_client().get(path).status_code == 303


def test_a_draft_is_on_no_screen_and_a_published_notice_is_where_it_concerns(
    app: Flask, house: House, clock: Clock
) -> None:
    district = sign_in(app, "district")
    path = write(district, filled(clock))
    page = district.get(path).text
    assert "kiosk-important" in page and "流感疫苗接种" in page and "草稿" in page
    assert shown(house, clock) == []
    assert district.post(f"{path}/publication").status_code == 303
    (notice,) = shown(house, clock)
    assert (notice.level, notice.title_en) == (NoticeLevel.IMPORTANT, "Flu vaccination")
    assert notice.holds_at(int(clock.at.timestamp() * 1000))
    assert shown(house, clock, MARKET) == []
    assert "正在显示" in district.get("/notices").text


def test_a_withdrawn_notice_leaves_the_screens_and_stays_on_record(app: Flask, house: House, clock: Clock) -> None:
    district = sign_in(app, "district")
    path = write(district, filled(clock, f"venue:{LIBRARY.hex()}"))
    district.post(f"{path}/publication")
    assert len(shown(house, clock)) == 1
    assert district.post(f"{path}/withdrawal", {"reason": ""}).status_code == 422
    assert district.post(f"{path}/withdrawal", {"reason": "时间有误"}).status_code == 303
    assert shown(house, clock) == []
    assert "时间有误" in district.get(path).text
    assert district.post(f"{path}/withdrawal", {"reason": "again"}).status_code == 404
    with house.database.reading() as reading:
        done = [e.action for e in reading.query(AuditEvent).order_by(AuditEvent.sequence) if e.object_kind == "notice"]
    assert done == ["notice.written", "notice.published", "notice.withdrawn"]


def test_a_published_notice_is_never_changed(app: Flask, clock: Clock) -> None:
    district = sign_in(app, "district")
    path = write(district, filled(clock))
    assert district.post(f"{path}/edit", filled(clock, title_zh="改过")).status_code == 303
    assert "改过" in district.get(path).text
    district.post(f"{path}/publication")
    assert district.get(f"{path}/edit").status_code == 404
    assert district.post(f"{path}/edit", filled(clock)).status_code == 404
    assert district.post(f"{path}/publication").status_code == 404


def test_one_still_to_come_travels_ahead_and_one_that_is_over_is_taken_away(
    app: Flask, house: House, clock: Clock
) -> None:
    district = sign_in(app, "district")
    path = write(district, filled(clock, begins=24, ends=48))
    district.post(f"{path}/publication")
    (notice,) = shown(house, clock)
    assert not notice.holds_at(int(clock.at.timestamp() * 1000))
    clock.passes(hours=49)
    assert shown(house, clock) == []
    district = sign_in(app, "district")  # sessions end with the day
    late = write(district, filled(clock, begins=-3, ends=-1))
    assert district.post(f"{late}/publication").status_code == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"body_zh": "请 11010519491231002X 到社区"},
        {"body_zh": "张某 1101 0519 4912 31002X 请联系"},
        {"body_en": "Call 13800138000"},
        {"title_zh": "电话 138-0013-8000"},
        {"title_zh": "题" * 31},
        {"body_zh": "文" * 61},
        {"body_en": ""},
        {"source": ""},
        {"level": "loud"},
        {"where": "area:510105"},
        {"where": f"venue:{MARKET.hex()}"},
        {"begins": "2026-03-09T12:00", "ends": "2026-03-09T12:00"},
        {"ends": "2028-03-09T12:00"},
        {"ends": "soon"},
    ],
)
def test_a_notice_about_a_person_or_beyond_the_screen_is_refused(
    app: Flask, house: House, clock: Clock, wrong: dict[str, str]
) -> None:
    assert sign_in(app, "district").post("/notices/new", {**filled(clock), **wrong}).status_code == 422
    with house.database.reading() as reading:
        assert reading.query(PublicNotice).count() == 0


def test_what_somebody_writes_is_never_taken_for_markup(app: Flask, clock: Clock) -> None:
    district = sign_in(app, "district")
    path = write(district, filled(clock, title_zh="<script>1</script>", body_zh="<img src=x>"))
    for page in (district.get(path).text, district.get("/notices").text, district.get(f"{path}/edit").text):
        assert "<script>1" not in page and "<img src=x>" not in page
