"""Whoever owns the web process completely, database and socket, still opens nothing without an approver's signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.credentials.identity import Identity
from protocol.query import Approval, Purpose, Query, Reveal
from server.vault.approvals import KeyWord, PasskeyWord
from server.vault.client import VaultClient
from server.vault.errors import Refused
from server.vault.roster import write_roster
from server.vault.wire import SealedRecord
from tests.server.vault.world import ID_NUMBER, NAME, OTHER_VENUE, PHONE, VENUE, World, now_ms

Forgery = Callable[[World, Query, bytes], tuple[bytes, bytes]]
MALLORY = Ed25519PrivateKey.generate()


def changed(**fields: object) -> Forgery:
    """The query altered after its approval."""
    return lambda world, query, approval: (replace(query, **fields).to_bytes(), approval)  # type: ignore[arg-type]


def renamed(world: World, query: Query, _approval: bytes) -> tuple[bytes, bytes]:
    inner = Approval(query.digest(), "anna", True, now_ms()).to_signed(world.approval_key)
    return query.to_bytes(), KeyWord("ANNA", inner).to_bytes()


def signed_by(key: Ed25519PrivateKey, query: Query, approver: str = "anna") -> bytes:
    return KeyWord(approver, Approval(query.digest(), approver, True, now_ms()).to_signed(key)).to_bytes()


FORGERIES: dict[str, tuple[str, Forgery]] = {
    "no approval at all": ("cbor", lambda w, q, a: (q.to_bytes(), b"")),
    "a row that says approved=1": ("bad_field", lambda w, q, a: (q.to_bytes(), b"\xa1\x01\xf5")),
    "a signature of zeros": ("cose_signature", lambda w, q, a: (q.to_bytes(), a[:-64] + bytes(64))),
    "signed by the attacker in the approver's name": (
        "cose_signature",
        lambda w, q, a: (q.to_bytes(), signed_by(MALLORY, q)),
    ),
    "an approver that nobody knows": (
        "unknown_approver",
        lambda w, q, a: (q.to_bytes(), signed_by(MALLORY, q, "mallory")),
    ),
    "the approval of another query": ("other_query", lambda w, q, a: (w.query().to_bytes(), a)),
    "more rows after approval": ("other_query", changed(max_rows=500)),
    "more venues after approval": ("other_query", changed(venues=(VENUE, OTHER_VENUE))),
    "full values after approval": ("other_query", changed(reveal=(Reveal.NAME,))),
    "a longer period after approval": ("other_query", changed(from_ms=now_ms() - 10 * 86_400_000)),
    "a longer life after approval": ("other_query", changed(expires_ms=now_ms() + 20 * 3_600_000)),
    "another purpose after approval": ("other_query", changed(purpose=Purpose.DRILL)),
    "another person after approval": ("other_query", changed(person=b"somebody else")),
    "a refusal sold as an approval": ("not_approved", lambda w, q, a: (q.to_bytes(), w.approve(q, approved=False))),
    "an approver renamed in the outer shape": ("other_approver", renamed),
    "a passkey for an approver who has none": (
        "bad_signature",
        lambda w, q, a: (q.to_bytes(), PasskeyWord("anna", b"id", b"data", b"{}", b"sig").to_bytes()),
    ),
    "an approval given before the query was": (
        "bad_time",
        lambda w, q, a: (q.to_bytes(), w.approve(q, at_ms=q.created_ms - 10 * 60_000)),
    ),
}


@pytest.fixture(scope="module")
def record(world: World) -> SealedRecord:
    return world.kiosk().pass_with_code(Identity(NAME, ID_NUMBER, PHONE))


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_approval_opens_nothing_and_is_logged(
    name: str, world: World, vault: VaultClient, record: SealedRecord
) -> None:
    query = world.query()
    honest = world.approve(query)
    code, forge = FORGERIES[name]
    before = vault.status().head.sequence
    with pytest.raises(Refused) as refusal:
        vault.open(*forge(world, query, honest), [record])
    assert refusal.value.code == code
    lines = vault.log_lines(before)
    assert len(lines) == 1 and '"event":"refused"' in lines[0]
    assert len(vault.open(query.to_bytes(), honest, [record]).rows) == 1  # the honest one still works


def test_an_expired_query_is_refused_even_with_its_true_approval(
    world: World, vault: VaultClient, record: SealedRecord
) -> None:
    query = world.query(created_ms=now_ms() - 3_600_000, expires_ms=now_ms() - 1)
    with pytest.raises(Refused) as refusal:
        vault.open(query.to_bytes(), world.approve(query, at_ms=query.created_ms + 1), [record])
    assert refusal.value.code == "expired"


def test_a_query_from_the_future_waits(world: World, vault: VaultClient, record: SealedRecord) -> None:
    query = world.query(created_ms=now_ms() + 600_000, expires_ms=now_ms() + 1_200_000)
    with pytest.raises(Refused) as refusal:
        vault.open(query.to_bytes(), world.approve(query, at_ms=query.created_ms), [record])
    assert refusal.value.code == "not_yet"


def test_nobody_approves_their_own_query(world: World, vault: VaultClient, record: SealedRecord) -> None:
    for requester in ("anna", "ANNA"):
        query = world.query(requester=requester)
        with pytest.raises(Refused) as refusal:
            vault.open(query.to_bytes(), world.approve(query), [record])
        assert refusal.value.code == "own_query"


def test_an_approver_is_good_only_for_the_purposes_of_the_roster(
    world: World, vault: VaultClient, record: SealedRecord
) -> None:
    query = world.query(purpose=Purpose.RESIDENT_REQUEST)
    with pytest.raises(Refused) as refusal:
        vault.open(query.to_bytes(), world.approve(query), [record])
    assert refusal.value.code == "wrong_purpose"


def test_a_revoked_approver_and_a_revoked_query_open_nothing_more(fresh: World) -> None:
    record = fresh.kiosk().pass_with_code(Identity(NAME, ID_NUMBER, PHONE))
    one, two = fresh.query(), fresh.query()
    with fresh.running() as vault:
        assert vault.open(one.to_bytes(), fresh.approve(one), [record]).rows
        vault.revoke(one.digest())
        with pytest.raises(Refused) as refusal:
            vault.open(one.to_bytes(), fresh.approve(one), [record])
        assert refusal.value.code == "revoked"
        fresh.revoke_approver("anna")
        with pytest.raises(Refused) as refusal:
            vault.open(two.to_bytes(), fresh.approve(two), [record])
        assert refusal.value.code == "key_revoked"
    with fresh.running() as vault, pytest.raises(Refused) as refusal:
        vault.open(one.to_bytes(), fresh.approve(one), [record])
    assert refusal.value.code == "revoked"  # also after a restart


def test_an_old_roster_put_back_is_not_believed(fresh: World) -> None:
    old = (fresh.folder / "roster.cbor").read_bytes()
    query = fresh.query()
    with fresh.running() as vault:
        fresh.revoke_approver("anna")
        vault.roster()
        (fresh.folder / "roster.cbor").write_bytes(old)
        with pytest.raises(Refused) as refusal:
            vault.open(query.to_bytes(), fresh.approve(query), [])
        assert refusal.value.code == "roster_rolled_back"


def test_a_roster_signed_by_somebody_else_is_not_believed(fresh: World) -> None:
    query = fresh.query()
    with fresh.running() as vault:
        write_roster(fresh.folder, fresh._roster, MALLORY)
        with pytest.raises(Refused) as refusal:
            vault.open(query.to_bytes(), fresh.approve(query), [])
        assert refusal.value.code == "roster"
