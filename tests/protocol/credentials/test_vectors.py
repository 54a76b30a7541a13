"""The published vectors: made again they are the same bytes, and another implementation's codes would be read."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.credentials import check
from protocol.credentials.enrolment_code import parse
from protocol.credentials.identity import Identity, open_identity
from protocol.status_list import StatusLists, from_signed
from protocol.trust import TrustList
from tests.vectors.make_credentials import deterministic

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "credentials.json").read_text("utf-8"))
AT = datetime.fromisoformat(VECTORS["at"])
TRUST = TrustList.from_signed(bytes.fromhex(VECTORS["trust_list"]), bytes.fromhex(VECTORS["keys"]["ed25519_public"]))
STATUS = StatusLists.of([from_signed(bytes.fromhex(data), TRUST) for data in VECTORS["status_lists"].values()])


def test_the_vectors_are_what_the_script_makes() -> None:
    assert {name: value for name, value in VECTORS.items() if name != "random"} == deterministic()


@pytest.mark.parametrize("code", VECTORS["codes"], ids=lambda code: code["name"])
def test_every_code_has_its_answer(code: dict[str, str]) -> None:
    checked = check(code["text"], TRUST, at=AT, status=STATUS)
    assert [reason.value for reason in checked.reasons] == ([code["reason"]] if "reason" in code else [])
    colour = checked.credential.colour if checked.credential else None
    assert (colour.name.lower() if colour else None) == code.get("colour")


def test_the_sealed_identity_on_the_es256_code_opens_with_the_vaults_key() -> None:
    checked = check(VECTORS["random"]["es256_code"], TRUST, at=AT)
    assert checked.valid and checked.credential is not None
    sealed = checked.credential.identity_sealed
    assert sealed is not None and sealed.hex() == VECTORS["random"]["sealed"]
    vault = X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["keys"]["vault_x25519_private"]))
    person = VECTORS["identity"]
    assert open_identity(sealed, vault, info=bytes.fromhex(person["info"])) == Identity(
        person["name"], person["id_number"], person["phone"]
    )


def test_the_enrolment_code_is_read() -> None:
    assert parse(VECTORS["enrolment_code"]).server_url == "https://gate.example.cn"
