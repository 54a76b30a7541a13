"""Pages about other people's accounts: list, make, disable, give and end roles, reset, and who can see what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload
from wtforms.fields.choices import SelectChoice

from config.errors import GatehouseError
from server.accounts import links, sessions
from server.accounts.forms import GrantForm, NewUserForm, ReasonForm, TrainingForm
from server.accounts.gates import GateError, record_pass, standing_of
from server.accounts.granting import (
    GIVES,
    GrantError,
    Scope,
    end_grant,
    givable,
    grant,
    managed,
    may_manage,
    relevant_roles,
    scope_of,
    users_within,
)
from server.accounts.making import AccountError, make_account
from server.accounts.models import RoleAssignment, User
from server.accounts.rights import Person, person
from server.accounts.roles import GRANTED, ROLE_NAMES, Act, Permission, Right, Role
from server.accounts.second_factor import factors_of, remove_all
from server.accounts.words import PERMISSION_NAMES
from server.areas.models import Area
from server.audit import AuditEvent, Thing, audit
from server.context import house
from server.db import session
from server.venues.models import Venue
from server.web.access import needs_any
from server.web.language import chinese, tell
from server.web.pages import PAGE_ROWS, page_of

blueprint = Blueprint("users", __name__, url_prefix="/users")

LOOKS_AFTER = (Right(Permission.USERS, (Act.OWN,)),)  # FULL includes it
TRAINS = Right(Permission.TRAINING, (Act.FULL,))
PLACE_CHOICES = 400
MOST_REVIEWED = 1000
REVIEWED = "access.reviewed"

# What lets somebody see other people's data; the list of who can see what tells these first.
SENSITIVE = (
    Permission.PASSAGES,
    Permission.RESIDENTS,
    Permission.QUERY_APPROVE,
    Permission.RISK_ALERTS,
    Permission.KIOSK_LOGS,
    Permission.AUDIT,
    Permission.USERS,
    Permission.KIOSKS,
)


@dataclass(frozen=True, slots=True)
class Account:
    """One line of a list of accounts."""

    user: User
    roles: tuple[RoleAssignment, ...]


@blueprint.get("/")
@needs_any(*LOOKS_AFTER)
def index() -> ResponseReturnValue:
    """The accounts within reach, by user name; `q` searches names."""
    rows = _within(person())
    words = request.args.get("q", "").strip()[:64]
    if words:
        rows = rows.where(
            or_(User.name.icontains(words, autoescape=True), User.display_name.icontains(words, autoescape=True))
        )
    after = request.args.get("after", "")
    if after:
        rows = rows.where(User.name > after)
    found = session().scalars(rows.order_by(User.name).limit(PAGE_ROWS + 1)).all()
    page = page_of([_account(user, house().now()) for user in found], lambda line: line.user.name)
    return render_template("accounts/users.html", page=page, words=words, **_words())


@blueprint.get("/access")
@needs_any(*LOOKS_AFTER)
def access() -> ResponseReturnValue:
    """Who can see what: every account within reach that can see other people's data, to be reviewed regularly."""
    somebody, now = person(), house().now()
    found = session().scalars(_within(somebody).where(User.is_active).order_by(User.name).limit(MOST_REVIEWED)).all()
    lines = [
        (user, role, [p for p in SENSITIVE if GRANTED[role.kind].get(p)], standing_of(session(), user.id, now))
        for user in found
        for role in relevant_roles(session(), user.id, now)
        if role.ends_at is None or role.ends_at > now
    ]
    paths = managed(somebody).area_paths
    last = session().scalar(
        select(AuditEvent)
        .where(AuditEvent.action == REVIEWED, AuditEvent.area_path.in_(paths))
        .order_by(AuditEvent.sequence.desc())
        .limit(1)
    )
    return render_template(
        "accounts/access.html",
        lines=[line for line in lines if line[2]],
        is_cut=len(found) == MOST_REVIEWED,
        last=last,
        may_sign=bool(paths),
        permission_names=PERMISSION_NAMES,
        **_words(),
    )


@blueprint.post("/access")
@needs_any(*LOOKS_AFTER)
def review() -> ResponseReturnValue:
    """Note that somebody has gone through the list of who can see what."""
    paths = managed(person()).area_paths
    if not paths:
        abort(403)
    for path in paths:
        audit(session(), REVIEWED, Thing("area", path.rstrip("/").rsplit("/", 1)[-1], path))
    session().commit()
    tell("Your review was recorded.")
    return redirect(url_for("accounts.users.access"), 303)


@blueprint.get("/new")
@needs_any(*LOOKS_AFTER)
def new() -> ResponseReturnValue:
    """The form for a new account with its first role."""
    return render_template("accounts/new_user.html", form=_offer(NewUserForm()), problem=None)


@blueprint.post("/new")
@needs_any(*LOOKS_AFTER)
def create() -> ResponseReturnValue:
    """Make an account; its one-time link is in the answer itself and nowhere else."""
    form = _offer(NewUserForm())
    if not form.validate_on_submit():
        return render_template("accounts/new_user.html", form=form, problem=None), 422
    scope, now = _scope(form.place.data), house().now()
    try:
        user = make_account(
            session(),
            name=form.name.data.strip(),
            display_name=form.display_name.data.strip(),
            stored_password=links.NO_PASSWORD,
            at=now,
            area_path=scope.area_path,
        )
        starts_at, ends_at = _times(form, now)
        grant(session(), user, Role(form.role.data), scope, starts_at=starts_at, ends_at=ends_at, by=person())
    except (AccountError, GrantError) as error:
        session().rollback()
        return render_template("accounts/new_user.html", form=_offer(form), problem=error), 422
    token = links.make_link(session(), user, by=person().id, area_path=scope.area_path)
    session().commit()
    return _link_page(user, token)


@blueprint.get("/<user_id>")
@needs_any(*LOOKS_AFTER)
def show(user_id: str) -> ResponseReturnValue:
    """One account: roles, second factor, agreement and training, and what can be done."""
    return _user_page(_find(user_id))


@blueprint.post("/<user_id>/roles")
@needs_any(*LOOKS_AFTER)
def give_role(user_id: str) -> ResponseReturnValue:
    """Give a role, now or from a day on, with or without an end."""
    user = _find(user_id)
    form = _offer(GrantForm())
    if not form.validate_on_submit():
        return _user_page(user, form), 422
    starts_at, ends_at = _times(form, house().now())
    try:
        grant(
            session(),
            user,
            Role(form.role.data),
            _scope(form.place.data),
            starts_at=starts_at,
            ends_at=ends_at,
            by=person(),
        )
    except GrantError as error:
        session().rollback()
        return _user_page(_find(user_id), form, error), 422
    session().commit()
    tell("The role was given.")
    return redirect(url_for("accounts.users.show", user_id=user.id), 303)


@blueprint.post("/<user_id>/roles/<role_id>/end")
@needs_any(*LOOKS_AFTER)
def end_role(user_id: str, role_id: str) -> ResponseReturnValue:
    """End a role that is in the signed-in person's gift."""
    user = _find(user_id)
    row = next((row for row in relevant_roles(session(), user.id, house().now()) if row.id == role_id), None)
    place = scope_of(row).place if row is not None else None
    if row is None or place is None or user.id == person().id or row.kind not in givable(person(), place):
        abort(404)
    form = ReasonForm()
    if not form.validate_on_submit():
        tell("Say why, in at most 200 characters.", "error")
    else:
        end_grant(session(), row, form.reason.data.strip())
        session().commit()
        tell("The role has ended.")
    return redirect(url_for("accounts.users.show", user_id=user.id), 303)


@blueprint.post("/<user_id>/disable")
@needs_any(*LOOKS_AFTER)
def disable(user_id: str) -> ResponseReturnValue:
    """Disable an account: it is out at once, everywhere."""
    user, form = _find_managed(user_id), ReasonForm()
    if not form.validate_on_submit():
        tell("Say why, in at most 200 characters.", "error")
    else:
        user.is_active = False
        sessions.end_all(session(), user.id)
        _note("account.disabled", user, form.reason.data.strip())
        session().commit()
        tell("The account is disabled; its sessions have ended.")
    return redirect(url_for("accounts.users.show", user_id=user.id), 303)


@blueprint.post("/<user_id>/enable")
@needs_any(*LOOKS_AFTER)
def enable(user_id: str) -> ResponseReturnValue:
    """Let a disabled account sign in again."""
    user = _find_managed(user_id)
    user.is_active = True
    _note("account.enabled", user)
    session().commit()
    tell("The account can sign in again.")
    return redirect(url_for("accounts.users.show", user_id=user.id), 303)


@blueprint.post("/<user_id>/link")
@needs_any(*LOOKS_AFTER)
def make_link(user_id: str) -> ResponseReturnValue:
    """A one-time link with which the owner chooses a new password; shown in the answer and nowhere else."""
    user = _find_managed(user_id)
    if not user.is_active:
        abort(409)
    token = links.make_link(session(), user, by=person().id, area_path=_area_path(user))
    session().commit()
    return _link_page(user, token)


@blueprint.post("/<user_id>/second-factor/reset")
@needs_any(*LOOKS_AFTER)
def reset_second_factor(user_id: str) -> ResponseReturnValue:
    """Remove app, passkeys and recovery codes of somebody who has lost them; their sessions end."""
    user, form = _find_managed(user_id), ReasonForm()
    if not form.validate_on_submit():
        tell("Say why, in at most 200 characters.", "error")
    else:
        remove_all(session(), user.id)
        sessions.end_all(session(), user.id)
        _note("account.factor_reset", user, form.reason.data.strip())
        session().commit()
        tell("The second factor was removed. Where the role needs one, the next sign-in asks for a new one.")
    return redirect(url_for("accounts.users.show", user_id=user.id), 303)


@blueprint.post("/<user_id>/sessions/end")
@needs_any(*LOOKS_AFTER)
def end_sessions(user_id: str) -> ResponseReturnValue:
    """End every session of an account."""
    user = _find_managed(user_id)
    sessions.end_all(session(), user.id)
    _note("account.sessions_ended", user)
    session().commit()
    tell("Every session of this account has ended.")
    return redirect(url_for("accounts.users.show", user_id=user.id), 303)


@blueprint.post("/<user_id>/training")
@needs_any(*LOOKS_AFTER)
def record_training(user_id: str) -> ResponseReturnValue:
    """Record that somebody has passed the exam on personal data; nobody records their own."""
    user = _find_managed(user_id)
    if not _may_train(user):
        abort(404)
    form = TrainingForm()
    try:
        if not form.validate_on_submit():
            raise GateError("A score is a number from 0 to 100.")
        record_pass(session(), user.id, form.score.data, house().now(), recorded_by=person().id)
    except GateError as error:
        session().rollback()
        tell(error.message, "error")
        return redirect(url_for("accounts.users.show", user_id=user.id), 303)
    session().commit()
    tell("The training was recorded.")
    return redirect(url_for("accounts.users.show", user_id=user.id), 303)


def _find(user_id: str) -> User:
    """The account, if it lies within reach; else 404."""
    user = session().scalar(_within(person()).where(User.id == user_id))
    if user is None:
        abort(404)
    return user


def _find_managed(user_id: str) -> User:
    """The account, if the signed-in person may act on it as a whole; else 404."""
    user = _find(user_id)
    if not may_manage(session(), person(), user):
        abort(404)
    return user


def _within(somebody: Person) -> Select[User]:
    return (
        select(User)
        .where(users_within(managed(somebody), house().now()))
        .options(
            selectinload(User.assignments).joinedload(RoleAssignment.area),
            selectinload(User.assignments).joinedload(RoleAssignment.venue).joinedload(Venue.area),
        )
        .execution_options(populate_existing=True)
    )


def _account(user: User, now: datetime) -> Account:
    return Account(user, tuple(row for row in user.assignments if row.ends_at is None or row.ends_at > now))


def _may_train(user: User) -> bool:
    """Whether the signed-in person keeps the training file where *user* works."""
    places = [scope_of(row).place for row in relevant_roles(session(), user.id, house().now())]
    return user.id != person().id and any(
        place is not None and person().may_at(place, TRAINS.permission, *TRAINS.acts) for place in places
    )


def _area_path(user: User) -> str:
    rows = relevant_roles(session(), user.id, house().now())
    return scope_of(rows[0]).area_path if rows else ""


def _note(action: str, user: User, reason: str = "") -> None:
    audit(session(), action, Thing("user", user.id, _area_path(user)), reason)


def _offer(form: GrantForm) -> GrantForm:
    """Offer the roles that the signed-in person can give, and the places where."""
    somebody = person()
    roles = {role for one in somebody.grants for role in GIVES.get(one.role, ())}
    form.role.choices = [
        SelectChoice(role.value, f"{chinese(ROLE_NAMES[role])} {ROLE_NAMES[role]}") for role in Role if role in roles
    ]
    form.place.choices = [SelectChoice(value, text) for value, text in _places(session(), somebody)]
    return form


def _places(reading: Session, somebody: Person) -> Iterable[tuple[str, str]]:
    reach = managed(somebody)
    for area in reading.scalars(
        select(Area).where(reach.condition(Area.path)).order_by(Area.path).limit(PLACE_CHOICES)
    ):
        yield f"area:{area.code}", f"{area.name_zh} {area.name_en}".strip()
    venues = select(Venue).join(Venue.area).where(reach.condition(Area.path, Venue.id)).options(joinedload(Venue.area))
    for venue in reading.scalars(venues.order_by(Area.path, Venue.name_zh).limit(PLACE_CHOICES)):
        yield f"venue:{venue.id.hex()}", f"{chinese('Venue')} {venue.name_zh} {venue.name_en}".strip()


def _scope(choice: str) -> Scope:
    """The scope of one of the offered choices."""
    kind, _, value = choice.partition(":")
    if kind == "area":
        return Scope(area=session().get_one(Area, value))
    return Scope(venue=session().get_one(Venue, bytes.fromhex(value), options=[joinedload(Venue.area)]))


def _times(form: GrantForm, now: datetime) -> tuple[datetime, datetime | None]:
    zone = house().settings.zone
    starts_at = form.starts_at.data.replace(tzinfo=zone) if form.starts_at.data else now
    ends_at = form.ends_at.data.replace(tzinfo=zone) if form.ends_at.data else None
    return max(starts_at, now), ends_at


def _user_page(user: User, form: GrantForm | None = None, problem: GatehouseError | None = None) -> str:
    now, somebody = house().now(), person()
    rows = relevant_roles(session(), user.id, now)
    endable = {
        row.id
        for row in rows
        if (row.ends_at is None or row.ends_at > now)
        and user.id != somebody.id
        and (place := scope_of(row).place) is not None
        and row.kind in givable(somebody, place)
    }
    return render_template(
        "accounts/user.html",
        user=user,
        rows=rows,
        endable=endable,
        manages=may_manage(session(), somebody, user),
        is_self=user.id == somebody.id,
        trains=_may_train(user),
        factors=factors_of(session(), user.id),
        sessions=sessions.open_sessions(session(), user.id),
        standing=standing_of(session(), user.id, now),
        form=form or _offer(GrantForm(formdata=None)),
        training_form=TrainingForm(formdata=None),
        problem=problem,
        now=now,
        **_words(),
    )


def _link_page(user: User, token: str) -> str:
    address = house().settings.public_url + url_for("accounts.choose_password", token=token)
    life = timedelta(hours=house().settings.accounts.link_hours)
    return render_template("accounts/link.html", user=user, address=address, ends_at=house().now() + life)


def _words() -> dict[str, object]:
    return {"role_names": ROLE_NAMES, "place_of": _place_words, "helper": Role.VOLUNTEER}


def _place_words(row: RoleAssignment) -> str:
    thing = row.venue or row.area
    return f"{thing.name_zh} {thing.name_en}".strip() if thing is not None else chinese("Oneself")
