"""The addresses where kiosks fetch their bundle: the signed manifest, and parts by digest."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from protocol.bundle import MANIFEST_PATH, PART_PATH
from server.bundles import rule_pages
from server.bundles.calls import Asked, caller
from server.bundles.manifests import manifest, part_data
from server.context import house
from server.db import session
from server.ingest.devices import Device, to_ms
from server.ingest.refusals import CBOR_TYPE, Refused
from server.web.access import machines

blueprint = Blueprint("bundles", __name__)
blueprint.register_blueprint(rule_pages.blueprint)
PROOF = "the call signed by the kiosk's device key, in Authorization"
SERVER_TIME = "Gatehouse-Time"  # milliseconds since 1970 by our clock; a hint, the signed time is in receipts


@blueprint.get(MANIFEST_PATH)
@machines(PROOF)
def get_manifest() -> ResponseReturnValue:
    """The caller's manifest, signed; 304 when it holds this one (If-None-Match)."""
    device = _caller()
    found = manifest(session(), device.kiosk_id, device.venue_id)
    if found is None:
        raise Refused(404, "no_bundle", "Nothing is published for this kiosk yet. Is the server's worker running?")
    return _answer(found.to_signed(house().keys.server_identity()), f"v{found.version}")


@blueprint.get(PART_PATH + "<digest>")
@machines(PROOF)
def get_part(digest: str) -> ResponseReturnValue:
    """The bytes of one part of the caller's bundle, by SHA-256 in lower-case hex."""
    device = _caller()
    data = part_data(session(), device.kiosk_id, device.venue_id, _digest(digest))
    if data is None:
        raise Refused(404, "no_part", "This kiosk's bundle has no such part now. Fetch the manifest again.")
    return _answer(data, digest)


def _caller() -> Device:
    asked = Asked(request.method, request.path, request.headers.get("Authorization", ""))
    return caller(house(), asked, house().now())


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32 or digest.hex() != text:
        raise Refused(404, "no_part", "A part is named by 64 lower-case hex digits.")
    return digest


def _answer(data: bytes, etag: str) -> Response:
    response = Response(data, content_type=CBOR_TYPE)
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers[SERVER_TIME] = str(to_ms(house().now()))
    response.make_conditional(request)
    return response
