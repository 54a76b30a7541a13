"""A query asks for little, for a short time, for a reason; its bytes are what an approver signs."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.query import MAX_ROWS, MAX_SPAN_MS, MAX_VALID_MS, Purpose, Query, QueryKind, Reveal
from tests.protocol.strategies import changed, octets, texts

DAY = 86_400_000
QUERY = Query(
    query_id=bytes(16),
    requester="epi",
    purpose=Purpose.EPI_TRACE,
    case_reference="2026-0042",
    legal_ground="传染病防治法",
    venues=(b"venue1",),
    from_ms=1_790_000_000_000,
    to_ms=1_790_000_000_000 + DAY,
    person=None,
    reveal=(Reveal.MASKED,),
    max_rows=100,
    created_ms=1_790_000_000_000,
    expires_ms=1_790_000_000_000 + 3_600_000,
)

WORDS = texts(30).filter(lambda text: bool(text.strip()))
QUERIES = st.builds(
    lambda begin, span, created, valid, **others: Query(
        from_ms=begin, to_ms=begin + span, created_ms=created, expires_ms=created + valid, **others
    ),
    begin=st.integers(0, 2**60),
    span=st.integers(1, MAX_SPAN_MS),
    created=st.integers(0, 2**60),
    valid=st.integers(1, MAX_VALID_MS),
    query_id=octets(16),
    requester=WORDS,
    purpose=st.sampled_from(Purpose),
    case_reference=WORDS,
    legal_ground=WORDS,
    venues=st.lists(octets(6), min_size=1, max_size=5).map(tuple),
    person=st.none() | st.binary(min_size=1, max_size=256),
    reveal=st.lists(st.sampled_from(Reveal), max_size=5).map(tuple),
    max_rows=st.integers(1, MAX_ROWS),
)


@given(QUERIES)
def test_a_query_comes_back_as_it_went(query: Query) -> None:
    read = Query.from_bytes(query.to_bytes())
    assert read == query and read.digest() == query.digest()


@given(st.data())
def test_a_changed_query_is_refused_or_has_another_digest(data: st.DataObject) -> None:
    other = data.draw(changed(QUERY.to_bytes()))
    try:
        read = Query.from_bytes(other)
    except ProtocolError:
        return
    assert read.digest() != QUERY.digest() or read == QUERY


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_our_error_and_no_other(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Query.from_bytes(data)


VALUES = st.none() | st.integers(-(2**63), 2**63) | st.text(max_size=9) | st.binary(max_size=20) | st.lists(st.binary())


@given(st.integers(1, 14), VALUES)
def test_any_value_in_any_field_raises_our_error_and_no_other(field: int, value: object) -> None:
    fields = cbor.decode_strict(QUERY.to_bytes())
    assert isinstance(fields, dict)
    try:
        Query.from_bytes(cbor.encode(fields | {field: value}))
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"requester": ""},
        {"case_reference": "  "},
        {"legal_ground": ""},
        {"venues": ()},
        {"venues": (b"short",)},
        {"to_ms": QUERY.from_ms},
        {"to_ms": QUERY.from_ms + MAX_SPAN_MS + 1},
        {"expires_ms": QUERY.created_ms},
        {"expires_ms": QUERY.created_ms + MAX_VALID_MS + 1},
        {"max_rows": 0},
        {"max_rows": MAX_ROWS + 1},
        {"query_id": bytes(15)},
    ],
)
def test_a_query_that_asks_for_too_much_cannot_even_be_made(changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        dataclasses.replace(QUERY, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Query)])
def test_an_approver_signs_every_field(name: str) -> None:
    others = {
        "query_id": bytes(15) + b"\x01",
        "requester": "li",
        "purpose": Purpose.DRILL,
        "case_reference": "2026-0043",
        "legal_ground": "consent",
        "venues": (b"venue2",),
        "from_ms": QUERY.from_ms + 1,
        "to_ms": QUERY.to_ms - 1,
        "person": b"sealed",
        "reveal": (Reveal.NAME,),
        "max_rows": 101,
        "created_ms": QUERY.created_ms + 1,
        "expires_ms": QUERY.expires_ms - 1,
        "kind": QueryKind.REUSED_CODES,
        "within_minutes": 16,
    }
    before = QUERY
    if name == "kind":  # one without a person, over three days at most
        before = dataclasses.replace(QUERY, person=None, reveal=(), to_ms=QUERY.from_ms + 3_600_000)
    elif name == "within_minutes":
        before = dataclasses.replace(QUERY, kind=QueryKind.OVERLAPS, person=b"sealed", reveal=(), within_minutes=15)
    assert dataclasses.replace(before, **{name: others[name]}).digest() != before.digest()  # type: ignore[arg-type]
