"""Tickets of the form: made without remembering anything, held to our own tag when they come back."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from datetime import datetime

from flask import current_app

from protocol.checkin import NONCE_BYTES, Ticket
from protocol.errors import ProtocolError
from server.codes.models import VenueCode

TAG_BYTES = 16
MAX_TEXT_CHARS = 400


def new_ticket(code: VenueCode, notice: str, now: datetime) -> Ticket:
    """A fresh ticket for the poster of *code*."""
    return Ticket(code.venue_id, code.entrance, code.serial, to_ms(now), secrets.token_bytes(NONCE_BYTES), notice)


def to_text(ticket: Ticket) -> str:
    """The ticket and our tag over it, as it stands in the form (base64, so that an old browser reads it, too)."""
    body = ticket.to_bytes()
    return base64.b64encode(body + _tag(body)).decode("ascii")


def from_text(text: str, code: VenueCode, now: datetime) -> Ticket | None:
    """The ticket, when we made it for this poster and its time is not over; else None."""
    try:
        data = base64.b64decode(text[: MAX_TEXT_CHARS + 1], validate=True)
        body, tag = data[:-TAG_BYTES], data[-TAG_BYTES:]
        if len(text) > MAX_TEXT_CHARS or not hmac.compare_digest(tag, _tag(body)):
            return None
        ticket = Ticket.from_bytes(body)
    except (binascii.Error, ValueError, ProtocolError):
        return None
    is_here = (ticket.venue, ticket.entrance, ticket.serial) == (code.venue_id, code.entrance, code.serial)
    return ticket if is_here and ticket.holds(max(to_ms(now), ticket.issued_ms)) else None


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return int(at.timestamp() * 1000)


def _tag(body: bytes) -> bytes:
    secret = current_app.config["SECRET_KEY"]
    return hmac.digest(secret, b"gatehouse check-in ticket 1" + body, "sha256")[:TAG_BYTES]
