"""Forms of the account pages."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length

from server.accounts.passwords import MAX_CHARACTERS


class SignInForm(FlaskForm):  # type: ignore[misc]
    """Name and password."""

    name = StringField("User name", [InputRequired("Please fill this in."), Length(max=64, message="Too long.")])
    password = PasswordField(
        "Password", [InputRequired("Please fill this in."), Length(max=MAX_CHARACTERS, message="Too long.")]
    )
    next = HiddenField()


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password, with the old one."""

    old = PasswordField("Present password", [InputRequired("Please fill this in.")])
    new = PasswordField("New password", [InputRequired("Please fill this in.")])
    again = PasswordField("New password once more", [InputRequired("Please fill this in.")])
