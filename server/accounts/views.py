"""Pages of signing in, signing out and changing one's password."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask import session as cookie
from flask.typing import ResponseReturnValue
from flask_login import login_user, logout_user
from sqlalchemy import select
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from server.accounts.forms import PasswordForm, SignInForm
from server.accounts.models import User
from server.accounts.passwords import (
    hash_password,
    is_right,
    note_failure,
    note_success,
    pair_key,
    seconds_to_wait,
    weakness,
)
from server.accounts.rights import person, person_of
from server.accounts.roles import Role
from server.audit import Thing, audit
from server.context import house
from server.db import session
from server.web.access import open_to_all, signed_in
from server.web.language import tell

blueprint = Blueprint("accounts", __name__)

WAIT = "Too many attempts. Wait a little and try again."


@blueprint.get("/sign-in")
@open_to_all
def sign_in() -> ResponseReturnValue:
    """The sign-in page."""
    form = SignInForm(data={"next": request.args.get("next", "")})
    return render_template("accounts/sign_in.html", form=form, problem=None)


@blueprint.post("/sign-in")
@open_to_all
def do_sign_in() -> ResponseReturnValue:
    """Sign in, or say that name or password is wrong - the same words and the same time for both."""
    form = SignInForm()
    name = (form.name.data or "").strip().lower()
    if not form.validate_on_submit():
        return render_template("accounts/sign_in.html", form=form, problem=None), 422
    now, database = house().now(), house().database
    secret = current_app.config["SECRET_KEY"]
    key = pair_key(secret if isinstance(secret, bytes) else secret.encode(), request.remote_addr or "", name)
    with database.reading() as reading:
        wait_s = seconds_to_wait(reading, key, now)
        user = reading.scalar(select(User).where(User.name == name))
        stored = user.password if user is not None and user.is_active else None
    if wait_s:
        page = render_template("accounts/sign_in.html", form=form, problem=WAIT)
        return page, 429, {"Retry-After": str(wait_s)}
    right = is_right(stored, form.password.data)  # outside any transaction: it takes a tenth of a second on purpose
    if not right or user is None:
        note_failure(session(), key, now)
        session().commit()
        page = render_template("accounts/sign_in.html", form=form, problem="User name or password is wrong.")
        return page, 401
    note_success(session(), key)
    audit(session(), "account.signed_in", Thing("user", user.id), actor=user.id)
    somebody = person_of(session(), user)
    session().commit()
    cookie.clear()  # nothing from before the sign-in lives on in this session
    cookie.permanent = True
    login_user(somebody)
    return redirect(_own_path(form.next.data) or _first_page(somebody.grants), 303)


@blueprint.post("/sign-out")
@signed_in
def sign_out() -> ResponseReturnValue:
    """Sign out of this browser."""
    audit(session(), "account.signed_out", Thing("user", person().id))
    session().commit()
    logout_user()
    cookie.clear()
    return redirect(url_for("accounts.sign_in"), 303)


@blueprint.post("/sign-out-everywhere")
@signed_in
def sign_out_everywhere() -> ResponseReturnValue:
    """End every session of the own account."""
    user = session().get_one(User, person().id)
    user.session_epoch += 1
    audit(session(), "account.signed_out_everywhere", Thing("user", user.id))
    session().commit()
    cookie.clear()
    return redirect(url_for("accounts.sign_in"), 303)


@blueprint.get("/password")
@signed_in
def password() -> ResponseReturnValue:
    """The page that changes the own password."""
    return render_template("accounts/password.html", form=PasswordForm())


@blueprint.post("/password")
@signed_in
def change_password() -> ResponseReturnValue:
    """Change the own password; ends every other session."""
    form = PasswordForm()
    if not form.validate_on_submit():
        return render_template("accounts/password.html", form=form), 422
    with house().database.reading() as reading:
        stored = reading.get_one(User, person().id).password
    if not is_right(stored, form.old.data):
        form.old.errors = ["This is not your present password."]
    elif form.new.data != form.again.data:
        form.again.errors = ["The two new passwords differ."]
    elif form.new.data == form.old.data:
        form.new.errors = ["This is the old password."]
    elif (problem := weakness(form.new.data, person().name)) is not None:
        form.new.errors = [problem]
    else:
        fresh = hash_password(form.new.data)
        user = session().get_one(User, person().id)
        user.password, user.must_change_password = fresh, False
        user.session_epoch += 1
        audit(session(), "account.password_changed", Thing("user", user.id))
        somebody = person_of(session(), user)
        session().commit()
        cookie.clear()
        cookie.permanent = True
        login_user(somebody)
        tell("Your password was changed. Other sessions have ended.")
        return redirect(_first_page(somebody.grants), 303)
    return render_template("accounts/password.html", form=form), 422


def _first_page(grants: tuple[object, ...]) -> str:
    """Residents go to their code; everybody else to the console."""
    if {getattr(grant, "role", None) for grant in grants} <= {Role.RESIDENT, Role.ASSISTED_PERSON} and grants:
        return url_for("residents.own_code")
    return url_for("console.home")


def _own_path(wish: str | None) -> str | None:
    """*wish*, if it is the path of one of our own GET pages; else None (never a way to another site)."""
    if not wish or not wish.startswith("/") or wish[1:2] in {"/", "\\"} or any(c < "!" or c == "\\" for c in wish):
        return None
    parts = urlsplit(wish)
    if parts.scheme or parts.netloc:
        return None
    try:
        current_app.url_map.bind("").match(parts.path, "GET")
    except (HTTPException, RequestRedirect):
        return None
    return wish
