"""Pages on which an approver registers a passkey; it approves nothing until the vault's custodian has accepted it."""

from __future__ import annotations

import base64
import json
import secrets

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask import session as cookie
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, select
from webauthn import verify_registration_response
from webauthn.helpers.exceptions import WebAuthnException

from protocol.errors import ProtocolError
from server.accounts.rights import person
from server.audit import Thing, audit
from server.context import house
from server.db import session
from server.queries.deciding import APPROVES, relying_party, this_vault
from server.queries.models import PasskeyOffer
from server.vault.approvals import ApproverKey, KeyKind, Offer
from server.vault.client import VaultAway
from server.vault.errors import Refused
from server.vault.keyfile import spoken
from server.web.access import needs
from server.web.language import tell

blueprint = Blueprint("passkeys", __name__, url_prefix="/passkeys")

MAX_OFFERS = 10
_CHALLENGE = "passkey_challenge"


@blueprint.get("/")
@needs(*APPROVES)
def index() -> ResponseReturnValue:
    """One's own passkeys, and the button that makes one."""
    offers = session().scalars(_own().order_by(PasskeyOffer.offered_at)).all()
    try:
        known = {a.key.fingerprint(): a for a in this_vault().roster().keys_of(person().name)}
        is_away = False
    except (VaultAway, Refused):
        known, is_away = {}, True
    rows = [(offer, _offer(offer).key.fingerprint()) for offer in offers]
    challenge = secrets.token_bytes(32)
    cookie[_CHALLENGE] = challenge.hex()
    return render_template(
        "queries/passkeys.html",
        rows=[(offer, spoken(fingerprint), known.get(fingerprint)) for offer, fingerprint in rows],
        is_away=is_away,
        may_add=len(rows) < MAX_OFFERS,
        challenge=_b64url(challenge),
        relying_party=relying_party(house().settings),
        user_handle=_b64url(person().id.encode()),
        exclude=[_b64url(offer.credential_id) for offer in offers],
    )


@blueprint.post("/")
@needs(*APPROVES)
def register() -> ResponseReturnValue:
    """Keep what the browser made, when it holds."""
    settings, challenge = house().settings, cookie.pop(_CHALLENGE, "")
    if len(session().scalars(_own()).all()) >= MAX_OFFERS:
        abort(409)
    try:
        made = verify_registration_response(
            credential=json.loads(request.form.get("credential", "")),
            expected_challenge=bytes.fromhex(challenge),
            expected_rp_id=relying_party(settings),
            expected_origin=settings.public_url,
            require_user_verification=True,
        )
        key = ApproverKey.from_fields(
            ApproverKey(KeyKind.PASSKEY, made.credential_public_key, made.credential_id).to_fields()
        )
    except (WebAuthnException, ProtocolError, ValueError, KeyError, TypeError):
        tell("The passkey was not taken. Load the page again and try once more.", "error")
        return redirect(url_for("queries.passkeys.index"), 303)
    offer = PasskeyOffer(
        user_id=person().id,
        credential_id=key.credential_id,
        public_key=key.public_key,
        offered_at=house().now(),
    )
    session().add(offer)
    session().flush()
    audit(session(), "passkey.offered", Thing("passkey", offer.id))
    session().commit()
    tell("The passkey is kept. Now give its file and its fingerprint to the vault's custodian.")
    return redirect(url_for("queries.passkeys.index"), 303)


@blueprint.get("/<offer_id>.offer")
@needs(*APPROVES)
def download(offer_id: str) -> ResponseReturnValue:
    """The custodian's file; it holds a public key and a user name."""
    offer = session().scalar(_own().where(PasskeyOffer.id == offer_id))
    if offer is None:
        abort(404)
    name = f"{person().name}-{offer.id}.offer"
    return Response(
        _offer(offer).to_bytes(),
        mimetype="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _own() -> Select[PasskeyOffer]:
    return select(PasskeyOffer).where(PasskeyOffer.user_id == person().id)


def _offer(offer: PasskeyOffer) -> Offer:
    return Offer(person().name, ApproverKey(KeyKind.PASSKEY, offer.public_key, offer.credential_id))


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
