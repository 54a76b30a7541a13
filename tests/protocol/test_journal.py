"""The chain shows every record that was changed, left out, swapped or put in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ChainBroken, ProtocolError
from protocol.journal import MAX_HEADER_BYTES, MAX_SEALED_BYTES, Record, continue_chain, genesis, header_of, link
from protocol.passage import Header
from tests.protocol.strategies import RECORDS
from tests.protocol.test_passage import FACTS, PLACE, STAMP

KIOSK = PLACE.kiosk


def chain(count: int) -> list[Record]:
    return [
        Record(n, bytes(16), b"", Header(n, PLACE, STAMP, FACTS).to_bytes(), n.to_bytes(40, "big"))
        for n in range(1, count + 1)
    ]


def head(records: list[Record]) -> bytes:
    return [genesis(KIOSK), *(after for _, after in continue_chain(records, genesis(KIOSK), 0))][-1]


RECORDS_OF_ONE_DAY = chain(6)
HEAD = head(RECORDS_OF_ONE_DAY)


@given(RECORDS)
def test_a_record_comes_back_as_it_went(record: Record) -> None:
    assert Record.from_list(record.to_list()) == record


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("part", ["epoch", "wrapped", "header", "sealed"])
def test_any_changed_part_of_any_record_gives_another_head(at: int, part: str) -> None:
    records = list(RECORDS_OF_ONE_DAY)
    old = getattr(records[at], part)
    new = old[:-1] + bytes([old[-1] ^ 1]) if old else b"x"
    records[at] = records[at]._replace(**{part: new})
    assert head(records) != HEAD


def test_bytes_cannot_move_from_one_part_to_the_next() -> None:
    one = Record(1, bytes(16), b"", b"ab", b"c")
    other = Record(1, bytes(16), b"", b"a", b"bc")
    assert one.hash_after(bytes(32)) != other.hash_after(bytes(32))


@given(st.permutations(range(6)))
def test_records_in_another_order_are_refused(order: list[int]) -> None:
    records = [RECORDS_OF_ONE_DAY[n] for n in order]
    if order == list(range(6)):
        assert head(records) == HEAD
        return
    with pytest.raises(ChainBroken) as broken:
        head(records)
    first = next(n for n, at in enumerate(order) if n != at)
    assert broken.value.sequence == order[first] + 1


def test_a_record_that_is_left_out_or_sent_twice_is_refused() -> None:
    for records in (
        RECORDS_OF_ONE_DAY[1:],
        RECORDS_OF_ONE_DAY[:3] + RECORDS_OF_ONE_DAY[4:],
        RECORDS_OF_ONE_DAY[:1] * 2,
    ):
        with pytest.raises(ChainBroken):
            head(records)


def test_each_kiosk_has_a_chain_of_its_own() -> None:
    assert genesis(b"kiosk-01") != genesis(b"kiosk-02")


def test_the_chain_can_be_checked_when_only_digests_are_left() -> None:
    last = genesis(KIOSK)
    for record in RECORDS_OF_ONE_DAY:
        last = link(last, record.sequence, record.epoch, record.digests())
    assert last == HEAD


@given(
    st.lists(
        st.none() | st.booleans() | st.integers() | st.binary(max_size=20) | st.text(max_size=5) | st.floats(),
        max_size=7,
    )
)
def test_a_record_of_anything_raises_our_error_and_no_other(parts: list[object]) -> None:
    with pytest.raises(ProtocolError):
        Record.from_list(parts)


@pytest.mark.parametrize("value", [None, 5, "x", b"x", {}, {1: 2}, [1, 2, 3, 4], [[]] * 5])
def test_what_is_no_list_of_five_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError):
        Record.from_list(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 0},
        {"sequence": 2**63},
        {"sequence": True},
        {"epoch": bytes(15)},
        {"wrapped": bytes(5)},
        {"header": b""},
        {"header": bytes(MAX_HEADER_BYTES + 1)},
        {"sealed": bytes(MAX_SEALED_BYTES + 1)},
    ],
)
def test_a_record_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    record = RECORDS_OF_ONE_DAY[0]._replace(**changes)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        Record.from_list(record.to_list())


def test_a_header_belongs_to_its_record_and_its_kiosk() -> None:
    first, second = RECORDS_OF_ONE_DAY[:2]
    assert header_of(first, KIOSK).sequence == 1
    for record, kiosk in ((first, b"kiosk-02"), (first._replace(header=second.header), KIOSK)):
        with pytest.raises(ProtocolError) as foreign:
            header_of(record, kiosk)
        assert foreign.value.code == "foreign_header"
