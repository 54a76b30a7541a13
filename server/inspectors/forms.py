"""Forms of the pages of inspectors' passes."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import IntegerField, SelectField, SelectMultipleField
from wtforms.validators import InputRequired, NumberRange


class PassForm(FlaskForm):  # type: ignore[misc]
    """Who inspects where, for how long."""

    inspector = SelectField("Inspector", [InputRequired("Please fill this in.")])
    venues = SelectMultipleField("Venues")
    kiosks = SelectMultipleField("Single kiosks")
    hours = IntegerField(
        "Hours", [InputRequired("Please fill this in."), NumberRange(1, 24, message="1 to 24 hours.")], default=8
    )
