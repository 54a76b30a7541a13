"""Forms of the query pages."""

from __future__ import annotations

import re
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateTimeLocalField,
    IntegerField,
    RadioField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional, ValidationError

from protocol.query import MAX_ROWS, MAX_WITHIN_MINUTES, Purpose, QueryKind
from server.queries.words import KIND_NAMES, PURPOSE_NAMES, REVEAL_NAMES
from server.vault.person import PersonKind
from server.web.language import chinese

FILL = "Please fill this in."
LONG = "Too long."
# An ID number or a mobile number written into free text would stand in logs for years.
_LOOKS_PERSONAL = re.compile(r"\d{11}")


def _nothing_personal(_form: Any, field: Any) -> None:
    if _LOOKS_PERSONAL.search(re.sub(r"[\s-]", "", field.data or "")):
        raise ValidationError("No ID or phone numbers here: this text is kept in logs. Use the person field.")


class QueryForm(FlaskForm):  # type: ignore[misc]
    """What somebody wants to see, and why."""

    purpose = SelectField(
        "Purpose", choices=[SelectChoice(p.value, f"{chinese(PURPOSE_NAMES[p])} {PURPOSE_NAMES[p]}") for p in Purpose]
    )
    case_reference = StringField(
        "Case reference", [InputRequired(FILL), Length(max=80, message=LONG), _nothing_personal]
    )
    legal_ground = TextAreaField(
        "Legal ground", [InputRequired(FILL), Length(max=400, message=LONG), _nothing_personal]
    )
    venues = SelectMultipleField("Venues", [InputRequired("Choose at least one venue.")], validate_choice=False)
    from_at = DateTimeLocalField("From", [InputRequired(FILL)])
    to_at = DateTimeLocalField("Until", [InputRequired(FILL)])
    kind = RadioField(
        "What is looked for",
        choices=[SelectChoice(kind.value, name) for kind, name in KIND_NAMES.items()],
        default=QueryKind.RECORDS.value,
    )
    within_minutes = IntegerField(
        "At most this many minutes apart", [Optional(), NumberRange(1, MAX_WITHIN_MINUTES, "1 to 120.")], default=15
    )
    person_kind = RadioField(
        "Only one person",
        choices=[
            SelectChoice("", "Everybody at these venues"),
            SelectChoice(PersonKind.ID_NUMBER.value, "By ID number"),
            SelectChoice(PersonKind.PHONE.value, "By phone number"),
        ],
        default="",
    )
    person = StringField("ID number or phone", [Optional(), Length(max=40, message=LONG)])
    as_printed = BooleanField("The document shows exactly this number")
    reveal = SelectMultipleField(
        "Show in full", choices=[SelectChoice(r.value, name) for r, name in REVEAL_NAMES.items()]
    )
    max_rows = IntegerField("At most this many records", [NumberRange(1, MAX_ROWS, "1 to 500.")], default=100)
    valid_hours = IntegerField("Valid for this many hours", [NumberRange(1, 24, "1 to 24.")], default=24)


class ReasonForm(FlaskForm):  # type: ignore[misc]
    """Why a query is refused or withdrawn."""

    reason = StringField("Reason", [InputRequired(FILL), Length(max=400, message=LONG), _nothing_personal])
