"""Forms of the account pages."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import BooleanField, DateTimeLocalField, HiddenField, IntegerField, PasswordField, SelectField, StringField
from wtforms.validators import DataRequired, InputRequired, Length, NumberRange, Optional

from server.accounts.passwords import MAX_CHARACTERS
from server.venues.forms import PHONE

_FILL = InputRequired("Please fill this in.")
_SAY = DataRequired("Please fill this in.")  # after the filters: spaces alone are nothing
_ROOM = Length(max=MAX_CHARACTERS, message="Too long.")


class SignInForm(FlaskForm):  # type: ignore[misc]
    """Name and password."""

    name = StringField("User name", [_FILL, Length(max=64, message="Too long.")])
    password = PasswordField("Password", [_FILL, _ROOM])
    next = HiddenField()


class CodeForm(FlaskForm):  # type: ignore[misc]
    """A code of the authenticator app, or a recovery code."""

    code = StringField("Code", [_FILL, Length(max=40, message="Too long.")])


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password, with the old one."""

    old = PasswordField("Present password", [_FILL, _ROOM])
    new = PasswordField("New password", [_FILL])
    again = PasswordField("New password once more", [_FILL])


class ChosenPasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password for somebody who came with a one-time link."""

    new = PasswordField("New password", [_FILL])
    again = PasswordField("New password once more", [_FILL])


def _one_line(text: str | None) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text or "").split())


class RegistrationForm(FlaskForm):  # type: ignore[misc]
    """Whoever runs a venue and has no account yet."""

    name = StringField("Your name", [_SAY, Length(max=40, message="Too long.")], filters=[_one_line])
    phone = StringField("Phone", [_SAY, PHONE], filters=[_one_line])
    unit = StringField("Unit or venue", [_SAY, Length(max=80, message="Too long.")], filters=[_one_line])
    area = SelectField("Street or district of the venue", [_FILL])
    password = PasswordField("Password", [_FILL, _ROOM])
    again = PasswordField("Password once more", [_FILL])
    agree = BooleanField("I have read this and agree", [InputRequired("Without your consent no account can be made.")])


class PasskeyForm(FlaskForm):  # type: ignore[misc]
    """What a new passkey is called."""

    name = StringField("Name of this passkey", [_FILL, Length(max=60, message="Too long.")])


class GrantForm(FlaskForm):  # type: ignore[misc]
    """A role, where it counts, and from when to when."""

    role = SelectField("Role", [_FILL])
    place = SelectField("Area or venue", [_FILL])
    starts_at = DateTimeLocalField("From", [Optional()], format="%Y-%m-%dT%H:%M")
    ends_at = DateTimeLocalField("Until", [Optional()], format="%Y-%m-%dT%H:%M")


class NewUserForm(GrantForm):
    """A new account with its first role."""

    name = StringField("User name", [_FILL, Length(min=2, max=64, message="2 to 64 characters.")])
    display_name = StringField("Name shown to others", [_FILL, Length(max=80, message="Too long.")])


class ReasonForm(FlaskForm):  # type: ignore[misc]
    """Why something is done to an account."""

    reason = StringField("Reason", [_FILL, Length(max=200, message="Too long.")])


class TrainingForm(FlaskForm):  # type: ignore[misc]
    """The score of an exam on personal data."""

    score = IntegerField("Score, of 100", [_FILL, NumberRange(0, 100, "0 to 100.")])
