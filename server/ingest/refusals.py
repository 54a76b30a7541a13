"""How machines are refused: a status, a stable code and a sentence that says what to do, as a small CBOR map."""

from __future__ import annotations

from flask import Response
from werkzeug.exceptions import HTTPException

from protocol import cbor
from protocol.errors import ProtocolError

CBOR_TYPE = "application/cbor"
ERROR_CODE, ERROR_SENTENCE = 1, 2  # keys of the map; it is not signed, so nothing but the screen may depend on it

# Codes of ProtocolError that mean "not who it says" and not "malformed".
_NOT_PROVEN = frozenset({"cose_signature", "wrong_device", "changed", "cose_algorithm"})


class Refused(HTTPException):
    """A request of a machine that is not served; carries its own answer."""

    def __init__(self, status: int, code: str, sentence: str, *, retry_after_s: int | None = None) -> None:
        body = cbor.encode({ERROR_CODE: code, ERROR_SENTENCE: sentence})
        response = Response(body, status, content_type=CBOR_TYPE)
        if retry_after_s is not None:
            response.headers["Retry-After"] = str(retry_after_s)
        super().__init__(sentence, response)
        self.code = status
        self.reason = code
        self.sentence = sentence


def refused_bytes(error: ProtocolError) -> Refused:
    """The answer to bytes that `protocol` would not believe."""
    if error.code in _NOT_PROVEN:
        return Refused(401, "bad_signature", "The signature does not fit the kiosk that this names.")
    if error.code == "too_large":
        return Refused(413, "too_large", f"{error.message}. Send a smaller batch.")
    return Refused(400, error.code, error.message)
