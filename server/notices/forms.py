"""The form of a public notice; its limits are those of the kiosk's screen."""

from __future__ import annotations

import re
from datetime import timedelta

from flask_wtf import FlaskForm
from wtforms import DateTimeLocalField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, ValidationError

from protocol.notice import ENGLISH, MAX_BODY, MAX_TITLE, NoticeLevel
from server.web.language import chinese

LONGEST = timedelta(days=366)
LEVEL_NAMES = {NoticeLevel.TIP: "Tip", NoticeLevel.IMPORTANT: "Important", NoticeLevel.URGENT: "Urgent"}
_NEEDED = InputRequired("Please fill this in.")
# P-48: numbers of ID cards and mobile phones, however they are parted. A contact's landline is welcome.
_PERSONAL = re.compile(r"(?<!\d)(\d{17}[\dXx]|\d{15}|1[3-9]\d{9})(?!\d)")


def _nobody(form: FlaskForm, field: StringField) -> None:
    if _PERSONAL.search(re.sub(r"(?<=\d)[\s.·-]+(?=[\dXx])", "", field.data or "")):
        raise ValidationError("A public notice names nobody: no ID numbers and no mobile numbers.")


def _text(label: str, most: int, *, area: bool = False) -> StringField:
    kind = TextAreaField if area else StringField
    return kind(label, [_NEEDED, Length(max=most, message="Too long for the screen."), _nobody])


class NoticeForm(FlaskForm):  # type: ignore[misc]
    """A notice in both languages."""

    where = SelectField("Where")
    level = SelectField(
        "Level", choices=[SelectChoice(level.value, f"{chinese(n)} {n}") for level, n in LEVEL_NAMES.items()]
    )
    title_zh = _text("Title (Chinese)", MAX_TITLE)
    title_en = _text("Title (English)", ENGLISH * MAX_TITLE)
    body_zh = _text("Text (Chinese)", MAX_BODY, area=True)
    body_en = _text("Text (English)", ENGLISH * MAX_BODY, area=True)
    source = StringField("Source (document or office)", [_NEEDED, Length(max=200, message="Too long.")])
    begins = DateTimeLocalField("From", [_NEEDED])
    ends = DateTimeLocalField("Until", [_NEEDED])

    def validate_ends(self, field: DateTimeLocalField) -> None:
        """The end lies after the beginning, within a year."""
        if self.begins.data and field.data and not self.begins.data < field.data <= self.begins.data + LONGEST:
            raise ValidationError("The end lies after the beginning, within a year.")
