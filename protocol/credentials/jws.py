"""Compact JWS (RFC 7515) as SMART Health Cards use it: ES256 over a packed JSON text, and nothing optional."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.credentials.reasons import Reason
from protocol.credentials.signed import Refused

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
MAX_HEADER_CHARS: Final = 2048


@dataclass(frozen=True, slots=True)
class Jws:
    """A compact JWS taken apart, unverified."""

    header: Mapping[str, object]
    payload: bytes
    signature: bytes
    signed: bytes  # header and payload as they came; what the signature covers


def parse(text: str) -> Jws:
    """Take a compact JWS apart. Raises Refused: BAD_STRUCTURE, BAD_ENCODING, or CRITICAL_HEADER."""
    parts = text.split(".")
    if len(parts) != 3 or not text.isascii() or len(parts[0]) > MAX_HEADER_CHARS:
        raise Refused(Reason.BAD_STRUCTURE)
    header = parse_json(from_base64url(parts[0]))
    if not isinstance(header, dict):
        raise Refused(Reason.BAD_STRUCTURE)
    if "crit" in header:
        raise Refused(Reason.CRITICAL_HEADER)
    signed = text[: len(parts[0]) + 1 + len(parts[1])].encode("ascii")
    return Jws(header, from_base64url(parts[1]), from_base64url(parts[2]), signed)


def from_base64url(text: str) -> bytes:
    """Decode base64url without padding (RFC 4648 5). Raises Refused for padding and for any other character."""
    if not _BASE64URL.fullmatch(text):
        raise Refused(Reason.BAD_ENCODING)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise Refused(Reason.BAD_ENCODING) from error


class _Repeated(ValueError):
    pass


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated
    return found


def _no_constant(name: str) -> object:
    raise ValueError(name)


def parse_json(data: bytes | str) -> object:
    """JSON as RFC 8259 has it: UTF-8, no NaN, no name twice in an object. Raises Refused(BAD_STRUCTURE)."""
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        result: object = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(Reason.BAD_STRUCTURE) from error
    return result
