"""Forms of the pages of paper codes and badges."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import InputRequired, Length

MAX_WORDS = 40


class FindForm(FlaskForm):  # type: ignore[misc]
    """Whom a paper code is for."""

    words = StringField(
        "Name, ID number or phone", [InputRequired("Please fill this in."), Length(max=MAX_WORDS, message="Too long.")]
    )


class EndForm(FlaskForm):  # type: ignore[misc]
    """Why a paper code or badge ends."""

    reason = StringField("Reason", [InputRequired("Please fill this in."), Length(max=400, message="Too long.")])
