"""The staff panel over HTTP: who gets in, how guessing ends, and what reaches the station."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from config.screen import ScreenSettings
from kiosk.actions import CallStaff, SignIn, WaveThrough
from kiosk.inspection import InspectorView
from kiosk.lifeline import RecordView, life_of, list_records
from kiosk.panel_session import BADGE_S, FREE_TRIES, IDLE_S, LONGEST_WAIT_S, Operator, PanelSessions
from kiosk.screen import Screen
from kiosk.screen_state import PartStatus, Text
from kiosk.store import Journal, JournalError
from protocol.passage import Personal
from tests.fakes import DAY, Device, VaultKey, facts, stamp
from tests.kiosk.screen.conftest import Pressed
from tests.kiosk.screen.states import IDLE, INSPECTOR_VIEW, verdict

TIMEOUT_S = 10
PAGES = (
    "panel",
    "panel/hold",
    "panel/proxy",
    "panel/manual",
    "panel/card",
    "panel/record",
    "panel/fault",
    "panel/fault?part=camera",
)


class Staff:
    """A browser at the panel."""

    def __init__(self, screen: Screen) -> None:
        self.address = screen.address
        self.http = requests.Session()
        self.http.headers["Origin"] = screen.address.rstrip("/")

    def press(self, name: str, **values: object) -> requests.Response:
        return self.http.post(f"{self.address}action/{name}", json=values, timeout=TIMEOUT_S)

    def open(self, page: str) -> str:
        answer = self.http.get(self.address + page, timeout=TIMEOUT_S)
        assert answer.status_code == 200
        return answer.text


@pytest.fixture
def staff(screen: Screen) -> Staff:
    return Staff(screen)


@pytest.fixture
def signed_in(staff: Staff) -> Staff:
    assert staff.press("sign_in", pin="2468").json()["done"]
    return staff


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_sees_only_the_sign_in_page(staff: Staff, page: str) -> None:
    text = staff.open(page)
    assert 'type="password"' in text and "wave_through" not in text and "data-step" not in text


@pytest.mark.parametrize("page", PAGES)
def test_staff_see_the_page_and_their_own_name(signed_in: Staff, page: str) -> None:
    text = signed_in.open(page)
    assert "王芳" in text and 'type="password"' not in text


def test_the_session_cannot_be_read_by_a_script_or_sent_from_another_site(staff: Staff) -> None:
    cookie = staff.press("sign_in", pin="2468").headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie


def test_a_stranger_cannot_act_as_staff(staff: Staff, pressed: Pressed) -> None:
    answer = staff.press("wave_through").json()
    assert not answer["done"] and answer["values"]["field"] == "operator"
    assert not pressed.actions


def test_staff_actions_carry_the_operator_who_signed_in(signed_in: Staff, pressed: Pressed) -> None:
    signed_in.press("wave_through", operator="boss")
    assert pressed.actions[-1] == WaveThrough("s-7")


def test_a_made_up_session_opens_nothing(staff: Staff) -> None:
    staff.http.cookies.set("gatehouse-panel", "guess-é".encode().decode("latin-1"))
    assert 'type="password"' in staff.open("panel")


def test_signing_out_closes_the_panel(signed_in: Staff) -> None:
    signed_in.press("sign_out")
    assert 'type="password"' in signed_in.open("panel")


def test_guessing_a_pin_ends_in_waiting_even_with_the_right_one(staff: Staff, pressed: Pressed) -> None:
    for guess in range(FREE_TRIES):
        assert not staff.press("sign_in", pin=f"000{guess}").json()["done"]
    assert not staff.press("sign_in", pin="2468").json()["done"]
    assert len([a for a in pressed.actions if isinstance(a, SignIn)]) == FREE_TRIES


def test_a_badge_opens_the_panel_once(screen: Screen, staff: Staff) -> None:
    screen.badge_shown(Operator("s-9", "李强"))
    assert "李强" in staff.open("panel")
    assert "李强" in staff.open("panel/manual")
    assert 'type="password"' in Staff(screen).open("panel")


def test_an_idle_panel_closes_itself_and_a_badge_fades() -> None:
    now = [0.0]
    sessions = PanelSessions(lambda: now[0])
    anna = Operator("s-1", "Anna")
    token = sessions.open(anna)
    now[0] += IDLE_S
    assert sessions.operator(token) == anna
    now[0] += IDLE_S + 1
    assert sessions.operator(token) is None
    sessions.badge_shown(anna)
    now[0] += BADGE_S + 1
    assert sessions.take_badge() is None


def test_waiting_after_wrong_pins_grows_and_is_bounded() -> None:
    now = [0.0]
    sessions = PanelSessions(lambda: now[0])
    waits = []
    for _ in range(20):
        sessions.wrong_pin()
        waits.append(sessions.wait_s())
        now[0] += sessions.wait_s()
    assert waits[: FREE_TRIES - 1] == [0.0] * (FREE_TRIES - 1)
    assert waits == sorted(waits) and waits[FREE_TRIES - 1] > 0 and waits[-1] == LONGEST_WAIT_S
    sessions.open(Operator("s-1", "Anna"))
    assert sessions.wait_s() == 0


def test_a_newer_operator_replaces_the_one_before(screen: Screen, signed_in: Staff) -> None:
    other = Staff(screen)
    other.press("sign_in", pin="2468")
    assert 'type="password"' in signed_in.open("panel")


@pytest.mark.parametrize("code", ["red_code", "fever"])
def test_red_or_fever_offers_no_way_to_an_admission(screen: Screen, signed_in: Staff, code: str) -> None:
    screen.publish(verdict(code))
    text = signed_in.open("panel/hold")
    assert "不能放行" in text
    for way in ("typed_reading", "remeasure", "proxy_entry", "manual_entry"):
        assert way not in text


def test_a_hold_offers_measuring_scanning_typing_and_refusing(screen: Screen, signed_in: Staff) -> None:
    screen.publish(verdict("measure_again"))
    text = signed_in.open("panel/hold")
    for way in ("typed_reading", "remeasure", "acknowledge", "refuse"):
        assert f'data-action="{way}"' in text


def test_numbers_are_checked_while_staff_type(signed_in: Staff) -> None:
    def check(kind: str, text: object) -> requests.Response:
        return signed_in.http.post(f"{signed_in.address}check/{kind}", json={"text": text}, timeout=TIMEOUT_S)

    assert check("id", "11010519491231002X").json()["done"]
    assert not check("id", "110105194912310021").json()["done"]
    assert check("phone", "13800138000").json()["done"]
    assert check("phone", 5).status_code == 400
    assert check("id", "1" * 41).status_code == 400


def test_numbers_are_checked_for_staff_only(staff: Staff) -> None:
    answer = staff.http.post(f"{staff.address}check/id", json={"text": "1"}, timeout=TIMEOUT_S)
    assert answer.status_code == 403


def test_an_elder_can_call_without_signing_in(staff: Staff, pressed: Pressed) -> None:
    assert staff.press("call_staff", why="elder").json()["done"]
    assert isinstance(pressed.actions[-1], CallStaff)


def test_pages_and_actions_that_do_not_exist_are_not_found(staff: Staff) -> None:
    assert staff.http.get(f"{staff.address}elder/nobody", timeout=TIMEOUT_S).status_code == 404
    assert staff.press("admit").status_code == 404


def test_every_elder_page_leads_on_or_to_a_person() -> None:
    from kiosk.texts import ELDER

    for page in ELDER.values():
        assert page.calls or (page.yes in ELDER and page.no in ELDER)


@pytest.mark.parametrize("name", ["acknowledge", "remeasure", "typed_reading", "refuse", "confirm_card"])
def test_a_press_meant_for_the_person_before_is_refused(
    screen: Screen, signed_in: Staff, pressed: Pressed, name: str
) -> None:
    screen.publish(verdict("measure_again", reference="#000123"))
    assert signed_in.press(name, celsius="36.5", reference="#000123").json()["done"]
    before = len(pressed.actions)
    screen.publish(verdict("not_green", reference="#000124"))
    answer = signed_in.press(name, celsius="36.5", reference="#000123").json()
    assert not answer["done"] and "下一位" in answer["message"]["zh"]
    screen.publish(IDLE)
    assert not signed_in.press(name, celsius="36.5", reference="#000123").json()["done"]
    assert len(pressed.actions) == before


def test_an_elder_with_a_card_is_led_to_the_reader_while_it_works(screen: Screen, staff: Staff) -> None:
    for good, leads_to in ((True, "请把身份证放在读卡器上"), (False, "请拿好身份证")):
        parts = (*IDLE.parts, PartStatus("id_card", good, Text("", "")))
        screen.publish(replace(IDLE, parts=parts))
        assert leads_to in staff.open("elder/card_call")
    screen.publish(IDLE)  # an entrance without a reader
    assert "请拿好身份证" in staff.open("elder/card_call")


def test_only_a_held_card_is_offered_for_confirmation(screen: Screen, signed_in: Staff) -> None:
    screen.publish(verdict("measure_again", reference="#000123"))
    assert "confirm_card" not in signed_in.open("panel/hold")
    screen.publish(verdict("card_unconfirmed", reference="#000124"))
    page = signed_in.open("panel/hold")
    assert 'data-action="confirm_card"' in page and page.count("#000124") >= 5


def test_without_the_reading_package_the_button_says_so(signed_in: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiosk.panel_web.is_installed", lambda: False)
    page = signed_in.open("panel/card")
    assert "gatehouse[ocr]" in page and "disabled" in page and "<form" not in page
    monkeypatch.setattr("kiosk.panel_web.is_installed", lambda: True)
    page = signed_in.open("panel/card")
    assert "gatehouse[ocr]" not in page and 'data-action="manual_entry"' in page


def test_the_hold_page_names_the_record_it_acts_on(screen: Screen, signed_in: Staff) -> None:
    screen.publish(verdict("measure_again", reference="#000123"))
    assert signed_in.open("panel/hold").count("#000123") >= 4


def test_only_agreed_phrases_can_be_asked_for(staff: Staff) -> None:
    def say(code: str) -> int:
        return staff.http.post(f"{staff.address}say/{code}", json={}, timeout=TIMEOUT_S).status_code

    assert say("elder_phone") == 204
    assert say("admitted") == 404


class Journals:
    """What the kiosk tells the inspector's page: a real journal's look, or why there is none."""

    def __init__(self) -> None:
        self.view: InspectorView | None = None
        self.error: JournalError | None = None

    def __call__(self) -> InspectorView | None:
        if self.error is not None:
            raise self.error
        return self.view


@pytest.fixture
def journals() -> Journals:
    return Journals()


@pytest.fixture
def inspected(tmp_path: Path, pressed: Pressed, journals: Journals) -> Iterator[Screen]:
    settings = ScreenSettings(port=0, voice_cache=tmp_path / "voice", voice=False)
    with Screen(settings, on_action=pressed, on_inspect=journals) as running:
        yield running


def as_role(screen: Screen, role: str) -> Staff:
    screen.badge_shown(Operator("s-9", "李强", role))
    staff = Staff(screen)
    staff.open("panel")
    return staff


def test_an_inspector_sees_the_journal_and_nothing_to_register_with(inspected: Screen, journals: Journals) -> None:
    journals.view = INSPECTOR_VIEW
    inspector = as_role(inspected, "inspector")
    for path in ("panel", "panel/inspect", "panel/hold", "panel/proxy", "panel/manual", "panel/fault"):
        text = inspector.open(path)
        assert "记录链完整" in text and "7.7 %" in text and "#1204" in text, path
        for way in ("proxy_entry", "manual_entry", "wave_through", "typed_reading", 'href="/panel"'):
            assert way not in text


@pytest.mark.parametrize(("role", "may"), [("keeper", True), ("helper", False), ("", False)])
def test_the_keeper_may_look_too_and_a_helper_may_not(
    inspected: Screen, journals: Journals, role: str, may: bool
) -> None:
    journals.view = INSPECTOR_VIEW
    staff = as_role(inspected, role)
    assert ("记录链" in staff.open("panel/inspect")) is may
    assert ("/panel/inspect" in staff.open("panel")) is may
    assert "proxy" in staff.open("panel")


class Records:
    """A real journal behind the page of records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[int | None, int | None]] = []

    def __call__(self, number: int | None, before: int | None) -> RecordView | None:
        self.asked.append((number, before))
        view = list_records(self.path, 0, before)
        return view if number is None else replace(view, number=number, life=life_of(self.path, number))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    device = Device()
    journal = Journal(tmp_path / "journal.db", device.id, VaultKey().public)
    for n in range(14):
        journal.append(device.place, stamp(n), facts(), Personal(name="张三"), day=DAY)
    journal.note_quarantined([(3, "other_venue")], 1_790_000_000_000)
    yield Records(journal.path)
    journal.close()


@pytest.mark.parametrize("role", ["inspector", "keeper", "helper"])
def test_whoever_is_signed_in_follows_a_record_and_sees_nobody(tmp_path: Path, records: Records, role: str) -> None:
    settings = ScreenSettings(port=0, voice_cache=tmp_path / "voice", voice=False)
    with Screen(settings, on_record=records) as screen:
        staff = as_role(screen, role)
        listed = staff.open("panel/record")
        assert "number=14" in listed and "number=2" not in listed and "before=3" in listed
        assert "number=2" in staff.open("panel/record?before=3")
        life = staff.open("panel/record?number=%233")
        for words in ("扫描", "Scanned", "待上传", "other_venue", "仅服务器知道", "Destroyed"):
            assert words in life, words
        assert records.asked[-1] == (3, None) and "张三" not in listed + life
        assert "尚无此记录" in staff.open("panel/record?number=99")
        for nonsense in ("abc", "-1", "1e9", "9" * 40, "٣"):
            assert "请输入数字编号" in staff.open(f"panel/record?number={nonsense}"), nonsense


def test_a_journal_that_cannot_be_read_is_said_on_the_page_of_records(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"nothing of the kind" * 100)
    settings = ScreenSettings(port=0, voice_cache=tmp_path / "voice", voice=False)
    with Screen(settings, on_record=Records(tmp_path / "journal.db")) as screen:
        assert "记录无法读取" in as_role(screen, "helper").open("panel/record?number=1")


def test_a_stranger_sees_no_journal(inspected: Screen, journals: Journals) -> None:
    journals.view = INSPECTOR_VIEW
    assert 'type="password"' in Staff(inspected).open("panel/inspect")


def test_a_broken_chain_and_a_journal_that_cannot_be_read_are_said_plainly(
    inspected: Screen, journals: Journals
) -> None:
    inspector = as_role(inspected, "inspector")
    assert "暂时不能" in inspector.open("panel/inspect")
    report = replace(INSPECTOR_VIEW.inspection.report, findings=("clock", "records 5 to 9 are missing"))
    journals.view = replace(INSPECTOR_VIEW, inspection=replace(INSPECTOR_VIEW.inspection, report=report))
    text = inspector.open("panel/inspect")
    assert "记录链有疑点" in text and "records 5 to 9 are missing" in text and "记录链完整" not in text
    journals.error = JournalError("damaged", code="damaged")
    assert "无法读取" in inspector.open("panel/inspect")
