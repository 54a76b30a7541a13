"""The description of what machines call is that of the routes, and whatever comes, no answer is a fault of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from protocol.exchange import CONTENT_TYPE
from server.web.access import Gate, access_of
from server.web.openapi import OPERATIONS, SCHEMAS, SECURITY, Proof, description
from tests.server.vaults import TestVault

# Open to everybody, and made for programs; the other open routes are pages.
FOR_PROGRAMS = {"/healthz", "/readyz", "/checkin/key.json", "/openapi.json"}
QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer(CONTENT_TYPE)
def _as_it_is(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()


def test_the_table_has_every_route_that_machines_call_and_no_other(app: Flask) -> None:
    routes = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if access_of(app, rule.endpoint).gate is Gate.MACHINE or rule.rule in FOR_PROGRAMS
    }
    assert {(operation.path, operation.method) for operation in OPERATIONS} == routes


def test_what_wants_no_proof_is_open_and_what_wants_one_is_not(app: Flask) -> None:
    rules = {rule.rule: rule.endpoint for rule in app.url_map.iter_rules()}
    for operation in OPERATIONS:
        gate = access_of(app, rules[operation.path]).gate
        assert (operation.proof is Proof.NONE) == (gate is Gate.OPEN), operation.path
        assert operation.proof is Proof.NONE or operation.proof in SECURITY


def test_the_description_is_served_to_everybody_and_holds_together(app: Flask) -> None:
    answer = app.test_client().get("/openapi.json", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert answer.status_code == 200 and answer.mimetype == "application/json"
    assert answer.json == description(app.extensions["gatehouse"].settings)
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))
    used = {answer.schema for operation in OPERATIONS for answer in operation.answers} - {""}
    assert used == set(SCHEMAS)
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_plain_answers_have_the_shape_that_is_told(app: Flask, vault: TestVault) -> None:
    client = app.test_client()
    for path, schema in (("/healthz", "Alive"), ("/readyz", "Ready"), ("/checkin/key.json", "CheckinKey")):
        answer = client.get(path)
        assert answer.status_code == 200, path
        Draft202012Validator(SCHEMAS[schema]).validate(answer.json)


@pytest.mark.stores("sqlite")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_whatever_comes_no_answer_is_a_fault(app: Flask, operation: Any) -> None:
    """Cases that fit the description, made by schemathesis; odd paths, headers and bytes are added by the next test."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    told = {answer.status for answer in operation.answers}
    path = operation.path.replace("<", "{").replace(">", "}")

    @QUICK
    @given(case=schema[path][operation.method.upper()].as_strategy())
    def asks(case: Any) -> None:
        answer = case.call()
        assert answer.status_code < 500 or answer.status_code in told, answer.content
        assert answer.status_code in told | {404, 405, 429}, (answer.status_code, answer.content)

    asks()


@pytest.mark.stores("sqlite")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_bytes_that_fit_nothing_are_refused_and_not_stumbled_over(app: Flask, operation: Any) -> None:
    told = {answer.status for answer in operation.answers if answer.status >= 500}
    text = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40)

    @QUICK
    @given(
        digest=st.text(max_size=70),
        body=st.binary(max_size=300) | st.binary(min_size=32, max_size=64).map(lambda tail: b"\xd2\x84" + tail),
        authorization=text,
        content_type=st.sampled_from([operation.body_type, "", "text/plain", "application/cbor", "a/b;c=\xe9"]),
        method=st.sampled_from([operation.method.upper(), "POST", "GET", "PUT", "DELETE", "HEAD"]),
        query=st.text(max_size=20),
    )
    def asks(digest: str, body: bytes, authorization: str, content_type: str, method: str, query: str) -> None:
        answer = app.test_client().open(
            operation.path.replace("<digest>", quote(digest, safe="/")),
            method=method,
            data=body,
            content_type=content_type,
            headers={"Authorization": authorization, "If-None-Match": authorization},
            query_string={"q": query},
        )
        assert answer.status_code < 500 or answer.status_code in told, answer.data

    asks()
