"""The world outside, for tests: keys made on the spot, people who show codes, readings of a given temperature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from firmware_bridge.reading import Cause, Method, NoReading, Quality, Reading
from protocol import signed
from protocol.credentials.model import Checked, Credential, believed, refused
from protocol.credentials.reasons import Reason
from protocol.passage import ClockConfidence, Facts, Place, Stamp
from protocol.sealing import SealPrivateKey
from protocol.vault_keys import SealKey
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # 12:00 in China
DAY = "2026-11-21"


class Device:
    """A kiosk's identity."""

    def __init__(self, key: Ed25519PrivateKey | None = None) -> None:
        self.key = key or Ed25519PrivateKey.generate()
        self.id = signed.key_id(self.key.public_key())
        self.place = Place(self.id, b"venue1", 1)


class VaultKey:
    """The vault's sealing key pair."""

    def __init__(
        self, mlkem_key: mlkem.MLKEM768PrivateKey | None = None, x25519_key: x25519.X25519PrivateKey | None = None
    ) -> None:
        mlkem_key = mlkem_key or mlkem.MLKEM768PrivateKey.generate()
        x25519_key = x25519_key or x25519.X25519PrivateKey.generate()
        self.public = SealKey.make(
            mlkem_key.public_key().public_bytes_raw(), x25519_key.public_key().public_bytes_raw()
        ).load()
        self.private = SealPrivateKey(self.public.key_id, MLKEM768X25519PrivateKey(mlkem_key, x25519_key))
        self.keys = {self.public.key_id: self.private}


def stamp(after_s: float = 0.0) -> Stamp:
    """A stamp some seconds after noon."""
    at_ms = int(NOON.timestamp() * 1000 + after_s * 1000)
    return Stamp(at_ms, int(after_s * 1000) + 1_000_000, b"bootboot", ClockConfidence.SYNCED)


def facts(outcome: Outcome = Outcome.ADMIT, mode: EntryMode = EntryMode.SCAN) -> Facts:
    """A plain passage's facts."""
    return Facts(
        direction=Direction.IN,
        mode=mode,
        credential=CredentialKind.HEALTH_CODE,
        colour=Colour.GREEN,
        measured=Measured.NORMAL,
        outcome=outcome,
        reasons=() if outcome is Outcome.ADMIT else ("fever",),
        bundle_version=1,
        bundle_age_s=30,
    )


def health_code(
    colour: Colour | None = Colour.GREEN,
    *notes: Reason,
    kind: CredentialKind = CredentialKind.HEALTH_CODE,
    who: int = 1,
) -> Checked:
    """A credential that was believed."""
    return believed(
        Credential(
            kind=kind,
            scheme="JK1",
            issuer="test",
            issued_at=NOON,
            expires_at=NOON + timedelta(minutes=5),
            colour=colour,
            name_masked="张*三",
            pseudonym=who.to_bytes(8, "big"),
            cti=(1000 + who).to_bytes(8, "big"),
            identity_sealed=bytes(77),
        ),
        *notes,
    )


def refusal(*reasons: Reason, kind: CredentialKind = CredentialKind.HEALTH_CODE) -> Checked:
    """A credential that was not believed."""
    return refused(kind, *reasons)


def reading(body_celsius: float, method: Method = Method.INFRARED) -> Reading:
    """A sound reading."""
    return Reading(
        method=method,
        raw_celsius=body_celsius - 2.0 if method is Method.INFRARED else body_celsius,
        ambient_celsius=25.0 if method is Method.INFRARED else None,
        body_celsius=body_celsius,
        quality=Quality(frames_used=8, frames_seen=8, spread_celsius=0.1, stable_ms=700, trend_celsius=0.0),
        taken_at=NOON,
        taken_mono_s=1.0,
        device="test",
        correction="heat_balance k=0.19",
        calibration="none",
    )


def no_reading(cause: Cause) -> NoReading:
    """A window without a temperature."""
    return NoReading(cause, "test")
