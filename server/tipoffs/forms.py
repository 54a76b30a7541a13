"""The staff's form on a tip-off's page."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length


class ReplyForm(FlaskForm):  # type: ignore[misc]
    """A message to whoever holds the follow-up code."""

    text = TextAreaField("Message", [InputRequired("Please fill this in."), Length(max=1000, message="Too long.")])


class VenueForm(FlaskForm):  # type: ignore[misc]
    """Which venue it is about: its number."""

    venue = StringField("Venue", [InputRequired("Please fill this in."), Length(max=12)])
