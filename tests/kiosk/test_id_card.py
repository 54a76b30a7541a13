"""An ID card at the entrance, end to end: a reader on a pty, a lane, a sealed record that only the vault key opens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from firmware_bridge.codecs.sam_v import has_right_check_digit, parse_text
from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.sam_v import IdCardReader
from firmware_bridge.simulators.sam_v import SamSimulator, foreigner_card, resident_card
from kiosk.id_card import personal_of
from kiosk.station import Noting
from protocol.words import EntryMode, Measured, Outcome
from tests.kiosk.test_desk import Panel
from tests.rig import Rig

TODAY = date(2026, 11, 21)
NUMBER = "11010519491231002X"


def with_check_digit(first_17: str) -> str:
    return next(first_17 + last for last in "0123456789X" if has_right_check_digit(first_17 + last))


HMT_NUMBER = with_check_digit("81000019800101123")
HMT_CARD = resident_card(name="测试丙", number=HMT_NUMBER, birth="19800101", type="J", pass_number="H00000001")
LAYOUTS = [
    (resident_card(), "测试甲", NUMBER, "resident_id"),
    (HMT_CARD, "测试丙", HMT_NUMBER, "hmt_residence_permit"),
    (foreigner_card(), "测试乙", "UTO110080010101", "foreigner_residence_card"),
    (foreigner_card(name=""), "TEST, PERSON", "UTO110080010101", "foreigner_residence_card"),
]


class Counter(Panel):
    """The staff's panel, and the reader that lies beside it."""

    def __init__(self, rig: Rig, reader: SamSimulator) -> None:
        super().__init__(rig)
        self.reader = reader

    def expect(self, **values: object) -> None:
        """Staff open a proxy entry and ask for the card."""
        answer = self.press(
            "proxy_entry",
            **{"identify": "id_card", "relation": "child", "helper_name": "陈小红", "consent": True, **values},
        )
        assert answer.done

    def lay_again(self, card: bytes) -> None:
        """Lift the card long enough for the reader to see it gone, and lay *card* down."""
        self.reader.lift()
        seen = self.reader.reader.finds
        self.until(lambda: self.reader.reader.finds > seen)
        self.reader.lay(card)

    def passages(self) -> int:
        return sum(1 for header in self.headers() if header.facts is not None)


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    (tmp_path / "kiosk").mkdir()
    with SamSimulator(tmp_path / "card") as simulator, IdCardReader(str(tmp_path / "card"), bauds=(115200,)) as reader:
        assert reader.wait_for(lambda s: s.state is DeviceState.READY, 20)
        with Rig(tmp_path / "kiosk", readers={"id_card": reader}) as rig:
            reader.on_card(rig.lane.card_laid)
            yield Counter(rig, simulator)


@pytest.mark.parametrize(("card", "name", "number", "document"), LAYOUTS)
def test_a_card_fills_the_waiting_proxy_entry(
    counter: Counter, caplog: pytest.LogCaptureFixture, card: bytes, name: str, number: str, document: str
) -> None:
    caplog.set_level(logging.DEBUG)
    counter.expect()
    counter.reader.lay(card)
    showing = counter.shows()
    assert showing.verdict.outcome is Outcome.ADMIT
    facts = counter.headers()[showing.sequence - 1].facts
    assert facts is not None
    assert (facts.mode, facts.operator, facts.measured) == (EntryMode.PROXY, "li.na", Measured.NORMAL)
    opened = counter.opened(showing.sequence)
    assert (opened.name, opened.id_number, opened.document) == (name, number, document)
    assert (opened.helper_name, opened.relation) == ("陈小红", "child")
    assert opened.extra == (("read_by", "card_reader"),)
    assert counter.rig.door.opened == 1
    _, _, records = counter.rig.journal.unsent(1000)
    in_the_open = b"".join(record.header for record in records) + caplog.text.encode() + repr(showing).encode()
    for secret in (name, number, number[6:14], "陈小红"):
        assert secret.encode() not in in_the_open


def test_a_typed_fever_stops_the_helped_person_with_the_card(counter: Counter) -> None:
    counter.expect(celsius="38.2")
    counter.reader.lay(resident_card())
    assert counter.shows().verdict.outcome is Outcome.DENY
    assert counter.rig.door.opened == 0


def test_a_card_without_a_proxy_entry_waits_for_the_staff_and_opens_nothing(counter: Counter) -> None:
    counter.reader.lay(resident_card())
    held = counter.shows()
    assert (held.verdict.outcome, held.verdict.reasons) == (Outcome.HOLD, ("card_unconfirmed",))
    facts = counter.headers()[held.sequence - 1].facts
    assert facts is not None and (facts.mode, facts.operator) == (EntryMode.ID_CARD, None)
    assert not counter.press("remeasure").done, "a visitor's button vouches for nobody"
    assert counter.rig.door.opened == 0


def test_the_staff_confirm_the_holder_and_the_thermometer_decides(counter: Counter) -> None:
    counter.reader.lay(resident_card())
    counter.shows()
    assert not counter.press("confirm_card", operator="jian.cha").done, "an inspector vouches for nobody"
    assert counter.press("confirm_card").done
    counter.until(lambda: counter.rig.door.opened == 1)
    showing = counter.shows()
    facts = counter.headers()[showing.sequence - 1].facts
    assert facts is not None
    assert (facts.mode, facts.operator, facts.outcome) == (EntryMode.ID_CARD, "li.na", Outcome.ADMIT)
    assert facts.reasons == ("no_credential",)
    assert counter.opened(showing.sequence).id_number == NUMBER
    assert not counter.press("confirm_card").done, "nobody is waiting any more"


def test_a_temperature_typed_for_the_held_card_is_the_staffs_word_too(counter: Counter) -> None:
    counter.reader.lay(resident_card())
    counter.shows()
    assert counter.press("typed_reading", celsius="38.0").done
    counter.until(lambda: counter.shows().verdict.outcome is Outcome.DENY)
    assert counter.rig.door.opened == 0
    assert not counter.press("confirm_card").done, "a fever stays a fever"


def test_a_card_laid_down_again_is_said_to_be_recorded(counter: Counter) -> None:
    counter.expect()
    counter.reader.lay(resident_card())
    counter.until(lambda: counter.rig.door.opened == 1)
    counter.rig.lane.submit(lambda: counter.rig.lane.carry_out(counter.rig.lane.station.acknowledge()))
    before = counter.passages()
    counter.lay_again(resident_card())
    counter.until(lambda: isinstance(counter.rig.lane.station.state, Noting))
    assert counter.passages() == before and counter.rig.door.opened == 1


def test_a_card_that_cannot_be_read_is_said_so_and_the_proxy_entry_still_waits(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    counter.expect()
    counter.reader.lay(resident_card(number="110105194912310021"))
    counter.until(lambda: isinstance(counter.rig.lane.station.state, Noting))
    assert counter.passages() == 0 and "1101051949" not in caplog.text
    counter.lay_again(resident_card())
    assert counter.shows().person.mode is EntryMode.PROXY


@pytest.mark.parametrize(
    ("card", "doubt"),
    [
        (resident_card(valid_to="20250101"), "expired"),
        (resident_card(valid_from="20270101"), "not_yet_valid"),
        (resident_card(number=with_check_digit("99010519491231002")), None),  # 9...: checked by digit and date alone
        (resident_card(number=with_check_digit("00010519491231002")), "number"),  # no such region
        (resident_card(number=with_check_digit("81000019491231002")), "number"),  # a permit's number, no permit
        (resident_card(type="J"), "number"),  # a resident's number on a permit
        (HMT_CARD, None),
        (resident_card(number=with_check_digit("11010520990101002"), birth="20990101"), "number"),
        (foreigner_card(birth="20990101"), "number"),
        (resident_card(valid_to="长期"), None),
    ],
)
def test_what_is_odd_about_a_card_is_noted_for_whoever_looks_into_it(card: bytes, doubt: str | None) -> None:
    personal = personal_of(parse_text(bytearray(card)), TODAY)
    assert [value for key, value in personal.extra if key == "doubt"] == ([doubt] if doubt else [])


def test_no_more_is_kept_of_a_card_than_of_a_typed_entry() -> None:
    personal = personal_of(parse_text(bytearray(resident_card())), TODAY)
    kept = personal.to_bytes()
    for left_behind in ("北京市朝阳区测试路1号", "北京市公安局测试分局", "20400101"):
        assert left_behind.encode() not in kept
