"""Pages of profiles by kind of venue and mode, of emergencies, and of a venue's capacity and hours."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from wtforms.fields.choices import SelectChoice

from protocol.profile import Mode, Profile, pick, profiles_to_bytes
from server.accounts.models import User
from server.accounts.rights import Place, person, require
from server.accounts.roles import Act, Permission, Right
from server.areas.models import Area
from server.audit import Thing, audit
from server.bundles.parts import entry_policy
from server.context import house
from server.db import session
from server.policies.forms import KINDS, EmergencyForm, EndForm, ProfileForm, TermsForm, span_text
from server.policies.holding import emergencies, hours_of, hours_to_text, over, profiles
from server.policies.models import Emergency, PolicyProfile, VenueTerms
from server.venues.models import CATEGORY_NAMES, Category, Venue
from server.venues.views import find_venue
from server.web.access import needs, needs_any
from server.web.language import tell

blueprint = Blueprint("policies", __name__)

ALL = "all"  # in addresses, for the profile of kinds without one of their own
MODE_NAMES = {Mode.NORMAL: "Normal", Mode.EMERGENCY: "Emergency"}
# A venue's terms are its operator's and keeper's to set, and the street's that issues its codes.
RUNS = (Right(Permission.USERS, (Act.OWN,)), Right(Permission.CODES, (Act.APPROVE,)))
MAX_PLACES = 1000
SHOWN_ENDED = 50


@blueprint.get("/profiles")
@needs(Permission.RULES, Act.READ)
def index() -> ResponseReturnValue:
    """Every profile: which kinds of venues have one of their own, and what holds there."""
    held = profiles(session(), entry_policy(house()))
    kinds = {"": "All others", **{kind.value: name for kind, name in CATEGORY_NAMES.items()}}
    policy = entry_policy(house())
    rows = [
        (kind or ALL, name, mode, pick(held.values(), kind, mode, policy))
        for kind, name in kinds.items()
        for mode in Mode
        if not kind or (kind, mode) in held
    ]
    followers = [
        (kind, name, [mode for mode in Mode if (kind, mode) not in held])
        for kind, name in kinds.items()
        if kind and any((kind, mode) not in held for mode in Mode)
    ]
    changed = {(row.category or ALL, row.mode) for row in session().scalars(select(PolicyProfile))}
    return render_template(
        "policies/index.html",
        rows=rows,
        followers=followers,
        changed=changed,
        mode_names=MODE_NAMES,
        code_names=KINDS,
        may_change=person().holds(Permission.RULES, Act.FULL),
    )


@blueprint.get("/profiles/<kind>/<mode>")
@needs(Permission.RULES, Act.FULL)
def edit(kind: str, mode: str) -> ResponseReturnValue:
    """The form of one profile, filled in with what holds there now."""
    before = _in_force(kind, mode)
    return _shown(kind, before, ProfileForm.showing(before))


@blueprint.post("/profiles/<kind>/<mode>")
@needs(Permission.RULES, Act.FULL)
def change(kind: str, mode: str) -> ResponseReturnValue:
    """Put a profile in force; the kiosks get it with their next bundle."""
    before = _in_force(kind, mode)
    form = ProfileForm()
    if not form.validate_on_submit():
        return _shown(kind, before, form), 422
    category = "" if kind == ALL else kind
    profile = form.profile(category, Mode(mode), before)
    row = session().get(PolicyProfile, (category, mode)) or PolicyProfile(category=category, mode=mode)
    row.data, row.changed_at, row.changed_by = profiles_to_bytes([profile]), house().now(), person().id
    session().add(row)
    audit(session(), "policy.changed", Thing("policy", f"{kind}/{mode}"), _difference(before, profile))
    session().commit()
    tell("The profile is in force. The kiosks get it within minutes.")
    return redirect(url_for("policies.index"), 303)


@blueprint.post("/profiles/<kind>/<mode>/clearing")
@needs(Permission.RULES, Act.FULL)
def clear(kind: str, mode: str) -> ResponseReturnValue:
    """Take a changed profile back: the one for all kinds, or the built-in one, holds again."""
    _in_force(kind, mode)
    row = session().get(PolicyProfile, ("" if kind == ALL else kind, mode))
    if row is None:
        abort(404)
    session().delete(row)
    audit(session(), "policy.cleared", Thing("policy", f"{kind}/{mode}"))
    session().commit()
    tell("The profile was taken back.")
    return redirect(url_for("policies.index"), 303)


def _in_force(kind: str, mode: str) -> Profile:
    """What holds for this kind and mode; 404 for others than there are."""
    if kind not in {ALL, *(c.value for c in Category)} or mode not in {m.value for m in Mode}:
        abort(404)
    entry = entry_policy(house())
    return pick(profiles(session(), entry).values(), "" if kind == ALL else kind, Mode(mode), entry)


def _shown(kind: str, profile: Profile, form: ProfileForm) -> str:
    name = "All others" if kind == ALL else CATEGORY_NAMES[Category(kind)]
    return render_template("policies/edit.html", form=form, kind=name, mode=profile.mode, mode_names=MODE_NAMES)


def _difference(before: Profile, after: Profile) -> str:
    """What changed, in the names of the fields, for the audit trail."""
    found = []
    for old, new in ((before.entry, after.entry), (before.conduct, after.conduct)):
        for name in type(old).__slots__:
            if getattr(old, name) != getattr(new, name):
                found.append(f"{name}: {getattr(old, name)} -> {getattr(new, name)}")
    return "; ".join(found) or "as it was"


# -- emergencies -------------------------------------------------------------------------------------------------------


@blueprint.get("/emergency")
@needs(Permission.EMERGENCY, Act.APPROVE)
def emergency() -> ResponseReturnValue:
    """What is in emergency mode now, what was, and the form that begins one."""
    return _emergency_page(_places(EmergencyForm()))


@blueprint.post("/emergency")
@needs(Permission.EMERGENCY, Act.APPROVE)
def begin() -> ResponseReturnValue:
    """Switch an area or a venue into emergency mode."""
    form = _places(EmergencyForm())
    until = form.until_at(house().now(), house().settings.zone) if form.validate_on_submit() else None
    if until is None:
        return _emergency_page(form), 422
    sort, _, name = form.where.data.partition(":")
    venue = session().get_one(Venue, bytes.fromhex(name)) if sort == "venue" else None
    area = venue.area if venue is not None else session().get_one(Area, name)
    require(Permission.EMERGENCY, Act.APPROVE, place=Place(area.path, venue.id if venue else None))
    row = Emergency(
        area_code=area.code,
        venue_id=venue.id if venue else None,
        reason=form.reason.data.strip(),
        started_at=house().now(),
        started_by=person().id,
        until_at=until,
    )
    session().add(row)
    session().flush()
    audit(session(), "emergency.begun", Thing("emergency", row.id, area.path), row.reason)
    session().commit()
    tell("Emergency mode is on. The kiosks change with their next exchange.")
    return redirect(url_for("policies.emergency"), 303)


@blueprint.post("/emergency/<emergency_id>/end")
@needs(Permission.EMERGENCY, Act.APPROVE)
def end(emergency_id: str) -> ResponseReturnValue:
    """End an emergency before its time."""
    row = session().get(Emergency, emergency_id, options=[joinedload(Emergency.area)])
    if row is None or not row.holds(house().now()):
        abort(404)
    require(Permission.EMERGENCY, Act.APPROVE, place=Place(row.area.path, row.venue_id))
    form = EndForm()
    if not form.validate_on_submit():
        tell("Say why, in at most 200 characters.", "error")
        return redirect(url_for("policies.emergency"), 303)
    row.ended_at, row.ended_by, row.ended_because = house().now(), person().id, form.reason.data.strip()
    audit(session(), "emergency.ended", Thing("emergency", row.id, row.area.path), row.ended_because)
    session().commit()
    tell("Back to normal. The kiosks change with their next exchange.")
    return redirect(url_for("policies.emergency"), 303)


def _emergency_page(form: EmergencyForm) -> str:
    now, reach = house().now(), person().reach(Permission.EMERGENCY, Act.APPROVE)
    mine = reach.condition(Area.path, Emergency.venue_id)  # type: ignore[arg-type]
    past = (
        select(Emergency)
        .join(Emergency.area)
        .where(mine)
        .options(joinedload(Emergency.area), joinedload(Emergency.venue))
        .order_by(Emergency.started_at.desc())
        .limit(SHOWN_ENDED)
    )
    rows = list(session().scalars(past))
    people = {row.started_by for row in rows} | {row.ended_by for row in rows if row.ended_by}
    found = session().execute(select(User.id, User.display_name).where(User.id.in_(people)))
    names = {user_id: name for user_id, name in found}
    return render_template(
        "policies/emergency.html",
        form=form,
        running=[row for row in rows if row.holds(now)],
        ended=[row for row in rows if not row.holds(now)],
        names=names,
    )


def _places(form: EmergencyForm) -> EmergencyForm:
    """Offer the areas and venues where this person may switch the mode."""
    reach = person().reach(Permission.EMERGENCY, Act.APPROVE)
    areas = session().scalars(select(Area).where(reach.condition(Area.path)).order_by(Area.path).limit(MAX_PLACES))
    venues = session().scalars(
        select(Venue).join(Venue.area).where(reach.condition(Area.path, Venue.id)).order_by(Area.path).limit(MAX_PLACES)
    )
    form.where.choices = [
        *(SelectChoice(f"area:{area.code}", f"{area.name_zh} {area.name_en}".strip()) for area in areas),
        *(SelectChoice(f"venue:{venue.id.hex()}", f"— {venue.name_zh} {venue.name_en}".strip()) for venue in venues),
    ]
    return form


# -- one venue ---------------------------------------------------------------------------------------------------------


@blueprint.get("/venues/<venue_id:venue_id>/terms")
@needs_any(*RUNS)
def terms(venue_id: bytes) -> ResponseReturnValue:
    """The form of a venue's capacity, hours, and where to go while it is closed."""
    venue = find_venue(session(), venue_id, *RUNS)
    row = session().get(VenueTerms, venue.id)
    week = hours_of(row.hours) if row else ()
    form = TermsForm(obj=row, capacity=row.capacity if row else 0)
    for field, day in zip(form.days(), week, strict=False):
        field.data = span_text(day)
    return _terms_page(venue, form)


@blueprint.post("/venues/<venue_id:venue_id>/terms")
@needs_any(*RUNS)
def set_terms(venue_id: bytes) -> ResponseReturnValue:
    """Change a venue's terms; its kiosks get them with their next bundle."""
    venue = find_venue(session(), venue_id, *RUNS)
    form = TermsForm()
    if not form.validate_on_submit():
        return _terms_page(venue, form), 422
    row = session().get(VenueTerms, venue.id) or VenueTerms(venue_id=venue.id)
    row.capacity, row.hours, row.changed_at = form.capacity.data or 0, hours_to_text(form.hours()), house().now()
    row.elsewhere_zh = (form.elsewhere_zh.data or "").strip()
    row.elsewhere_en = (form.elsewhere_en.data or "").strip()
    session().add(row)
    audit(
        session(),
        "venue.terms_set",
        Thing("venue", venue.id.hex(), venue.area.path),
        f"capacity {row.capacity}; hours {row.hours or 'always open'}",
    )
    session().commit()
    tell("The venue's terms are set. Its kiosks get them within minutes.")
    return redirect(url_for("venues.show", venue_id=venue.id), 303)


def _terms_page(venue: Venue, form: TermsForm) -> str:
    running = over(emergencies(session(), house().now()), venue)
    return render_template("policies/terms.html", venue=venue, form=form, running=running)
