"""Making a resident's dynamic health code: the colour in force, a masked name, and the identity sealed to the vault."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.credentials import health_code, identity
from protocol.words import Colour
from server.context import house
from server.keystore import ALG, IssuerUse
from server.residents.models import HealthStatus, Resident
from server.vault_keys import read_vault_keys

CTI_BYTES = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force for a resident at one moment."""

    colour: Colour
    cause: str
    since: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShownCode:
    """A code as the resident's page shows it."""

    text: str
    issued_at: datetime
    expires_at: datetime
    standing: Standing
    masked_name: str


def standing(reading: Session, resident_id: str, at: datetime) -> Standing:
    """The newest status that has begun; grey when there is none or its time is over."""
    row = reading.scalar(
        select(HealthStatus)
        .where(HealthStatus.resident_id == resident_id, HealthStatus.since <= at)
        .order_by(HealthStatus.since.desc())
        .limit(1)
    )
    if row is None:
        return Standing(Colour.GREY, "none", None, None)
    if at >= row.expires_at:
        return Standing(Colour.GREY, "expired", row.since, row.expires_at)
    return Standing(Colour(row.colour), row.cause, row.since, row.expires_at)


def make_code(reading: Session, resident: Resident) -> ShownCode:
    """A fresh code for *resident*, valid for `codes.health_code_minutes` from now.

    Raises VaultKeysError or KeyStoreError: a code without a sealed identity would leave passages that nobody can trace,
    so there is none rather than a half one.
    """
    house_ = house()
    now = house_.now().replace(microsecond=0)
    vault = read_vault_keys(house_.settings.vault_public_path, house_.settings.vault.fingerprint)
    who = open_identity(resident)
    in_force = standing(reading, resident.id, now)
    cti = secrets.token_bytes(CTI_BYTES)
    pseudonym = house_.keys.resident_pseudonym(resident.id, now.astimezone(house_.settings.zone).date())
    sealed = identity.seal_identity(who, vault.keys.identity[0].load(), info=identity.identity_info(cti, pseudonym))
    key = house_.keys.issuer_signing_key(IssuerUse.HEALTH_CODE, now)
    life = timedelta(minutes=house_.settings.codes.health_code_minutes)
    masked = health_code.mask_name(who.name)
    text = health_code.issue(
        key=key.private_key,
        alg=ALG,
        kid=key.kid,
        colour=in_force.colour,
        issued_at=now,
        cti=cti,
        name_masked=masked,
        pseudonym=pseudonym,
        lifetime=life,
        identity_sealed=sealed,
    )
    return ShownCode(text, now, now + life, in_force, masked)


def close_identity(resident_id: str, who: identity.Identity) -> bytes:
    """*who* as the database may hold it; raises IdentityError for empty or overlong fields."""
    return house().keys.encrypt_resident(identity.pack(who), resident_id=resident_id)


def open_identity(resident: Resident) -> identity.Identity:
    """Who *resident* is; raises KeyStoreError when the row does not open."""
    return identity.unpack(house().keys.decrypt_resident(resident.identity, resident_id=resident.id))
