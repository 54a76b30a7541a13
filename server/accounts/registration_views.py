"""The open page on which whoever runs a venue makes their own account, to apply for its first code."""

from __future__ import annotations

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.accounts.forms import RegistrationForm
from server.accounts.passwords import hash_password, weakness
from server.accounts.registering import NOTICE, REGISTRATIONS, Operator, notice_version, register
from server.areas.models import Area, Level
from server.context import house
from server.web.access import open_to_all
from server.web.throttle import source_of

blueprint = Blueprint("registration", __name__)

STREETS_OFFERED = 2000  # in a larger tree one chooses the district


@blueprint.get("/register")
@open_to_all
def form() -> ResponseReturnValue:
    """The form, under the notice of what becomes of what is typed."""
    _if_open()
    return _page(_with_areas(RegistrationForm(formdata=None)))


@blueprint.post("/register")
@open_to_all
def send() -> ResponseReturnValue:
    """Make the account; the answer shows its user name.

    (1) the form holds, (2) this source has not made too many, and it counts before the costly part, (3) the password is
    hashed outside any transaction, (4) the account is made. No step looks up anything that was typed.
    """
    _if_open()
    form, now = _with_areas(RegistrationForm()), house().now()
    if not form.validate_on_submit():  # (1)
        return _page(form), 422
    if form.password.data != form.again.data:
        form.again.errors = ["The two new passwords differ."]
        return _page(form), 422
    if (problem := weakness(form.password.data, "")) is not None:
        form.password.errors = [problem]
        return _page(form), 422
    source = source_of(request.remote_addr)
    with house().database.writing() as writing:  # (2)
        wait_s = REGISTRATIONS.seconds_to_wait(writing, source, now)
        if not wait_s:
            REGISTRATIONS.note(writing, source, now)
    if wait_s:
        words = "Too many accounts were made from your connection just now. Try again later, or ask the street office."
        return _page(form, words), 429, {"Retry-After": str(wait_s)}
    stored = hash_password(form.password.data)  # (3)
    said = Operator(form.name.data, form.phone.data, form.unit.data)
    with house().database.writing() as writing:  # (4)
        user = register(writing, said, writing.get_one(Area, form.area.data), stored, now)
    return render_template("accounts/registered.html", name=user.name)


def _if_open() -> None:
    if not house().settings.accounts.registration:
        abort(404)


def _with_areas(form: RegistrationForm) -> RegistrationForm:
    """Offer the streets of each district; the districts themselves where there are none, or too many."""
    with house().database.reading() as reading:  # not `session()`: a POST writes further down, in its own time
        form.area.choices = {"": [("", "—")], **_offered(reading)}
    return form


def _offered(reading: Session) -> dict[str, list[tuple[str, str]]]:
    streets = reading.scalar(select(func.count()).select_from(Area).where(Area.level == Level.STREET.value)) or 0
    levels = [Level.DISTRICT.value, *([Level.STREET.value] if streets <= STREETS_OFFERED else [])]
    rows = reading.execute(
        select(Area.code, Area.name_zh, Area.name_en, Area.path, Area.level)
        .where(Area.level.in_(levels))
        .order_by(Area.path)
    )
    groups: dict[str, list[tuple[str, str]]] = {}
    group = ""
    for code, zh, en, _path, level in rows:
        label = f"{zh} {en}".strip()
        if level == Level.DISTRICT.value:
            group = label
            groups.setdefault(group, [(code, label)])
        else:
            groups.setdefault(group or label, []).append((code, label))
    return groups


def _page(form: RegistrationForm, problem: str = "") -> str:
    return render_template(
        "accounts/register.html",
        form=form,
        problem=problem,
        notice=NOTICE,
        version=notice_version(),
        days=house().settings.accounts.registration_days,
    )
