"""Public notices: written, reviewed, published and withdrawn by who may; the kiosks get those that concern them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from protocol.notice import Notice, NoticeLevel, notices_from_bytes
from server.accounts.models import User
from server.audit import AuditEvent
from server.bundles.models import BundlePart
from server.bundles.parts import venue_scope
from server.bundles.publishing import publish_all
from server.cases.kernel import entries_of, find, first_break
from server.cases.models import Case
from server.cases.ticking import tick
from server.context import House
from server.notices.models import PublicNotice
from tests.server.ingest.fleet import install_vault
from tests.server.people import LIBRARY, MARKET, PEOPLE, Browser, Clock, put_kiosk, sign_in
from tests.server.test_routes import put_account

READERS = {"city", "district", "street", "otherstreet", "worker", "inspector"}
WRITERS = READERS - {"inspector"}


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


def take(browser: Browser, path: str, step: str, **fields: str) -> int:
    """Take a step as its page offers it."""
    version = re.search(r'name="version" value="(\d+)"', browser.get(path).text)
    return browser.post(f"{path}/steps/{step}", {"version": version[1] if version else "1", **fields}).status_code


PASSED, LAWFUL = {"is_complete": "y", "is_accurate": "y"}, {"is_lawful": "y", "is_reasonable": "y"}


def publish(app: Flask, path: str, author: str = "street") -> None:
    """The whole way of a draft, through three pairs of hands."""
    assert take(sign_in(app, author), path, "submit") == 303
    assert take(sign_in(app, "district"), path, "pass_first", **PASSED) == 303
    assert take(sign_in(app, "city"), path, "approve", **LAWFUL) == 303


def case_at(house: House, path: str) -> Case:
    with house.database.reading() as reading:
        case = find(reading, "notice", path.rsplit("/", 1)[1])
        assert case is not None and first_break(case, entries_of(reading, case)) is None
        return case


def waits_in(app: Flask, name: str, path: str, house: House) -> bool:
    return f"/cases/case/{case_at(house, path).id}" in sign_in(app, name).get("/cases/inbox").text


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
    for more in ("edit", "steps/submit", "steps/approve", "steps/withdraw", "steps/close", "steps/change"):
        status = browser.post(f"{path}/{more}", {}).status_code
        assert name in {"city", "district"} or status in {403, 404}, more
    assert (browser.post("/notices/new", {}).status_code == 422) == (name in WRITERS)


def test_strangers_see_nothing(app: Flask) -> None:
    for path in ("/notices", "/notices/new", "/notices/0"):
        assert app.test_client().get(path).status_code == 303


def test_a_draft_is_on_no_screen_and_a_published_notice_is_where_it_concerns(
    app: Flask, house: House, clock: Clock
) -> None:
    district = sign_in(app, "district")
    path = write(sign_in(app, "street"), filled(clock, "area:510104001"))
    page = district.get(path).text
    assert "kiosk-important" in page and "流感疫苗接种" in page and "草稿" in page
    assert shown(house, clock) == []
    assert take(sign_in(app, "street"), path, "submit") == 303
    assert shown(house, clock) == []
    assert take(district, path, "pass_first", **PASSED) == 303
    assert shown(house, clock) == []
    assert take(sign_in(app, "city"), path, "approve", **LAWFUL) == 303
    (notice,) = shown(house, clock)
    assert (notice.level, notice.title_en) == (NoticeLevel.IMPORTANT, "Flu vaccination")
    assert notice.holds_at(int(clock.at.timestamp() * 1000))
    assert shown(house, clock, MARKET) == []
    assert "正在显示" in district.get("/notices").text


def test_a_withdrawn_notice_leaves_the_screens_and_stays_on_record(app: Flask, house: House, clock: Clock) -> None:
    district = sign_in(app, "district")
    path = write(sign_in(app, "street"), filled(clock, f"venue:{LIBRARY.hex()}"))
    publish(app, path)
    assert len(shown(house, clock)) == 1
    assert take(sign_in(app, "street"), path, "withdraw", reason="mine") == 403
    assert take(district, path, "withdraw", reason="") == 422
    assert take(district, path, "withdraw", reason="字" * 201) == 422
    assert take(district, path, "withdraw", reason="时间有误") == 303
    assert shown(house, clock) == []
    assert "时间有误" in district.get(path).text
    assert take(district, path, "withdraw", reason="again") == 409
    with house.database.reading() as reading:
        done = [e.action for e in reading.query(AuditEvent).order_by(AuditEvent.sequence) if e.object_kind == "notice"]
    steps = ["notice.written", "notice.submitted", "notice.passed", "notice.published", "notice.withdrawn"]
    assert done == steps


def test_what_is_sent_is_changed_by_nobody_any_more(app: Flask, clock: Clock) -> None:
    street, district = sign_in(app, "street"), sign_in(app, "district")
    path = write(street, filled(clock, "area:510104001"))
    assert street.post(f"{path}/edit", filled(clock, "area:510104001", title_zh="改过")).status_code == 303
    assert "改过" in street.get(path).text
    take(street, path, "submit")
    for browser in (street, district):
        assert browser.get(f"{path}/edit").status_code == 404
        assert browser.post(f"{path}/edit", filled(clock, "area:510104001")).status_code == 404
    take(district, path, "pass_first", **PASSED)
    take(sign_in(app, "city"), path, "approve", **LAWFUL)
    assert street.post(f"{path}/edit", filled(clock, "area:510104001")).status_code == 404


def test_three_people_are_needed_and_each_finds_it_in_the_inbox(app: Flask, house: House, clock: Clock) -> None:
    put_account(house, "deputy", "DC", "home")
    put_account(house, "mayor", "CC", "home")
    district, deputy, city = sign_in(app, "district"), sign_in(app, "deputy"), sign_in(app, "city")
    path = write(district, filled(clock))
    assert take(district, path, "submit") == 303
    assert waits_in(app, "deputy", path, house) and not waits_in(app, "district", path, house)
    assert not waits_in(app, "city", path, house)
    assert take(district, path, "pass_first", **PASSED) == 403  # their own words
    assert take(city, path, "pass_first", **PASSED) == 403  # another office's review
    assert take(deputy, path, "pass_first", is_complete="y") == 422  # the checklist has two boxes
    assert take(deputy, path, "pass_first", **PASSED) == 303
    assert waits_in(app, "city", path, house) and not waits_in(app, "deputy", path, house)
    assert take(deputy, path, "approve", **LAWFUL) == 403
    assert take(city, path, "approve", **LAWFUL) == 303
    assert "公告初审通过" not in city.get(path).text and "初审通过" in city.get(path).text
    own = write(city, filled(clock))  # a district's notice, written by the city: still three
    assert take(city, own, "submit") == 303
    assert take(district, own, "pass_first", **PASSED) == 303
    assert take(city, own, "approve", **LAWFUL) == 403
    assert take(sign_in(app, "mayor"), own, "approve", **LAWFUL) == 303


def test_one_for_the_whole_city_goes_to_another_of_the_city(app: Flask, house: House, clock: Clock) -> None:
    put_account(house, "mayor", "CC", "home")
    city, mayor = sign_in(app, "city"), sign_in(app, "mayor")
    path = write(city, filled(clock, "area:510100"))
    assert "转市级" not in city.get(path).text
    assert take(city, path, "submit") == 422  # no district could pass it
    assert take(city, path, "submit_city") == 303
    assert take(city, path, "approve", **LAWFUL) == 403
    assert shown(house, clock) == []
    assert take(mayor, path, "approve", **LAWFUL) == 303
    assert len(shown(house, clock)) == len(shown(house, clock, MARKET)) == 1
    small = write(city, filled(clock))
    assert take(city, small, "submit_city") == 422  # nobody goes around the district


def test_returned_with_a_reason_amended_and_sent_again(app: Flask, house: House, clock: Clock) -> None:
    put_account(house, "deputy", "DC", "home")
    street, district, city = sign_in(app, "street"), sign_in(app, "district"), sign_in(app, "city")
    path = write(street, filled(clock, "area:510104001"))
    take(street, path, "submit")
    assert take(district, path, "return_first") == 422
    assert take(district, path, "return_first", reason="缺咨询电话") == 303
    assert "缺咨询电话" in street.get(path).text and waits_in(app, "street", path, house)
    assert district.post(f"{path}/edit", filled(clock, "area:510104001", title_zh="区里改的")).status_code == 303
    assert take(street, path, "submit") == 303
    assert take(district, path, "pass_first", **PASSED) == 403  # who changed the words is their author, too
    assert take(sign_in(app, "deputy"), path, "pass_first", **PASSED) == 303
    assert take(city, path, "return_final", reason="措施过当") == 303
    assert street.post(f"{path}/edit", filled(clock, "area:510104001")).status_code == 303
    assert take(street, path, "drop", reason="不再需要") == 303
    assert shown(house, clock) == [] and case_at(house, path).state == "withdrawn"


def test_words_changed_behind_the_reviewers_back_are_not_published(app: Flask, house: House, clock: Clock) -> None:
    street, district = sign_in(app, "street"), sign_in(app, "district")
    path = write(street, filled(clock, "area:510104001"))
    take(street, path, "submit")
    take(district, path, "pass_first", **PASSED)
    with house.database.writing() as writing:
        writing.get_one(PublicNotice, path.rsplit("/", 1)[1]).body_zh = "别的话"
    assert take(sign_in(app, "city"), path, "approve", **LAWFUL) == 422
    assert shown(house, clock) == []


def test_two_reviewers_at_once_and_the_second_is_told(app: Flask, clock: Clock) -> None:
    street, district = sign_in(app, "street"), sign_in(app, "district")
    path = write(street, filled(clock, "area:510104001"))
    take(street, path, "submit")
    version = re.search(r'name="version" value="(\d+)"', district.get(path).text)
    fields = {"version": version[1] if version else "", **PASSED}
    assert district.post(f"{path}/steps/pass_first", fields).status_code == 303
    answer = district.post(f"{path}/steps/return_first", {**fields, "reason": "x"})
    assert answer.status_code == 409 and "先行处理" in answer.text


def test_an_urgent_one_is_due_in_half_an_hour_even_at_night_and_the_city_is_called_in(
    app: Flask, house: House, clock: Clock
) -> None:
    clock.passes(hours=11)  # 23:00
    street = sign_in(app, "street")
    paths = [write(street, filled(clock, "area:510104001", level=level)) for level in ("important", "urgent")]
    for path in paths:
        take(street, path, "submit")
    ordinary, urgent = (case_at(house, path) for path in paths)
    assert urgent.due_at == clock.at + timedelta(minutes=30)
    assert ordinary.due_at is not None and ordinary.due_at > clock.at + timedelta(hours=30)  # the night does not count
    inbox = sign_in(app, "district").get("/cases/inbox").text
    assert inbox.index(urgent.id) < inbox.index(ordinary.id)
    assert not waits_in(app, "city", paths[1], house)
    clock.passes(minutes=31)
    with app.app_context():
        tick(house, clock.at)
    assert waits_in(app, "city", paths[1], house) and not waits_in(app, "city", paths[0], house)


def test_one_from_before_the_reviews_is_withdrawn_or_sent_like_any_other(
    app: Flask, house: House, clock: Clock
) -> None:
    with house.database.writing() as writing:
        author = writing.query(User).filter_by(name="district").one().id
        for state in ("draft", "published"):
            row = PublicNotice(
                id=state.rjust(16, "0"), area_code="510104", level="tip", state=state, source="x",
                title_zh="旧", title_en="old", body_zh="旧", body_en="old", written_at=clock.at, written_by=author,
                from_at=clock.at - timedelta(hours=1), until_at=clock.at + timedelta(hours=9),
            )  # fmt: skip
            writing.add(row)
    district, draft, news = sign_in(app, "district"), f"/notices/{'draft'.rjust(16, '0')}", "/notices/0000000published"
    assert len(shown(house, clock)) == 1
    assert take(district, draft, "submit") == 303 and case_at(house, draft).state == "first_review"
    assert take(district, draft, "pass_first", **PASSED) == 403
    assert take(district, news, "withdraw", reason="旧的") == 303 and shown(house, clock) == []


def test_one_still_to_come_travels_ahead_and_one_that_is_over_is_taken_away(
    app: Flask, house: House, clock: Clock
) -> None:
    path = write(sign_in(app, "street"), filled(clock, "area:510104001", begins=24, ends=48))
    publish(app, path)
    (notice,) = shown(house, clock)
    assert not notice.holds_at(int(clock.at.timestamp() * 1000))
    clock.passes(hours=49)
    assert shown(house, clock) == []
    with app.app_context():
        tick(house, clock.at)
    assert case_at(house, path).state == "over" and shown(house, clock) == []
    street = sign_in(app, "street")  # sessions end with the day
    late = write(street, filled(clock, "area:510104001", begins=-3, ends=-1))
    assert take(street, late, "submit") == 422


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
