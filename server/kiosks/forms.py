"""Forms of the kiosk pages."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.validators import InputRequired, Length


class EnrolForm(FlaskForm):  # type: ignore[misc]
    """The new kiosk's name and entrance."""

    kiosk_name = StringField("Kiosk name", [InputRequired("Please fill this in."), Length(max=80, message="Too long.")])
    entrance = SelectField("Entrance", coerce=int)


class DecisionForm(FlaskForm):  # type: ignore[misc]
    """Why a kiosk is suspended, resumed, retired or reported lost; the last two want its name typed."""

    reason = StringField("Reason", [InputRequired("Please fill this in."), Length(max=400, message="Too long.")])
    kiosk_name = StringField("Type the kiosk's name to confirm")
