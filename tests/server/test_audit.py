"""The audit trail cannot be changed unnoticed, and stands exactly when the change it tells of stands."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from server.audit import AuditEvent, Thing, audit, first_break, head
from server.context import House
from tests.server.stores import without_triggers


@pytest.fixture
def trail(app: Flask, house: House) -> House:
    with app.app_context(), house.database.writing() as writing:
        for n in range(5):
            audit(writing, "code.issued", Thing("venue_code", f"{n:08x}"), "开业 opening")
    return house


def test_an_untouched_trail_holds(trail: House) -> None:
    with trail.database.reading() as reading:
        assert first_break(reading) is None
        assert head(reading)[0] == 5


@pytest.mark.parametrize("statement", ["UPDATE audit_event SET reason = ''", "DELETE FROM audit_event"])
def test_the_database_refuses_to_change_the_trail(trail: House, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), trail.database.writing() as writing:
        writing.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE audit_event SET reason = 'other' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET actor = 'other' WHERE sequence = 1", 1),
        ("DELETE FROM audit_event WHERE sequence = 2", 2),
        ("UPDATE audit_event SET hash = previous_hash WHERE sequence = 5", 5),
    ],
)
def test_whoever_gets_past_the_triggers_is_seen(trail: House, statement: str, broken_at: int) -> None:
    with trail.database.writing() as writing:
        without_triggers(writing, "audit_event")
        writing.execute(text(statement))
    with trail.database.reading() as reading:
        assert first_break(reading) == broken_at


def test_a_change_that_fails_leaves_no_line(trail: House, app: Flask) -> None:
    with app.app_context(), pytest.raises(RuntimeError), trail.database.writing() as writing:
        audit(writing, "code.revoked", Thing("venue_code", "00000000"))
        raise RuntimeError
    with trail.database.reading() as reading:
        assert reading.query(AuditEvent).count() == 5
