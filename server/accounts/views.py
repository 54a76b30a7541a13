"""Pages of signing in and out, of choosing a password, and the way in through a one-time link."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, current_app, g, make_response, redirect, render_template, request, url_for
from flask import session as cookie
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from server.accounts import own_views, registration_views, sessions, user_views
from server.accounts.devices import known_device, remember
from server.accounts.forms import ChosenPasswordForm, CodeForm, PasswordForm, SignInForm
from server.accounts.links import use_link, user_of_link
from server.accounts.models import AccountSession, TotpSecret, User
from server.accounts.passkeys import PasskeyError, b64url, new_challenge, passkeys_of, relying_party, verify
from server.accounts.passwords import (
    attempt,
    hash_password,
    is_right,
    needs_rehash,
    note_success,
    pair_key,
    weakness,
)
from server.accounts.rights import person, person_of
from server.accounts.roles import Role
from server.accounts.second_factor import factors_of, take_app_code, take_recovery_code
from server.accounts.sessions import Method
from server.audit import Thing, audit
from server.context import house
from server.db import session
from server.web.access import open_to_all, signed_in
from server.web.language import tell
from server.web.throttle import Throttle, source_of

blueprint = Blueprint("accounts", __name__)
blueprint.register_blueprint(own_views.blueprint)
blueprint.register_blueprint(user_views.blueprint)
blueprint.register_blueprint(registration_views.blueprint)

WAIT = "Too many attempts. Wait a little and try again."
WRONG = "User name or password is wrong."
MAX_WRONG_CODES = 5  # in one half-open session; then the password is asked for again

# One source that tries many names. Browsers that somebody has signed in with before are not counted here.
SPRAYING = Throttle("sign-in of many names", 60, timedelta(minutes=10))
# Wrong codes of one account from browsers that are new to it; only who knows the password gets here. Passkeys, and
# browsers that were there before, are not held up.
CODES = Throttle("second factor", 20, timedelta(hours=1))
LINKS = Throttle("password link", 20, timedelta(minutes=10))
PASSKEYS = Throttle("passkey", 30, timedelta(minutes=10))


@blueprint.get("/sign-in")
@open_to_all
def sign_in() -> ResponseReturnValue:
    """The sign-in page."""
    return _sign_in_page(SignInForm(data={"next": request.args.get("next", "")}))


@blueprint.post("/sign-in")
@open_to_all
def do_sign_in() -> ResponseReturnValue:
    """Sign in, or say that name or password is wrong - the same words and the same work for both.

    (1) the attempt is counted, (2) the password is looked at outside any transaction, because that takes a tenth of a
    second on purpose, (3) a session begins: a whole one, or one that waits for the second factor.
    """
    form = SignInForm()
    name = (form.name.data or "").strip().lower()
    if not form.validate_on_submit():
        return _sign_in_page(form), 422
    now, database, source = house().now(), house().database, source_of(request.remote_addr)
    with database.writing() as writing:  # (1)
        user = writing.scalar(select(User).where(User.name == name))
        stored = user.password if user is not None and user.is_active else None
        device = known_device(user.id if user is not None else None)
        key = pair_key(f"device {device}" if device else source, name)
        wait_s = 0 if device else SPRAYING.seconds_to_wait(writing, source, now)
        wait_s = wait_s or attempt(writing, key, now)
    if wait_s:
        return _sign_in_page(form, WAIT), 429, {"Retry-After": str(wait_s)}
    if not is_right(stored, form.password.data) or user is None:  # (2)
        if not device:
            SPRAYING.note(session(), source, now)
            session().commit()
        return _sign_in_page(form, WRONG), 401
    fresh = hash_password(form.password.data) if needs_rehash(user.password) else None
    note_success(session(), key)  # (3)
    if fresh is not None:
        session().get_one(User, user.id).password = fresh
    wish = _own_path(form.next.data)
    if factors_of(session(), user.id).is_set_up:
        sessions.begin(session(), user.id, Method.PASSWORD, is_complete=False)
        session().commit()
        cookie["next"] = wish
        return redirect(url_for("accounts.second"), 303)
    return _enter(user, Method.PASSWORD, wish)


@blueprint.get("/sign-in/second")
@open_to_all
def second() -> ResponseReturnValue:
    """The page that asks for the second factor; without a password just given it leads back to the sign-in."""
    if g.half is None:
        return redirect(url_for("accounts.sign_in"), 303)
    return _second_page(CodeForm(formdata=None))


@blueprint.post("/sign-in/second")
@open_to_all
def do_second() -> ResponseReturnValue:
    """Take a code of the app, or a recovery code; after a few wrong ones the password is asked for again."""
    if g.half is None:
        return redirect(url_for("accounts.sign_in"), 303)
    half, user = g.half
    now, form = house().now(), CodeForm()
    if not form.validate_on_submit():
        return _second_page(form), 422
    device = known_device(user.id)
    wait_s = 0 if device else CODES.seconds_to_wait(session(), user.id, now)
    if wait_s:
        return _second_page(form, WAIT), 429, {"Retry-After": str(wait_s)}
    row = session().get(TotpSecret, user.id)
    method = None
    if row is not None and row.confirmed_at is not None and take_app_code(session(), row, form.code.data, now):
        method = Method.TOTP
    elif take_recovery_code(session(), user.id, form.code.data, now):
        method = Method.RECOVERY
    if method is None:
        if not device:
            CODES.note(session(), user.id, now)
        waiting = session().get(AccountSession, half.id)
        if waiting is None or waiting.wrong_codes + 1 >= MAX_WRONG_CODES:
            sessions.end_current(session())
            cookie.clear()
            session().commit()
            return redirect(url_for("accounts.sign_in"), 303)
        waiting.wrong_codes += 1
        audit(session(), "account.wrong_code", Thing("user", user.id), actor=user.id)
        session().commit()
        return _second_page(form, "This code is not right, or it was used already."), 401
    if method is Method.RECOVERY:
        left = factors_of(session(), user.id).codes_left
        answer = _enter(user, method, cookie.get("next"))
        tell("You have used a recovery code; %(n)s are left. Make new ones before they run out.", "warning", n=left)
        return answer
    return _enter(user, method, cookie.get("next"))


@blueprint.post("/sign-in/passkey")
@open_to_all
def passkey() -> ResponseReturnValue:
    """Sign in with a passkey: it is both factors, because it asks its owner for a finger, face or PIN."""
    now, source = house().now(), source_of(request.remote_addr)
    half = g.half[1] if g.half is not None else None
    wish = cookie.get("next") if half is not None else _own_path(request.form.get("next"))
    wait_s = PASSKEYS.seconds_to_wait(session(), source, now)
    if wait_s:
        return _sign_in_page(SignInForm(formdata=None), WAIT), 429, {"Retry-After": str(wait_s)}
    try:
        user = verify(session(), request.form.get("credential", ""), now)
        if half is not None and user.id != half.id:
            raise PasskeyError("of another account than the password")
    except PasskeyError as error:
        session().rollback()
        current_app.logger.debug("passkey refused: %s", error)
        PASSKEYS.note(session(), source, now)
        session().commit()
        tell("The passkey was not taken. Try again, or use your password.", "error")
        return redirect(url_for("accounts.second" if half is not None else "accounts.sign_in"), 303)
    return _enter(user, Method.PASSKEY, wish)


@blueprint.post("/sign-out")
@signed_in
def sign_out() -> ResponseReturnValue:
    """Sign out of this browser."""
    sessions.end_current(session())
    audit(session(), "account.signed_out", Thing("user", person().id))
    session().commit()
    cookie.clear()
    return redirect(url_for("accounts.sign_in"), 303)


@blueprint.post("/sign-out-everywhere")
@signed_in
def sign_out_everywhere() -> ResponseReturnValue:
    """End every session of the own account."""
    sessions.end_all(session(), person().id)
    audit(session(), "account.signed_out_everywhere", Thing("user", person().id))
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
    if (wrong := own_views.wrong_password(form.old.data)) is not None:
        form.old.errors = [wrong]
    elif form.new.data != form.again.data:
        form.again.errors = ["The two new passwords differ."]
    elif form.new.data == form.old.data:
        form.new.errors = ["This is the old password."]
    elif (problem := weakness(form.new.data, person().name)) is not None:
        form.new.errors = [problem]
    else:
        fresh = hash_password(form.new.data)
        user = session().get_one(User, person().id)
        method = Method(session().get_one(AccountSession, person().session_id).method)
        user.password, user.must_change_password = fresh, False
        sessions.end_all(session(), user.id)
        sessions.begin(session(), user.id, method)
        audit(session(), "account.password_changed", Thing("user", user.id))
        somebody = person_of(session(), user)
        session().commit()
        tell("Your password was changed. Other sessions have ended.")
        return redirect(_first_page(somebody.grants), 303)
    return render_template("accounts/password.html", form=form), 422


@blueprint.get("/choose-password/<token>")
@open_to_all
def choose_password(token: str) -> ResponseReturnValue:
    """The page behind a one-time link; unknown, used and old links look alike."""
    user, wait_s = _link_owner(token)
    if wait_s:
        abort(429)
    if user is None:
        return render_template("accounts/link_ended.html"), 410
    return render_template("accounts/choose_password.html", form=ChosenPasswordForm(), user=user)


@blueprint.post("/choose-password/<token>")
@open_to_all
def take_password(token: str) -> ResponseReturnValue:
    """Set the chosen password; the link is used up, every session of the account ends, and one signs in as usual."""
    user, wait_s = _link_owner(token)
    if wait_s:
        abort(429)
    if user is None:
        with house().database.writing() as writing:
            LINKS.note(writing, source_of(request.remote_addr), house().now())
        return render_template("accounts/link_ended.html"), 410
    form = ChosenPasswordForm()
    if form.validate_on_submit():
        if form.new.data != form.again.data:
            form.again.errors = ["The two new passwords differ."]
        elif (problem := weakness(form.new.data, user.name)) is not None:
            form.new.errors = [problem]
        elif use_link(session(), token, form.new.data, house().now()):
            session().commit()
            cookie.clear()
            tell("Your password was changed. Now sign in with it.")
            return redirect(url_for("accounts.sign_in"), 303)
        else:
            return render_template("accounts/link_ended.html"), 410
    return render_template("accounts/choose_password.html", form=form, user=user), 422


def _link_owner(token: str) -> tuple[User | None, int]:
    now = house().now()
    with house().database.reading() as reading:
        return user_of_link(reading, token, now), LINKS.seconds_to_wait(reading, source_of(request.remote_addr), now)


def _enter(user: User, method: Method, wish: str | None) -> Response:
    """Begin the session of somebody who has proved enough, and lead them to where they were going."""
    sessions.begin(session(), user.id, method)
    audit(session(), "account.signed_in", Thing("user", user.id), method.value, actor=user.id)
    somebody = person_of(session(), user)
    session().commit()
    answer = make_response(redirect(wish or _first_page(somebody.grants), 303))
    remember(answer, user.id)
    return answer


def _sign_in_page(form: SignInForm, problem: str | None = None) -> str:
    return render_template(
        "accounts/sign_in.html",
        form=form,
        problem=problem,
        challenge=new_challenge(),
        relying_party=relying_party(house().settings),
        may_register=house().settings.accounts.registration,
        has_no_second_factor=not house().settings.accounts.second_factor_roles,
    )


def _second_page(form: CodeForm, problem: str | None = None) -> str:
    user = g.half[1]
    with house().database.reading() as reading:
        factors, passkeys = factors_of(reading, user.id), passkeys_of(reading, user.id)
    return render_template(
        "accounts/second.html",
        form=form,
        problem=problem,
        factors=factors,
        allow=[b64url(one.credential_id) for one in passkeys],
        challenge=new_challenge(),
        relying_party=relying_party(house().settings),
    )


def _first_page(grants: tuple[object, ...]) -> str:
    """Residents go to their code, who has no venue yet to their application; everybody else to the console."""
    roles = {getattr(grant, "role", None) for grant in grants}
    if roles and roles <= {Role.RESIDENT, Role.ASSISTED_PERSON}:
        return url_for("residents.own_code")
    if roles == {Role.APPLICANT}:
        return url_for("applications.index")
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
