"""The package that a new version of the kiosk's program comes in: a signed statement, then the bytes it speaks of.

`GHU1 | length of the statement, 4 bytes big-endian | statement (COSE_Sign1) | payload (a gzipped tar)`. The key that
signs stands on the trust list with the use "update"; a kiosk takes a package from nobody else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import cose, signed
from protocol.errors import ProtocolError
from protocol.fields import Fields
from protocol.trust import UPDATE_USE, TrustList

MAGIC = b"GHU1"
LENGTH_BYTES = 4
MAX_STATEMENT_BYTES = 4096
MAX_PAYLOAD_BYTES = 2 * 1024**3
_PURPOSE = "update package 1"
_VERSION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6}){0,5})(?:(a|b|rc)([0-9]{1,6}))?")
_STAGES = {"a": 0, "b": 1, "rc": 2, "": 3}


class UpdateKind(Enum):
    """What the payload holds."""

    WHEELS = "wheels"  # Python wheels; the kiosk makes an environment of them
    FOLDER = "folder"  # a folder that runs wherever it stands, with bin/gatehouse


@dataclass(frozen=True, slots=True)
class UpdatePackage:
    """What a package says of its payload."""

    version: str  # like 0.2.0 or 1.0rc1; see `version_key`
    kind: UpdateKind
    digest: bytes  # SHA-256 of the payload
    size: int
    made_at_ms: int

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign with an update key."""
        fields = {1: self.version, 2: self.kind.value, 3: self.digest, 4: self.size, 5: self.made_at_ms}
        return signed.sign(_PURPOSE, dict(fields), key)

    @staticmethod
    def from_signed(data: bytes, trust: TrustList, at: datetime) -> UpdatePackage:
        """Believe a statement when a key of *trust* that may sign updates at *at* made it; raises ProtocolError.

        Codes: unknown_key, wrong_use, out_of_date (the key), bad_signature and those of damaged bytes.
        """
        keys = trust.with_kid(signed.signer_of(data))
        if not keys:
            raise ProtocolError("update: it was signed by a key that this place does not trust", code="unknown_key")
        for entry in keys:
            if UPDATE_USE not in entry.uses or entry.alg != cose.Alg.EDDSA:
                continue
            if not entry.is_valid(at):
                raise ProtocolError("update: the key that signed it is not in force now", code="out_of_date")
            key = entry.public_key
            assert isinstance(key, Ed25519PublicKey)
            return _read(signed.verify(_PURPOSE, data, key))
        raise ProtocolError("update: the key that signed it may not sign updates", code="wrong_use")


def _read(fields: Fields) -> UpdatePackage:
    version, kind = fields.text(1, at_most=40), fields.text(2, at_most=16)
    digest, size, made_at_ms = fields.octets(3, exactly=32), fields.integer(4, 1, MAX_PAYLOAD_BYTES), fields.integer(5)
    fields.done()
    version_key(version)
    if kind not in {known.value for known in UpdateKind}:
        raise ProtocolError(f"update: payloads of the kind {kind!r} are not known here", code="bad_kind")
    return UpdatePackage(version, UpdateKind(kind), digest, size, made_at_ms)


def version_key(version: str) -> tuple[tuple[int, ...], int, int]:
    """Something that sorts as versions do: 0.9 < 0.10rc1 < 0.10 = 0.10.0. Raises ProtocolError for another form."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ProtocolError(f"update: {version!r} is no version like 1.2.3 or 1.2rc1", code="bad_version")
    numbers = [int(part) for part in found[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), _STAGES[found[2] or ""], int(found[3] or 0)
