"""Hypothesis strategies for everything that travels, and for changing it on the way."""

from __future__ import annotations

from hypothesis import strategies as st

from protocol.journal import Record
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp, Temperature
from protocol.sealing import WRAPPED_BYTES
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome


def octets(size: int) -> st.SearchStrategy[bytes]:
    """Exactly *size* bytes."""
    return st.binary(min_size=size, max_size=size)


def texts(most: int) -> st.SearchStrategy[str]:
    """Text of any script, at most *most* characters."""
    return st.text(st.characters(codec="utf-8"), max_size=most)


WHOLE = st.integers(0, 2**63 - 1)
MOMENT_MS = st.integers(-(2**53), 2**53)
WORDS = st.lists(texts(20), max_size=5).map(tuple)
CELSIUS = st.floats(-100, 100, allow_nan=False)
NAME = st.none() | texts(30)

PLACES = st.builds(Place, octets(8), octets(6), st.integers(0, 65535))
STAMPS = st.builds(Stamp, MOMENT_MS, WHOLE, octets(8), st.sampled_from(ClockConfidence))
FACTS = st.builds(
    Facts,
    direction=st.sampled_from(Direction),
    mode=st.sampled_from(EntryMode),
    credential=st.sampled_from(CredentialKind),
    colour=st.none() | st.sampled_from(Colour),
    measured=st.sampled_from(Measured),
    outcome=st.sampled_from(Outcome),
    reasons=WORDS,
    bundle_version=WHOLE,
    bundle_age_s=WHOLE,
    degraded=WORDS,
    operator=NAME,
    issuer=NAME,
    method=NAME,
)
DETAILS = st.lists(st.tuples(texts(20), texts(30) | st.integers(-(2**60), 2**60)), max_size=4).map(tuple)
SEQUENCES = st.integers(1, 2**63 - 1)
HEADERS = st.builds(Header, SEQUENCES, PLACES, STAMPS, facts=FACTS) | st.builds(
    Header, SEQUENCES, PLACES, STAMPS, event=texts(40), detail=DETAILS
)
PERSONALS = st.builds(
    Personal,
    name=NAME,
    id_number=st.none() | texts(32),
    phone=st.none() | texts(32),
    pseudonym=st.none() | st.binary(max_size=32),
    cti=st.none() | st.binary(max_size=32),
    identity_sealed=st.none() | st.binary(max_size=100),
    temperature=st.none() | st.builds(Temperature, texts(10), CELSIUS, st.none() | CELSIUS, CELSIUS),
    helper_name=NAME,
    helper_phone=NAME,
    relation=NAME,
    document=NAME,
    extra=st.lists(st.tuples(texts(10), texts(10)), max_size=3).map(tuple),
)
RECORDS = st.builds(
    Record,
    SEQUENCES,
    octets(16),
    st.sampled_from([b"", bytes(WRAPPED_BYTES)]),
    st.binary(min_size=1, max_size=60),
    st.binary(max_size=60),
)


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """*data* with one byte changed, cut short, or made longer."""
    how = draw(st.sampled_from(["flip", "cut", "grow"]))
    if how == "cut":
        return data[: draw(st.integers(0, len(data) - 1))]
    if how == "grow":
        return data + draw(st.binary(min_size=1, max_size=4))
    at, mask = draw(st.integers(0, len(data) - 1)), draw(st.integers(1, 255))
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
