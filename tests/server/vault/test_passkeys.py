"""A passkey's word at the vault: only with user verification, from our own pages, over this very query."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from webauthn.helpers import bytes_to_base64url

from protocol import cbor
from protocol.credentials.identity import Identity
from protocol.query import Purpose, Query, QueryKind, Reveal
from server.vault.approvals import ApproverKey, KeyKind, Offer, PasskeyWord
from server.vault.client import VaultClient
from server.vault.errors import Refused
from server.vault.roster import Approver
from tests.server.vault.world import ID_NUMBER, NAME, PHONE, World, now_ms

ORIGIN, HOST = "https://console.example", "console.example"
PRESENT, VERIFIED = 0x01, 0x04  # flags of authenticator data, WebAuthn level 2, section 6.1


class Passkey:
    """A software authenticator (ES256), which lies when it is told to."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.credential_id = secrets.token_bytes(16)

    def key(self) -> ApproverKey:
        point = self.private.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        return ApproverKey(KeyKind.PASSKEY, cbor.encode(cose), self.credential_id)

    def word(
        self,
        query: Query,
        *,
        origin: str = ORIGIN,
        host: str = HOST,
        flags: int = PRESENT | VERIFIED,
        kind: str = "webauthn.get",
        challenge: bytes | None = None,
    ) -> bytes:
        client = json.dumps(
            {"type": kind, "challenge": bytes_to_base64url(challenge or query.digest()), "origin": origin}
        ).encode()
        data = hashlib.sha256(host.encode()).digest() + bytes([flags]) + bytes(4)
        signature = self.private.sign(data + hashlib.sha256(client).digest(), ECDSA(hashes.SHA256()))
        return PasskeyWord("clara", self.credential_id, data, client, signature).to_bytes()


PASSKEY = Passkey()


def add(world: World, passkey: Passkey) -> None:
    world._roster = world._roster.added(Approver("clara", passkey.key(), (Purpose.EPI_TRACE,), now_ms()))
    world.write_roster()


@pytest.fixture(scope="module")
def vault(world: World) -> Iterator[VaultClient]:
    add(world, PASSKEY)
    process = world.start("--origin", ORIGIN)
    yield world.client()
    process.terminate()
    process.communicate(timeout=30)


def test_a_passkey_approves_like_a_key_and_again_at_each_look(world: World, vault: VaultClient) -> None:
    record = world.kiosk().pass_with_code(Identity(NAME, ID_NUMBER, PHONE))
    query = world.query(reveal=(Reveal.NAME,))
    word = PASSKEY.word(query)
    for _ in range(2):
        rows = vault.open(query.to_bytes(), word, [record]).rows
        assert rows[0].on_code and rows[0].on_code.name == NAME


LIES: dict[str, dict[str, object]] = {
    "without user verification": {"flags": PRESENT},
    "without anybody there": {"flags": VERIFIED},
    "from another site": {"origin": "https://console.example.evil.example"},
    "from a plain http page": {"origin": "http://console.example"},
    "for another host": {"host": "evil.example"},
    "a registration": {"kind": "webauthn.create"},
    "over another challenge": {"challenge": bytes(32)},
}


@pytest.mark.parametrize("how", LIES)
def test_a_passkey_s_word_that_does_not_hold_is_refused(how: str, world: World, vault: VaultClient) -> None:
    query = world.query()
    with pytest.raises(Refused) as refusal:
        vault.open(query.to_bytes(), PASSKEY.word(query, **LIES[how]), [])  # type: ignore[arg-type]
    assert refusal.value.code == "bad_signature"


def test_another_passkey_or_another_query_is_refused(world: World, vault: VaultClient) -> None:
    query = world.query()
    stranger = Passkey()
    copied = Passkey()
    copied.credential_id = PASSKEY.credential_id  # the id is no secret
    for word in (stranger.word(query), copied.word(query), PASSKEY.word(world.query())):
        with pytest.raises(Refused) as refusal:
            vault.open(query.to_bytes(), word, [])
        assert refusal.value.code == "bad_signature"


@pytest.mark.slow
def test_a_deployment_may_keep_passkeys_to_masked_results(tmp_path: Path) -> None:
    world = World.make(tmp_path / "v")
    add(world, PASSKEY)
    (world.folder / "vault.toml").write_text(
        f'folder = "."\npasskey_origins = ["{ORIGIN}"]\npasskeys_may_unmask = false\n'
    )
    with world.running() as vault:
        masked, full = world.query(), world.query(reveal=(Reveal.PHONE,))
        vault.open(masked.to_bytes(), PASSKEY.word(masked), [])
        with pytest.raises(Refused) as refusal:
            vault.open(full.to_bytes(), PASSKEY.word(full), [])
        assert refusal.value.code == "needs_approval_key"
        vault.open(full.to_bytes(), world.approve(full), [])  # an approval key may


@pytest.mark.slow
def test_where_no_origin_is_set_passkeys_approve_nothing(tmp_path: Path) -> None:
    world = World.make(tmp_path / "v")
    add(world, PASSKEY)
    query = world.query()
    with world.running() as vault, pytest.raises(Refused) as refusal:
        vault.open(query.to_bytes(), PASSKEY.word(query), [])
    assert refusal.value.code == "bad_signature"


def test_an_offer_comes_back_as_it_was_made() -> None:
    offer = Offer("clara", PASSKEY.key())
    assert Offer.from_bytes(offer.to_bytes()) == offer


def test_a_search_for_reused_codes_is_not_approved_by_passkey(world: World, vault: VaultClient) -> None:
    """A passkey signs no time: whoever got it beforehand could plant passages until the query was "made"."""
    query = world.query(kind=QueryKind.REUSED_CODES, person=None)
    for ask in (vault.reused, lambda body, word: vault.open(body, word, [])):
        with pytest.raises(Refused) as refusal:
            ask(query.to_bytes(), PASSKEY.word(query))
        assert refusal.value.code == "needs_key_here"
    assert vault.reused(query.to_bytes(), world.approve(query))[0] == []
