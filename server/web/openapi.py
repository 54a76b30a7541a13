"""What machines can call, as one table; /openapi.json is made from it, and a test holds it against the routes.

Bodies of kiosks are signed CBOR, whose inside is defined by `protocol/` and told in docs/protocol.md; to OpenAPI they
are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from typing import Any

from config.server import ServerSettings
from protocol.bundle import MANIFEST_PATH, PART_PATH
from protocol.enrolment import ENROL_PATH
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH

CBOR, JSON, PLAIN = "application/cbor", "application/json", "text/plain"


class Proof(Enum):
    """How a caller proves who it is; names of the description's security schemes."""

    NONE = ""
    SIGNED_BODY = "deviceSignedBody"
    SIGNED_CALL = "deviceSignedCall"
    ENROLMENT = "enrolmentCode"
    METRICS = "metricsToken"


@dataclass(frozen=True, slots=True)
class Answer:
    """One status with what it carries."""

    status: int
    what: str
    content_type: str = ""  # empty: no body
    schema: str = ""  # a component; empty: bytes or text


@dataclass(frozen=True, slots=True)
class Operation:
    """One route and method that machines call."""

    path: str  # as Flask writes it
    method: str
    name: str
    summary: str
    proof: Proof
    answers: tuple[Answer, ...]
    body_type: str = ""  # empty: no body
    headers: tuple[str, ...] = ()  # optional ones of the request


def _refused(status: int, what: str) -> Answer:
    return Answer(status, what, CBOR)


_UNKNOWN = _refused(401, "The signature does not fit the kiosk that this names.")
_UNREADABLE = _refused(400, "The bytes are not what the protocol says.")
_ENDED = _refused(403, "This kiosk is suspended, retired or lost.")
_SLOW = _refused(429, "Too many failed attempts; Retry-After says how long to wait.")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        EXCHANGE_PATH,
        "post",
        "exchange",
        "Send a run of sealed records; answered with a signed receipt for what is committed.",
        Proof.SIGNED_BODY,
        (
            Answer(200, "The signed answer with the receipt.", CONTENT_TYPE),
            *(_UNREADABLE, _UNKNOWN, _ENDED, _SLOW),
            _refused(413, "The upload is too large; send a smaller batch."),
            _refused(415, "The body has another content type."),
        ),
        body_type=CONTENT_TYPE,
    ),
    Operation(
        ENROL_PATH,
        "post",
        "enrol",
        "Turn a one-time enrolment code and a new device key into a kiosk.",
        Proof.ENROLMENT,
        (
            Answer(200, "The signed answer with place and keys.", CBOR),
            *(_UNREADABLE, _UNKNOWN, _SLOW),
            _refused(403, "No such code, or it was used, cancelled or is too old."),
            _refused(409, "This device is enrolled already."),
            _refused(410, "The code is over."),
            _refused(413, "The request is too large."),
            _refused(503, "The vault has not published its keys yet."),
        ),
        body_type="application/octet-stream",
    ),
    Operation(
        MANIFEST_PATH,
        "get",
        "manifest",
        "The calling kiosk's signed bundle manifest.",
        Proof.SIGNED_CALL,
        (
            Answer(200, "The signed manifest.", CBOR),
            Answer(304, "The caller holds this one (If-None-Match)."),
            *(_UNREADABLE, _UNKNOWN, _ENDED, _SLOW),
            _refused(404, "Nothing is published for this kiosk yet."),
        ),
        headers=("If-None-Match",),
    ),
    Operation(
        f"{PART_PATH}<digest>",
        "get",
        "part",
        "The bytes of one part of the calling kiosk's bundle, by SHA-256.",
        Proof.SIGNED_CALL,
        (
            Answer(200, "The part.", CBOR),
            Answer(304, "The caller holds this one (If-None-Match)."),
            *(_UNREADABLE, _UNKNOWN, _ENDED, _SLOW),
            _refused(404, "The kiosk's bundle has no such part now."),
        ),
        headers=("If-None-Match",),
    ),
    Operation(
        "/checkin/key.json",
        "get",
        "checkinKey",
        "The key that browsers seal check-ins to, as the vault signed it.",
        Proof.NONE,
        (
            Answer(200, "The key.", JSON, "CheckinKey"),
            Answer(503, "The vault has not published its keys yet.", "text/html"),
        ),
    ),
    Operation(
        "/healthz", "get", "alive", "The process answers.", Proof.NONE, (Answer(200, "It does.", JSON, "Alive"),)
    ),
    Operation(
        "/readyz",
        "get",
        "ready",
        "Database, tables and signing keys can be used; with the metrics' proof also what fails.",
        Proof.NONE,
        (Answer(200, "It can serve.", JSON, "Ready"), Answer(503, "It cannot.", JSON, "Ready")),
    ),
    Operation(
        "/metrics",
        "get",
        "metrics",
        "Counters and gauges in Prometheus' text format.",
        Proof.METRICS,
        (Answer(200, "The metrics.", PLAIN), Answer(403, "Not from this machine, and no token.", JSON, "Problem")),
    ),
    Operation(
        "/openapi.json",
        "get",
        "openapi",
        "This description.",
        Proof.NONE,
        (Answer(200, "The description.", JSON, "Description"),),
    ),
)

_TEXT: dict[str, Any] = {"type": "string"}
_CHECK: dict[str, Any] = {"type": "string", "enum": ["ok", "failed"]}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "Alive": _object({"alive": {"const": True}}),
    "Ready": _object(
        {"ready": {"type": "boolean"}},
        {
            "checks": _object({"database": _CHECK, "migrations": _CHECK, "keys": _CHECK}),
            "vault": {"type": "string", "enum": ["ok", "away"]},
        },
    ),
    "CheckinKey": _object(
        {
            "key_id": {"type": "string", "pattern": "^[0-9a-f]+$"},
            "point": {"type": "string", "pattern": "^[0-9a-f]{130}$", "description": "P-256, uncompressed"},
            "vault_fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "signed": {"type": "string", "contentEncoding": "base64"},
        }
    ),
    "Problem": _object({"code": _TEXT, "message": _TEXT, "hint": _TEXT}),
    "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
}

SECURITY: dict[Proof, dict[str, Any]] = {
    Proof.METRICS: {
        "type": "http",
        "scheme": "bearer",
        "description": "Not asked from this machine itself, through no proxy.",
    },
    Proof.SIGNED_CALL: {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The call signed by the kiosk's device key (docs/protocol.md).",
    },
    Proof.SIGNED_BODY: {
        "type": "mutualTLS",
        "description": "Stands for: the body itself is signed by the kiosk's device key. No client certificate.",
    },
    Proof.ENROLMENT: {
        "type": "mutualTLS",
        "description": "Stands for: the body proves a one-time enrolment code and the new device key.",
    },
}


def description(settings: ServerSettings) -> dict[str, Any]:
    """The OpenAPI 3.1 document for the server at `public_url`."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(openapi_path(operation.path), {})[operation.method] = _told(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gatehouse 门哨",
            "version": version("gatehouse"),
            "summary": "What machines call: kiosks, balancers, monitoring.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": settings.public_url}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {proof.value: scheme for proof, scheme in SECURITY.items()},
        },
    }


def openapi_path(rule: str) -> str:
    """A Flask rule as OpenAPI writes it."""
    return rule.replace("<", "{").replace(">", "}")


def _told(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(answer.status): _answer(answer) for answer in operation.answers},
    }
    parameters = [{"name": name, "in": "header", "required": False, "schema": _TEXT} for name in operation.headers]
    if "<digest>" in operation.path:
        digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
        parameters.append({"name": "digest", "in": "path", "required": True, "schema": digest})
    if parameters:
        told["parameters"] = parameters
    if operation.body_type:
        told["requestBody"] = {"required": True, "content": {operation.body_type: {}}}
    if operation.proof is not Proof.NONE:
        told["security"] = [{operation.proof.value: []}]
    return told


def _answer(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.what}
    if answer.content_type:
        schema = {"schema": {"$ref": f"#/components/schemas/{answer.schema}"}} if answer.schema else {}
        told["content"] = {answer.content_type: schema}
    return told
