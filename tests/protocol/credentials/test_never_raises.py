"""Whatever is held before the camera: `check` answers, with reasons that have words, and never raises."""

from __future__ import annotations

import json
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cose import Alg, sign1
from protocol.credentials import Checked, CheckPolicy, Reason, base45, check, sentence, to_json
from protocol.credentials.reasons import SENTENCES
from protocol.words import CredentialKind

from .makers import FRESH, KID, NOW, P256, TRUST, badge, health, paper, poster
from .test_dcc import dcc
from .test_nzcp import made
from .test_shc import card, numeric

EVERY_USE = tuple(kind.value for kind in CredentialKind)
GOOD = [health(), paper(), badge(), poster(), dcc(), made(), card(), "shc:/" + numeric(card())]
PREFIXES = ["JK1:", "HC1:", "NZCP:/1/", "shc:/", "shc:/1/2/", "GHE1:", "https://cs.example.cn/v/", "ey", '{"']


def answered(texts: object) -> Checked:
    checked = check(texts, TRUST, at=NOW, status=FRESH)  # type: ignore[arg-type]
    assert isinstance(checked, Checked)
    assert checked.valid or any(reason.refuses for reason in checked.reasons)
    json.dumps(to_json(checked))
    return checked


@given(st.text(max_size=200) | st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", max_size=200))
def test_any_text_is_answered(text: str) -> None:
    answered(text)
    for prefix in PREFIXES:
        answered(prefix + text)


@given(st.lists(st.sampled_from(GOOD) | st.text(max_size=20), max_size=4))
def test_any_parts_are_answered(texts: list[str]) -> None:
    answered(texts)


@given(st.sampled_from(GOOD), st.integers(0, 2_000), st.characters())
def test_one_changed_character_never_makes_another_valid_code(text: str, place: int, character: str) -> None:
    place %= len(text)
    changed = text[:place] + character + text[place + 1 :]
    checked = answered(changed)
    if changed != text:
        same_link = changed.lower() == text.lower() and text.startswith("https")  # a host may be written in any case
        other_host = text.startswith("https") and changed.rsplit("/", 1)[-1] == text.rsplit("/", 1)[-1]
        spare_bits = checked.kind is CredentialKind.SMART_HEALTH_CARD
        assert not checked.valid or same_link or other_host or spare_bits


@given(st.binary(max_size=120))
def test_any_bytes_in_any_wrapping_are_answered(data: bytes) -> None:
    answered("JK1:" + base45.encode(data))
    answered("HC1:" + base45.encode(data))
    answered("GHE1:" + base45.encode(data))


simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=9)
values = st.recursive(
    simple,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(-4, 10) | st.just(-65537) | st.text(max_size=2), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([1, 2, 4, 5, 6, 7, -260, -65537, -65538, "vc"]), values, max_size=8))
def test_anything_that_our_own_key_signed_is_answered(claims: dict[object, object]) -> None:
    import base64
    import zlib

    signed = sign1(cbor2.dumps(claims), P256, alg=Alg.ES256, kid=KID)
    answered("JK1:" + base45.encode(signed))
    answered("HC1:" + base45.encode(zlib.compress(signed)))
    answered("NZCP:/1/" + base64.b32encode(signed).rstrip(b"=").decode())
    answered("https://cs.example.cn/v/" + base64.urlsafe_b64encode(signed).rstrip(b"=").decode())


@given(st.binary(max_size=64))
def test_base45_is_the_reverse_of_itself(data: bytes) -> None:
    assert base45.decode(base45.encode(data)) == data


@given(st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", max_size=12))
def test_one_base45_text_has_one_meaning(text: str) -> None:
    try:
        data = base45.decode(text)
    except base45.Base45Error:
        return
    assert base45.encode(data) == text


@pytest.mark.parametrize(
    ("text", "data"),
    [("BB8", b"AB"), ("%69 VD92EX0", b"Hello!!"), ("UJCLQE7W581", b"base-45"), ("QED8WEX0", b"ietf!"), ("", b"")],
)
def test_base45_gives_the_examples_of_rfc_9285(text: str, data: bytes) -> None:
    assert base45.decode(text) == data and base45.encode(data) == text


@pytest.mark.parametrize("text", ["A", "BB8A", "GGW", ":::", "::", "bb8", "BB8\n", "BB 8é", "QED8WEX0="])
def test_base45_refuses_what_is_none(text: str) -> None:
    with pytest.raises(base45.Base45Error):
        base45.decode(text)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words_for_staff_and_visitor_in_both_languages(reason: Reason) -> None:
    for language in ("zh", "en"):
        assert sentence(reason, "staff", language)
        assert bool(sentence(reason, "visitor", language)) or not reason.refuses
    assert len(SENTENCES) == len(Reason)
    assert not (reason.undecided and not reason.refuses)


def test_a_place_that_accepts_nothing_accepts_nothing() -> None:
    nothing = CheckPolicy(accepted=frozenset())
    for text in GOOD:
        assert not check(text, TRUST, at=NOW, status=FRESH, policy=nothing).valid


def test_the_documentation_names_every_reason_and_every_kind() -> None:
    page = (Path(__file__).parents[3] / "docs" / "credentials.md").read_text("utf-8")
    missing = {reason.value for reason in Reason if f"`{reason.value}`" not in page}
    missing |= {kind.value for kind in CredentialKind if kind.value != "unknown" and f"`{kind.value}`" not in page}
    assert not missing
