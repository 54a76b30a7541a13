"""Forms of the venue pages."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional, Regexp

from server.venues.models import CATEGORY_NAMES
from server.web.language import chinese

_NEEDED = InputRequired("Please fill this in.")
PHONE = Regexp(r"^[0-9+() -]{3,32}$", message="A phone number has digits, spaces, + and - only.")


class VenueForm(FlaskForm):  # type: ignore[misc]
    """A venue's basic data (V-07) and its responsible person (V-30)."""

    name_zh = StringField("Venue name (Chinese)", [_NEEDED, Length(max=80, message="Too long.")])
    name_en = StringField("Venue name (English)", [Optional(), Length(max=80, message="Too long.")])
    address = StringField("Address", [_NEEDED, Length(max=200, message="Too long.")])
    area_code = SelectField("Area")
    category = SelectField(
        "Kind of venue",
        choices=[SelectChoice(kind.value, f"{chinese(name)} {name}") for kind, name in CATEGORY_NAMES.items()],
    )
    keeper_name = StringField("Responsible person", [Optional(), Length(max=80, message="Too long.")])
    keeper_phone = StringField(
        "Their phone at work",
        [Optional(), PHONE],
    )


class EntranceForm(FlaskForm):  # type: ignore[misc]
    """One more entrance."""

    name_zh = StringField("Entrance name (Chinese)", [_NEEDED, Length(max=80, message="Too long.")])
    name_en = StringField("Entrance name (English)", [Optional(), Length(max=80, message="Too long.")])


class CloseForm(FlaskForm):  # type: ignore[misc]
    """Why an entrance is closed."""

    reason = StringField("Reason", [_NEEDED, Length(max=200, message="Too long.")])
