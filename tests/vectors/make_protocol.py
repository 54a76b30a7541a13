"""Make protocol.json: keys, messages and answers from which another implementation of the protocol could be written.

Run from the top of the repository:  python -m tests.vectors.make_protocol
Everything but HPKE comes out the same every time. The sender of HPKE draws randomness of its own, so the wrapped key is
kept as it was first made unless --renew is given, and what depends on it (chain hashes, the upload) is made over it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from protocol import cbor, signed
from protocol.bundle import Manifest, PlaceNames, part_of
from protocol.enrolment import EnrolAnswer, EnrolRequest, token_id, token_proof, token_secret
from protocol.exchange import TAKES, Answer, Call, Receipt, Upload, record_digest
from protocol.journal import Record, genesis
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp, Temperature
from protocol.policy import EntryPolicy
from protocol.query import Approval, Purpose, Query, Reveal
from protocol.sealing import EpochSealer, SealPrivateKey
from protocol.staff import StaffList, StaffMember, StaffRole, hash_pin
from protocol.vault_keys import IdentityKey, SealKey, VaultKeys, vault_fingerprint
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome

HERE = Path(__file__).parent
FILE = HERE / "protocol.json"
AT_MS = 1_795_248_000_000  # 2026-11-21 08:00 UTC

DEVICE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SERVER = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
VAULT = Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96)))
APPROVER = Ed25519PrivateKey.from_private_bytes(bytes(range(96, 128)))
MLKEM_SEED, X25519_KEY, IDENTITY_KEY = bytes(range(64)), bytes(range(128, 160)), bytes(range(160, 192))
EPOCH, EPOCH_KEY = bytes(range(16)), bytes(range(16, 48))
TOKEN = bytes.fromhex("00112233445566778899aabbccddeeff")
KIOSK, VENUE = signed.key_id(DEVICE.public_key()), bytes.fromhex("a1b2c3d4e5f6")

STAMP = Stamp(AT_MS, 86_400_000, bytes.fromhex("b00700000000b007"), ClockConfidence.SYNCED)
PLACE = Place(KIOSK, VENUE, 1)
FACTS = Facts(
    direction=Direction.IN,
    mode=EntryMode.SCAN,
    credential=CredentialKind.HEALTH_CODE,
    colour=Colour.GREEN,
    measured=Measured.NORMAL,
    outcome=Outcome.ADMIT,
    reasons=(),
    bundle_version=29_920_800,
    bundle_age_s=42,
    degraded=("no_network",),
    issuer="cs.example.cn",
    method="infrared",
)
PERSONAL = Personal(
    name="欧*娜",
    pseudonym=bytes(range(8)),
    cti=bytes(range(8, 16)),
    identity_sealed=bytes(77),
    temperature=Temperature("infrared", 34.1, 22.5, 36.4),
)


def vault_keys() -> VaultKeys:
    """The vault's public keys from the private ones above."""
    ml = mlkem.MLKEM768PrivateKey.from_seed_bytes(MLKEM_SEED).public_key().public_bytes_raw()
    x = x25519.X25519PrivateKey.from_private_bytes(X25519_KEY).public_key().public_bytes_raw()
    identity = x25519.X25519PrivateKey.from_private_bytes(IDENTITY_KEY).public_key().public_bytes_raw()
    return VaultKeys(AT_MS, (SealKey.make(ml, x),), (IdentityKey.make(identity),))


def seal_private() -> SealPrivateKey:
    """The private half of the sealing key above."""
    return SealPrivateKey(
        vault_keys().seal[0].key_id,
        MLKEM768X25519PrivateKey(
            mlkem.MLKEM768PrivateKey.from_seed_bytes(MLKEM_SEED),
            x25519.X25519PrivateKey.from_private_bytes(X25519_KEY),
        ),
    )


def vectors(wrapped: bytes) -> dict[str, Any]:
    """Every vector; *wrapped* is the epoch's key as HPKE wrapped it once."""
    keys = vault_keys()
    sealer = EpochSealer(KIOSK, keys.seal[0].load(), EPOCH + EPOCH_KEY)
    event = Header(1, PLACE, STAMP, event="started", detail=(("version", "0.1.0"),)).to_bytes()
    passage = Header(2, PLACE, STAMP, FACTS).to_bytes()
    sealer.seal(1, event, b"")
    sealed = sealer.seal(2, passage, PERSONAL.to_bytes())
    records = (Record(1, EPOCH, wrapped, event, b""), Record(2, EPOCH, b"", passage, sealed))
    hashes = [genesis(KIOSK)]
    for record in records:
        hashes.append(record.hash_after(hashes[-1]))
    upload = Upload(
        kiosk=KIOSK,
        exchange=bytes(range(16)),
        sent_at_ms=AT_MS,
        mono_ms=86_400_000,
        boot=STAMP.boot,
        after_sequence=0,
        after_hash=hashes[0],
        records=records,
        head_sequence=2,
        oldest_unsent_ms=AT_MS,
        bundle_version=29_920_800,
        app_version="0.1.0",
        health=(("camera", "live"),),
        faults=("no_thermometer",),
    ).to_bytes(DEVICE)
    catching_up = Upload(
        kiosk=KIOSK,
        exchange=bytes(range(16)),
        sent_at_ms=AT_MS,
        mono_ms=86_400_000,
        boot=STAMP.boot,
        after_sequence=0,
        after_hash=hashes[0],
        records=records[:1],
        head_sequence=2,
        oldest_unsent_ms=AT_MS,
        bundle_version=29_920_800,
        app_version="0.1.0",
        early=records[1:],
    ).to_bytes(DEVICE)
    receipt = Receipt(KIOSK, 2, hashes[2], AT_MS).to_signed(SERVER)
    upload_digest = hashlib.sha256(upload).digest()
    answer = Answer(bytes(range(16)), upload_digest, AT_MS, "ok", receipt, 3, (), 29_920_800)
    request = EnrolRequest.make(DEVICE, TOKEN, "0.1.0", "aarch64", AT_MS)
    request_body = request.to_body(DEVICE)
    enrolled = EnrolAnswer(KIOSK, VENUE, 1, keys.to_signed(VAULT), AT_MS, hashlib.sha256(request_body).digest())
    policy = EntryPolicy().to_bytes()
    place = PlaceNames(VENUE, 1, "锦江图书馆", "Jinjiang Library", "东门", "East gate").to_bytes()
    salt = bytes(range(16))
    staff = StaffList((StaffMember("li", "小李", StaffRole.HELPER, salt, hash_pin("204815", salt)),)).to_bytes()
    parts = (part_of("place", place), part_of("policy", policy), part_of("staff", staff))
    query = Query(
        query_id=bytes(range(16)),
        requester="epi",
        purpose=Purpose.EPI_TRACE,
        case_reference="2026-0042",
        legal_ground="传染病防治法",
        venues=(VENUE,),
        from_ms=AT_MS,
        to_ms=AT_MS + 86_400_000,
        person=None,
        reveal=(Reveal.MASKED,),
        max_rows=100,
        created_ms=AT_MS,
        expires_ms=AT_MS + 3_600_000,
    )
    return {
        "about": "Vectors of docs/protocol.md. Byte strings are hex. Private keys are for tests only.",
        "keys": {
            "device_private": DEVICE.private_bytes_raw().hex(),
            "server_private": SERVER.private_bytes_raw().hex(),
            "vault_signing_private": VAULT.private_bytes_raw().hex(),
            "approver_private": APPROVER.private_bytes_raw().hex(),
            "seal_mlkem768_seed": MLKEM_SEED.hex(),
            "seal_x25519_private": X25519_KEY.hex(),
            "identity_x25519_private": IDENTITY_KEY.hex(),
            "kiosk_id": KIOSK.hex(),
            "seal_key_id": keys.seal[0].key_id.hex(),
            "vault_fingerprint": vault_fingerprint(VAULT.public_key()).hex(),
            "vault_keys_signed": keys.to_signed(VAULT).hex(),
        },
        "passage": {
            "event_header": event.hex(),
            "passage_header": passage.hex(),
            "personal_padded": PERSONAL.to_bytes().hex(),
        },
        "sealing": {
            "epoch": EPOCH.hex(),
            "epoch_key": EPOCH_KEY.hex(),
            "wrapped_by_opening_only": wrapped.hex(),
            "sequence": 2,
            "sealed": sealed.hex(),
        },
        "journal": {
            "genesis": hashes[0].hex(),
            "hash_after_1": hashes[1].hex(),
            "hash_after_2": hashes[2].hex(),
        },
        "exchange": {
            "records_packed_cbor": cbor.encode([r.to_list() for r in records]).hex(),
            "upload_by_reading_only": upload.hex(),
            "upload_with_early_record_by_reading_only": catching_up.hex(),
            "early_record_digest": record_digest(records[1]).hex(),
            "takes_command": TAKES.command(),
            "receipt": receipt.hex(),
            "answer": answer.to_signed(SERVER).hex(),
            "call": Call("GET", "/bundle/v1/manifest", AT_MS, bytes(range(16))).to_signed(DEVICE).hex(),
        },
        "enrolment": {
            "token": TOKEN.hex(),
            "token_id": token_id(TOKEN).hex(),
            "token_secret": token_secret(TOKEN).hex(),
            "proof": token_proof(TOKEN, DEVICE.public_key().public_bytes_raw()).hex(),
            "request_body": request_body.hex(),
            "answer": enrolled.to_signed(SERVER).hex(),
        },
        "bundle": {
            "policy": policy.hex(),
            "place": place.hex(),
            "staff": staff.hex(),
            "manifest": Manifest(KIOSK, 29_920_800, AT_MS, parts).to_signed(SERVER).hex(),
        },
        "query": {
            "query": query.to_bytes().hex(),
            "digest": query.digest().hex(),
            "approval": Approval(query.digest(), "li", True, AT_MS).to_signed(APPROVER).hex(),
        },
    }


def kept_wrapped() -> bytes:
    """The wrapped key of the file."""
    return bytes.fromhex(json.loads(FILE.read_text(encoding="utf-8"))["sealing"]["wrapped_by_opening_only"])


def main() -> None:
    """Write the file."""
    renew = "--renew" in sys.argv or not FILE.exists()
    wrapped = EpochSealer(KIOSK, vault_keys().seal[0].load(), EPOCH + EPOCH_KEY).wrapped if renew else kept_wrapped()
    FILE.write_text(json.dumps(vectors(wrapped), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
