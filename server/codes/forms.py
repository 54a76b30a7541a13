"""Forms of the venue-code pages."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from server.posters.drawing import FORM_NAMES


class PrintForm(FlaskForm):  # type: ignore[misc]
    """In which form the poster is printed."""

    form = SelectField("File", choices=[SelectChoice(form, name) for form, name in FORM_NAMES.items()])


class PostingForm(FlaskForm):  # type: ignore[misc]
    """Where the poster hangs."""

    note = StringField("Where it hangs", [Optional(), Length(max=200, message="Too long.")])


class RevokeForm(FlaskForm):  # type: ignore[misc]
    """Why a code ends, and the venue's name typed as a confirmation."""

    reason = StringField("Reason", [InputRequired("Please fill this in."), Length(max=400, message="Too long.")])
    venue_name = StringField("Type the venue's name to confirm", [InputRequired("Please fill this in.")])


class StepForm(FlaskForm):  # type: ignore[misc]
    """Why a code is suspended, let back, or hung anew."""

    reason = StringField("Reason", [Optional(), Length(max=400, message="Too long.")])
