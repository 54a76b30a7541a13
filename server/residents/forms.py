"""Forms of the register of residents."""

from __future__ import annotations

from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from wtforms import HiddenField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from server.residents.registering import STATEMENTS
from server.residents.words import CAUSE_NAMES, COLOUR_NAMES
from server.web.language import chinese

_NEEDED = InputRequired("Please fill this in.")
_SHORT = Length(max=60, message="Too long.")


class FindResidentForm(FlaskForm):  # type: ignore[misc]
    """Whom one looks for."""

    words = StringField("Name, ID number or phone", [_NEEDED, Length(max=40, message="Too long.")])


class ResidentForm(FlaskForm):  # type: ignore[misc]
    """A new resident."""

    name = StringField("Full name", [_NEEDED, _SHORT])
    id_number = StringField("ID number", [_NEEDED, _SHORT])
    phone = StringField("Mobile phone", [Optional(), _SHORT])
    area_code = SelectField("Community or grid")


class ChangeForm(FlaskForm):  # type: ignore[misc]
    """Where a resident lives now, and under which number."""

    area_code = SelectField("Community or grid")
    phone = StringField("Mobile phone", [Optional(), _SHORT])


class StatementForm(FlaskForm):  # type: ignore[misc]
    """A fact that is recorded."""

    cause = SelectField(
        "What is known",
        choices=[
            SelectChoice(
                cause,
                f"{chinese(CAUSE_NAMES[cause])} {CAUSE_NAMES[cause]}"
                f" → {chinese(COLOUR_NAMES[fact.colour])} {COLOUR_NAMES[fact.colour]}, {fact.lasts.days} 天 d",
            )
            for cause, fact in STATEMENTS.items()
        ],
    )


class WithdrawForm(FlaskForm):  # type: ignore[misc]
    """Why a registration ends."""

    reason = StringField("Reason", [_NEEDED, Length(max=400, message="Too long.")])


class ImportForm(FlaskForm):  # type: ignore[misc]
    """The table that is to be looked at first."""

    table = FileField("Table (CSV)", [FileRequired("Choose a file.")])


class ImportNowForm(FlaskForm):  # type: ignore[misc]
    """The table that was looked at, as it was looked at."""

    text = HiddenField("Table", [_NEEDED])
