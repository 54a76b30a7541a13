"""Forms of the application pages; every limit is told on the page before it is sent, too."""

from __future__ import annotations

from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from server.applications.details import APPLICANT_NAMES
from server.venues.forms import PHONE
from server.venues.models import CATEGORY_NAMES
from server.web.language import chinese

_NEEDED = InputRequired("Please fill this in.")
_SHORT = Length(max=80, message="Too long.")


class DetailsForm(FlaskForm):  # type: ignore[misc]
    """The basic data of an application (V-07) and the responsible person (V-30)."""

    applicant = SelectField(
        "Who applies",
        choices=[SelectChoice(kind.value, f"{chinese(name)} {name}") for kind, name in APPLICANT_NAMES.items()],
    )
    name_zh = StringField("Venue name (Chinese)", [_NEEDED, _SHORT])
    name_en = StringField("Venue name (English)", [Optional(), _SHORT])
    address = StringField("Address", [_NEEDED, Length(max=200, message="Too long.")])
    area_code = SelectField("Area")
    category = SelectField(
        "Kind of venue",
        choices=[SelectChoice(kind.value, f"{chinese(name)} {name}") for kind, name in CATEGORY_NAMES.items()],
    )
    contact_name = StringField("Contact person", [_NEEDED, _SHORT])
    contact_phone = StringField("Contact's phone", [_NEEDED, PHONE])
    keeper_name = StringField("Responsible person", [_NEEDED, _SHORT])
    keeper_phone = StringField("Their phone at work", [_NEEDED, PHONE])


class FileForm(FlaskForm):  # type: ignore[misc]
    """One file."""

    file = FileField("Choose a file")


class DoorForm(FlaskForm):  # type: ignore[misc]
    """One entrance; where it lies comes from a click on the plan or from the two numbers."""

    name_zh = StringField("Entrance name (Chinese)", [_NEEDED, _SHORT])
    name_en = StringField("Entrance name (English)", [Optional(), _SHORT])
    across = StringField("From the left, in percent", [Optional(), Length(max=6)])
    down = StringField("From the top, in percent", [Optional(), Length(max=6)])
