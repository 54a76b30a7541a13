"""The enrolment code: what a new kiosk's own camera reads to find its server. `GHE1:` and base45 of a CBOR map.

It is not signed: a new kiosk trusts nothing yet. What protects it is that it is shown once, on a signed-in console, and
that the token in it works once and for minutes; what it carries (server key, vault fingerprint) is the first trust.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from protocol.cbor import CborError, decode_strict, encode
from protocol.credentials import base45
from protocol.credentials.model import LAST_SECOND
from protocol.errors import ProtocolError

PREFIX: Final = "GHE1:"
PROTOCOL_VERSION: Final = 1
TOKEN_BYTES: Final = 16
SERVER_KEY_BYTES: Final = 32  # Ed25519
MAX_TEXT_CHARS: Final = 700
MAX_URL_CHARS: Final = 200
MAX_NAME_CHARS: Final = 60


class EnrolmentCodeError(ProtocolError):
    """The text is no enrolment code that we can use."""

    code = "enrolment_code"


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """All a kiosk needs to say hello."""

    server_url: str  # base address, no path: https://HOST[:PORT], http on a test network
    token: bytes  # 16 bytes, works once
    server_key: bytes  # 32 bytes, Ed25519; every later answer is verified with it
    vault_fingerprint: bytes  # 16 to 32 bytes of the vault's identity
    expires_at: datetime
    entrance_name: str | None = None  # for the people doing the enrolment
    protocol_version: int = PROTOCOL_VERSION

    def __post_init__(self) -> None:
        parts = urlsplit(self.server_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path.strip("/")
            or parts.query
            or parts.fragment
            or "@" in parts.netloc
            or not self.server_url.isascii()
            or len(self.server_url) > MAX_URL_CHARS
        ):
            raise EnrolmentCodeError("The server address in the code is not of the form https://HOST.")
        if len(self.token) != TOKEN_BYTES or len(self.server_key) != SERVER_KEY_BYTES:
            raise EnrolmentCodeError("Token or server key have the wrong length.")
        if not 16 <= len(self.vault_fingerprint) <= 32:
            raise EnrolmentCodeError("The vault's fingerprint has 16 to 32 bytes.")
        if self.entrance_name is not None and not 0 < len(self.entrance_name) <= MAX_NAME_CHARS:
            raise EnrolmentCodeError("The entrance's name has 1 to 60 characters.")
        if self.expires_at.tzinfo is None:
            raise EnrolmentCodeError("The expiry needs a time zone.")


def make(code: EnrolmentCode) -> str:
    """The text to show as a QR code; `parse` gives *code* back (expiry cut to whole seconds)."""
    body: dict[int, object] = {
        1: code.protocol_version,
        2: code.server_url,
        3: code.token,
        4: code.server_key,
        5: code.vault_fingerprint,
        6: int(code.expires_at.timestamp()),
    }
    if code.entrance_name is not None:
        body[7] = code.entrance_name
    return PREFIX + base45.encode(encode(body))


def parse(text: str) -> EnrolmentCode:
    """Read an enrolment code; whether it has expired is the caller's to ask. Raises EnrolmentCodeError only."""
    if not text.startswith(PREFIX) or len(text) > MAX_TEXT_CHARS:
        raise EnrolmentCodeError("An enrolment code starts with GHE1: and has at most 700 characters.")
    try:
        body = decode_strict(base45.decode(text[len(PREFIX) :]), max_depth=2)
    except (base45.Base45Error, CborError) as error:
        raise EnrolmentCodeError("The enrolment code is damaged.") from error
    if not isinstance(body, dict) or not {1, 2, 3, 4, 5, 6} <= set(body) <= {1, 2, 3, 4, 5, 6, 7}:
        raise EnrolmentCodeError("The enrolment code has other fields than ours.")
    if type(body[1]) is not int or body[1] != PROTOCOL_VERSION:
        raise EnrolmentCodeError("The enrolment code is of another version; update this kiosk.")
    server_url, token, server_key, vault, expires, name = (body.get(label) for label in range(2, 8))
    if (
        not isinstance(server_url, str)
        or not isinstance(token, bytes)
        or not isinstance(server_key, bytes)
        or not isinstance(vault, bytes)
        or type(expires) is not int
        or not 0 <= expires <= LAST_SECOND
        or not (name is None or isinstance(name, str))
    ):
        raise EnrolmentCodeError("A field of the enrolment code has the wrong type.")
    try:
        return EnrolmentCode(server_url, token, server_key, vault, datetime.fromtimestamp(expires, UTC), name)
    except EnrolmentCodeError:
        raise
    except ValueError as error:  # urlsplit, for a broken host
        raise EnrolmentCodeError("The server address in the code is not of the form https://HOST.") from error
