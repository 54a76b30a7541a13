"""The quick way to tag a record and the thorough one agree about every byte string, in entries and in refusals."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp, Temperature
from protocol.words import CredentialKind, Direction, EntryMode, Measured, Outcome
from server.vault.index import Entry
from server.vault.keyfile import new_secrets
from server.vault.quick import Numbers, read_numbers
from server.vault.tagging import Tagger
from server.vault.wire import SealedRecord

KIOSK = b"kiosk 01"
READING = Temperature("infrared", 35.1, 22.0, 36.61)
CODE = Personal(name="欧**", pseudonym=bytes(8), cti=bytes(16), temperature=READING)
CARD = Personal(name="欧阳", id_number="11010519491231002X", phone="+8613912345678", temperature=READING)

_numbers = st.one_of(
    st.none(),
    st.from_regex(r"[0-9A-Z]{0,33}", fullmatch=True),
    st.from_regex(r"\+?[0-9]{0,32}", fullmatch=True),
    st.text(max_size=34),
)
_ids = st.one_of(st.none(), st.binary(max_size=34))
_names = st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["a" * 23, "a" * 24, "欧" * 21, "欧" * 22]))
_personals = st.builds(
    Personal,
    name=_names,
    id_number=_numbers,
    phone=_numbers,
    pseudonym=_ids,
    cti=_ids,
    temperature=st.one_of(
        st.none(), st.just(READING), st.builds(Temperature, st.text(max_size=41), st.floats(), st.floats(), st.floats())
    ),
    helper_phone=st.one_of(st.none(), st.none(), _numbers),
    document=st.one_of(st.none(), st.none(), st.text(max_size=5)),
)


@dataclass
class Ajar:
    """Stands for an epoch's key: *clear* is what was sealed."""

    clear: bytes

    def open(self, _sequence: int, _header: bytes, _sealed: bytes) -> bytes:
        return self.clear


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    def in_full(_record: SealedRecord, _clear: bytes) -> tuple[Header, Personal]:
        raise ProtocolError("no check-in by phone here", code="in_full")

    return Tagger(new_secrets(0), in_full)


def header(**facts: object) -> bytes:
    known: dict[str, object] = {
        "direction": Direction.OUT,
        "mode": EntryMode.SCAN,
        "credential": CredentialKind.HEALTH_CODE,
        "colour": None,
        "measured": Measured.NORMAL,
        "outcome": Outcome.ADMIT,
        "reasons": (),
        "bundle_version": 3,
        "bundle_age_s": 400,
    }
    stamp = Stamp(1_772_424_000_002, 1000, bytes(8), ClockConfidence.SYNCED)
    return Header(7, Place(KIOSK, b"venue1", 1), stamp, Facts(**{**known, **facts})).to_bytes()  # type: ignore[arg-type]


def told(tagger: Tagger, head: bytes, clear: bytes, *, thoroughly: bool) -> Entry | str:
    record = SealedRecord(KIOSK, bytes(16), b"", 7, head, b"sealed")
    try:
        if thoroughly:
            return tagger._thorough(record, clear)
        return tagger.entry(record, Ajar(clear))  # type: ignore[arg-type]
    except ProtocolError as error:
        return error.code


def agree(tagger: Tagger, head: bytes, clear: bytes) -> None:
    assert told(tagger, head, clear, thoroughly=False) == told(tagger, head, clear, thoroughly=True)


@settings(max_examples=100, deadline=None)
@given(_personals, st.sampled_from(Direction), st.sampled_from(EntryMode), st.sampled_from(CredentialKind))
@example(CODE, Direction.IN, EntryMode.SCAN, CredentialKind.HEALTH_CODE)
@example(CARD, Direction.OUT, EntryMode.ID_CARD, CredentialKind.UNKNOWN)
def test_whatever_kiosks_write(
    tagger: Tagger, personal: Personal, way: Direction, mode: EntryMode, shown: CredentialKind
) -> None:
    agree(tagger, header(direction=way, mode=mode, credential=shown), personal.to_bytes())


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_it(tagger: Tagger, data: st.DataObject) -> None:
    clear = bytearray(data.draw(st.sampled_from([CODE, CARD, Personal(), Personal(phone="+8613912345678")])).to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        clear[data.draw(st.integers(0, len(clear) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([None, None, None, 64, 63, 0]))
    agree(tagger, header(), bytes(clear[:cut]))


@pytest.mark.parametrize("personal", [CODE, CARD], ids=["code", "card"])
def test_every_change_of_one_byte(tagger: Tagger, personal: Personal) -> None:
    clear = personal.to_bytes()
    for place in range(len(clear)):
        for value in {0, 0x18, 0x60, 0x78, 0x80, 0xA5, 0xF6, 0xFF, clear[place] ^ 1, clear[place] ^ 0x20}:
            agree(tagger, header(), clear[:place] + bytes([value]) + clear[place + 1 :])


@pytest.mark.parametrize(
    "changed",
    [
        {"sequence": 8},
        {"kiosk": b"kiosk 02"},
    ],
)
def test_a_header_of_another_record_is_refused(tagger: Tagger, changed: dict[str, object]) -> None:
    place = Place(changed.get("kiosk", KIOSK), b"venue1", 1)  # type: ignore[arg-type]
    stamp = Stamp(1_772_424_000_002, 1000, bytes(8), ClockConfidence.SYNCED)
    facts = Facts(Direction.IN, EntryMode.SCAN, CredentialKind.UNKNOWN, None, Measured.NORMAL, Outcome.ADMIT, (), 1, 1)
    head = Header(changed.get("sequence", 7), place, stamp, facts).to_bytes()  # type: ignore[arg-type]
    assert told(tagger, head, CARD.to_bytes(), thoroughly=False) == "foreign_header"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_noise(tagger: Tagger, noise: bytes, is_padded: bool) -> None:
    padded = noise + b"\x80" + bytes(-(len(noise) + 1) % 64) if is_padded else noise
    agree(tagger, header(), padded)
    agree(tagger, noise, CARD.to_bytes())


def test_what_kiosks_write_all_day_goes_the_quick_way() -> None:
    assert read_numbers(CARD.to_bytes()) == Numbers(b"11010519491231002X", b"+8613912345678", None, None)
    assert read_numbers(CODE.to_bytes()) == Numbers(None, None, bytes(8), bytes(16))
    assert read_numbers(Personal().to_bytes()) == Numbers(None, None, None, None)
