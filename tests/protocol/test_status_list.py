"""Status lists: small, signed, bounded, and never silently stale."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cbor import encode
from protocol.cose import Alg, sign1
from protocol.status_list import (
    StatusError,
    StatusList,
    UnknownPurpose,
    VenueSerials,
    age,
    colour_status,
    from_signed,
    status_list,
)
from protocol.words import Colour

from .credentials.makers import ED, KID, NOW, P256, STRANGER, TRUST, VENUE

LATER = NOW + timedelta(days=7)
CONTEXT = b"gatehouse status list 1"


def paper(statuses: list[int]) -> StatusList:
    return status_list("paper", 7, statuses, issued_at=NOW, expires_at=LATER)


@given(st.lists(st.integers(0, 3), max_size=300))
def test_a_list_comes_back_as_it_was_signed(statuses: list[int]) -> None:
    made = paper(statuses)
    read = from_signed(made.to_signed(P256, alg=Alg.ES256, kid=KID), TRUST)
    assert read == made
    assert isinstance(read, StatusList)
    assert [read.status(index) for index in range(len(statuses))] == statuses
    assert read.status(len(statuses)) is None and read.status(-1) is None


@pytest.mark.parametrize("colour", list(Colour))
def test_every_colour_has_its_two_bits(colour: Colour) -> None:
    assert paper([0, colour_status(colour)]).colour(1) is colour


@given(
    st.sets(st.integers(0, 2**32 - 1), max_size=200),
    st.dictionaries(st.binary(min_size=6, max_size=6), st.integers(0, 2**32 - 1), max_size=5),
)
def test_venue_serials_come_back_as_they_were_signed(revoked: set[int], lowest: dict[bytes, int]) -> None:
    made = VenueSerials(frozenset(revoked), lowest, NOW, LATER)
    assert from_signed(made.to_signed(P256, alg=Alg.ES256, kid=KID), TRUST) == made


def test_a_thousand_revoked_of_200_000_serials_are_a_kilobyte_or_two() -> None:
    revoked = frozenset(random.Random(1).sample(range(200_000), 1_000))
    size = len(VenueSerials(revoked, {VENUE: 5}, NOW, LATER).to_signed(P256, alg=Alg.ES256, kid=KID))
    assert size < 2_000


def test_10_000_mostly_green_paper_codes_are_under_a_kilobyte() -> None:
    chance = random.Random(1)
    statuses = [chance.choice((1, 2, 3)) if chance.random() < 0.01 else 0 for _ in range(10_000)]
    assert len(paper(statuses).to_signed(P256, alg=Alg.ES256, kid=KID)) < 1_000


def test_a_list_of_a_stranger_is_refused() -> None:
    made = paper([0])
    for data in (
        made.to_signed(STRANGER, alg=Alg.ES256, kid=KID),
        made.to_signed(P256, alg=Alg.ES256, kid=b"nobody"),
        made.to_signed(ED, alg=Alg.EDDSA, kid=KID),
        sign1(b"\xa0", P256, alg=Alg.ES256, kid=KID),  # a signature made for something else
    ):
        with pytest.raises(StatusError):
            from_signed(data, TRUST)


def test_a_list_of_a_key_that_is_over_is_refused_when_the_time_is_given() -> None:
    over = replace(TRUST, keys=(replace(TRUST.keys[0], not_after=NOW),))
    data = paper([0]).to_signed(P256, alg=Alg.ES256, kid=KID)
    assert from_signed(data, over) and from_signed(data, over, at=NOW)
    with pytest.raises(StatusError):
        from_signed(data, over, at=LATER)


def signed(changes: dict[int, object]) -> bytes:
    body = {1: "paper", 2: 1, 3: zlib.compress(b"\x00"), 4: int(LATER.timestamp()), 5: 4, 6: int(NOW.timestamp())}
    return sign1(encode(body | changes), P256, alg=Alg.ES256, kid=KID, external_aad=CONTEXT)


@pytest.mark.parametrize(
    "changes",
    [
        {1: "other"},
        {1: None},
        {2: -1},
        {2: 2**32},
        {3: "x"},
        {3: b"not zlib"},
        {3: zlib.compress(b"\x00") + b"x"},
        {3: zlib.compress(b"\x00" * 99)[:-2]},
        {3: zlib.compress(bytes(4 * 1024 * 1024 + 1))},
        {4: "x"},
        {5: 5},
        {5: -1},
        {6: 2**60},
        {1: "venue", 3: zlib.compress(b"\x80")},
        {1: "venue", 3: zlib.compress(b"\xff" * 9), 7: {}},
        {1: "venue", 3: zlib.compress(b"\xff\xff\xff\xff\x0f\x01"), 7: {}},
        {1: "venue"},
        {1: "venue", 7: {1: 1}},
    ],
)
def test_a_signed_but_malformed_list_is_our_error(changes: dict[int, object]) -> None:
    assert from_signed(signed({}), TRUST)
    with pytest.raises(StatusError):
        from_signed(signed(changes), TRUST)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(StatusError):
        from_signed(data, TRUST)


def test_age_is_never_negative() -> None:
    assert age(paper([]), NOW + timedelta(hours=2)) == timedelta(hours=2)
    assert age(paper([]), NOW - timedelta(hours=2)) == timedelta(0)


def test_a_status_has_two_bits() -> None:
    with pytest.raises(StatusError):
        paper([4])


def test_a_good_list_about_something_new_is_told_from_a_damaged_one() -> None:
    """So that a kiosk can leave it out and take the rest of its bundle."""
    known = status_list("badge", 1, [0], issued_at=NOW, expires_at=NOW + timedelta(days=1))
    later = replace(known, purpose="visitor")  # type: ignore[arg-type]
    with pytest.raises(UnknownPurpose):
        from_signed(later.to_signed(P256, alg=Alg.ES256, kid=KID), TRUST)
    with pytest.raises(StatusError) as refusal:
        from_signed(later.to_signed(STRANGER, alg=Alg.ES256, kid=KID), TRUST)
    assert not isinstance(refusal.value, UnknownPurpose), "a stranger's list is never left out quietly"
