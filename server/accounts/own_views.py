"""Pages about one's own account: sessions, second factor, passkeys, recovery codes, confidentiality agreement."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import delete

from server.accounts import sessions
from server.accounts.forms import CodeForm, PasskeyForm
from server.accounts.gates import AGREEMENT_VERSION, sign_agreement, standing_of
from server.accounts.models import SignInPasskey, TotpSecret, User
from server.accounts.passkeys import (
    MAX_PASSKEYS,
    PasskeyError,
    b64url,
    new_challenge,
    passkeys_of,
    register,
    relying_party,
)
from server.accounts.passwords import attempt, is_right, note_success, pair_key
from server.accounts.rights import person
from server.accounts.roles import ROLE_NAMES
from server.accounts.second_factor import (
    app_address,
    app_secret,
    begin_app,
    factors_of,
    make_recovery_codes,
    take_app_code,
)
from server.accounts.sessions import METHOD_NAMES
from server.audit import Thing, audit
from server.context import house
from server.db import session
from server.web.access import signed_in
from server.web.language import tell
from server.web.qr import Level, draw

blueprint = Blueprint("own", __name__, url_prefix="/account")


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    """The own account at a glance: who one is here, second factor, sessions, agreement and training."""
    somebody = person()
    return render_template(
        "accounts/account.html",
        roles=sorted({ROLE_NAMES[grant.role] for grant in somebody.grants}),
        factors=factors_of(session(), somebody.id),
        sessions=sessions.open_sessions(session(), somebody.id),
        methods=METHOD_NAMES,
        standing=standing_of(session(), somebody.id, house().now()),
    )


@blueprint.post("/sessions/<session_id>/end")
@signed_in
def end_session(session_id: str) -> ResponseReturnValue:
    """End one of one's own sessions."""
    if not sessions.end_one(session(), person().id, session_id):
        abort(404)
    audit(session(), "account.session_ended", Thing("user", person().id))
    session().commit()
    tell("That session has ended.")
    return redirect(url_for("accounts.own.index"), 303)


@blueprint.get("/second-factor")
@signed_in
def second_factor() -> ResponseReturnValue:
    """Authenticator app, passkeys and recovery codes; where one's role needs a second factor, the page comes first."""
    return _second_factor_page()


@blueprint.post("/second-factor/app")
@signed_in
def begin_app_secret() -> ResponseReturnValue:
    """Make a secret for an authenticator app; the page then shows it until a first code is right."""
    if (wrong := _not_confirmed()) is not None:
        return wrong
    row = session().get(TotpSecret, person().id)
    if row is not None and row.confirmed_at is not None:
        abort(409)
    begin_app(session(), person().id)
    session().commit()
    return redirect(url_for("accounts.own.second_factor", _anchor="app"), 303)


@blueprint.post("/second-factor/app/confirm")
@signed_in
def confirm_app() -> ResponseReturnValue:
    """The app's first right code puts it in force; recovery codes are shown with it, this once."""
    row, form, somebody = session().get(TotpSecret, person().id), CodeForm(), person()
    if row is None or row.confirmed_at is not None:
        abort(409)
    key = pair_key(f"app of {somebody.id}", somebody.name)
    if not form.validate_on_submit():
        return _second_factor_page(form), 422
    if attempt(session(), key, house().now()):
        session().commit()
        return _second_factor_page(form, "Too many attempts. Wait a little and try again."), 429
    if not take_app_code(session(), row, form.code.data, house().now()):
        session().commit()
        return _second_factor_page(form, "This code is not right. Is the clock of your phone right?"), 422
    note_success(session(), key)
    row.confirmed_at = house().now()
    audit(session(), "account.app_added", Thing("user", somebody.id))
    codes = make_recovery_codes(session(), somebody.id)
    session().commit()
    return render_template("accounts/recovery_codes.html", codes=codes)


@blueprint.post("/second-factor/app/remove")
@signed_in
def remove_app() -> ResponseReturnValue:
    """Take the authenticator app out of use."""
    if (wrong := _not_confirmed()) is not None:
        return wrong
    session().execute(delete(TotpSecret).where(TotpSecret.user_id == person().id))
    audit(session(), "account.app_removed", Thing("user", person().id))
    session().commit()
    tell("The authenticator app was removed.")
    return redirect(url_for("accounts.own.second_factor"), 303)


@blueprint.post("/second-factor/recovery-codes")
@signed_in
def new_codes() -> ResponseReturnValue:
    """New recovery codes, shown this once; the old ones are void."""
    if (wrong := _not_confirmed()) is not None:
        return wrong
    if not factors_of(session(), person().id).is_set_up:
        abort(409)
    codes = make_recovery_codes(session(), person().id)
    audit(session(), "account.codes_made", Thing("user", person().id))
    session().commit()
    return render_template("accounts/recovery_codes.html", codes=codes)


@blueprint.post("/second-factor/passkeys")
@signed_in
def add_passkey() -> ResponseReturnValue:
    """Keep the passkey that the browser has made."""
    form, somebody = PasskeyForm(), person()
    if (wrong := _not_confirmed()) is not None:
        return wrong
    if not form.validate_on_submit():
        tell("Give the passkey a name of at most 60 characters.", "error")
        return redirect(url_for("accounts.own.second_factor"), 303)
    is_first = not factors_of(session(), somebody.id).is_set_up
    try:
        register(session(), somebody.id, request.form.get("credential", ""), form.name.data.strip())
    except PasskeyError:
        session().rollback()
        tell("The passkey was not taken. Load the page again and try once more.", "error")
        return redirect(url_for("accounts.own.second_factor"), 303)
    audit(session(), "account.passkey_added", Thing("user", somebody.id))
    codes = make_recovery_codes(session(), somebody.id) if is_first else None
    session().commit()
    if codes is not None:
        return render_template("accounts/recovery_codes.html", codes=codes)
    tell("The passkey is kept. You can sign in with it from now on.")
    return redirect(url_for("accounts.own.second_factor"), 303)


@blueprint.post("/second-factor/passkeys/<passkey_id>/remove")
@signed_in
def remove_passkey(passkey_id: str) -> ResponseReturnValue:
    """Take one of one's own passkeys out of use."""
    if (wrong := _not_confirmed()) is not None:
        return wrong
    row = session().get(SignInPasskey, passkey_id)
    if row is None or row.user_id != person().id:
        abort(404)
    session().delete(row)
    audit(session(), "account.passkey_removed", Thing("user", person().id))
    session().commit()
    tell("The passkey was removed.")
    return redirect(url_for("accounts.own.second_factor"), 303)


@blueprint.get("/agreement")
@signed_in
def agreement() -> ResponseReturnValue:
    """The confidentiality agreement, with what still stands between this account and personal data."""
    return render_template(
        "accounts/agreement.html",
        standing=standing_of(session(), person().id, house().now()),
        version=AGREEMENT_VERSION,
        came_from=request.args.get("next", ""),
    )


@blueprint.post("/agreement")
@signed_in
def sign() -> ResponseReturnValue:
    """Sign the agreement in force."""
    if request.form.get("agreed") != "yes":
        tell("Tick the box to sign.", "error")
        return redirect(url_for("accounts.own.agreement"), 303)
    sign_agreement(session(), person().id, house().now())
    session().commit()
    tell("You have signed the confidentiality agreement.")
    return redirect(url_for("accounts.own.agreement"), 303)


def wrong_password(given: str | None) -> str | None:
    """Why *given* does not prove that the signed-in person is at the keyboard, as a message; None when it does.

    Guesses are slowed down for this account's open browsers alone, so that nobody can keep its owner from signing in.
    """
    somebody, now, database = person(), house().now(), house().database
    key = pair_key(f"signed in {somebody.id}", somebody.name)
    with database.writing() as writing:
        if attempt(writing, key, now):
            return "Too many attempts. Wait a little and try again."
        stored = writing.get_one(User, somebody.id).password
    if not is_right(stored, given or ""):
        return "This is not your present password."
    with database.writing() as writing:
        note_success(writing, key)
    return None


def _not_confirmed() -> ResponseReturnValue | None:
    """Ask for the present password before the second factor changes; not while it is set up for the first time.

    Call it before the request's session is used: it writes in transactions of its own.
    """
    with house().database.reading() as reading:
        if not factors_of(reading, person().id).is_set_up:
            return None
    if (problem := wrong_password(request.form.get("password"))) is not None:
        tell(problem, "error")
        return redirect(url_for("accounts.own.second_factor"), 303)
    return None


def _second_factor_page(form: CodeForm | None = None, problem: str | None = None) -> str:
    somebody = person()
    row = session().get(TotpSecret, somebody.id)
    is_pending = row is not None and row.confirmed_at is None
    return render_template(
        "accounts/second_factor.html",
        form=form or CodeForm(formdata=None),
        passkey_form=PasskeyForm(formdata=None),
        problem=problem,
        factors=factors_of(session(), somebody.id),
        app_drawing=draw(app_address(row, somebody.name), Level.M) if row is not None and is_pending else None,
        app_secret=app_secret(row) if row is not None and is_pending else None,
        passkeys=passkeys_of(session(), somebody.id),
        may_add=len(passkeys_of(session(), somebody.id)) < MAX_PASSKEYS,
        challenge=new_challenge(),
        relying_party=relying_party(house().settings),
        user_handle=b64url(somebody.id.encode()),
        exclude=[b64url(one.credential_id) for one in passkeys_of(session(), somebody.id)],
    )
