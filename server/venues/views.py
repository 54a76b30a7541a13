"""Pages of venues and their entrances."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.orm import Session, joinedload, selectinload
from wtforms.fields.choices import SelectChoice

from server.accounts.rights import Person, Place, person, require, require_any
from server.accounts.roles import Act, Permission, Right
from server.areas.models import Area
from server.audit import Thing, audit
from server.checkin.counting import by_hour
from server.codes.issuing import keeper_named
from server.codes.models import STATE_NAMES, VenueCode
from server.context import house
from server.db import session
from server.kiosks.fleet import fleet_row
from server.kiosks.models import Kiosk
from server.search.models import SearchEntry
from server.search.words import matches, words_asked
from server.venues.forms import CloseForm, EntranceForm, VenueForm
from server.venues.models import VENUE_ID_BYTES, Entrance, Venue
from server.web.access import needs, needs_any
from server.web.language import tell
from server.web.pages import PAGE_ROWS, after_place, page_of

blueprint = Blueprint("venues", __name__)

# Who may look at a venue: whoever may look at its codes, print them, or look at its kiosks.
SEES = (Right(Permission.CODE_PRINT, (Act.READ, Act.PERFORM)), Right(Permission.KIOSKS, (Act.READ,)))

CHANGES = Right(Permission.CODES, (Act.APPROVE,))


def find_venue(reading: Session, venue_id: bytes, *rights: Right) -> Venue:
    """The venue, if the signed-in person has one of *rights* there; else 404."""
    venue = reading.scalar(select(Venue).where(Venue.id == venue_id).options(joinedload(Venue.area)))
    if venue is None:
        abort(404)
    require_any(rights, place=Place(venue.area.path, venue.id))
    return venue


@blueprint.get("/venues")
@needs_any(*SEES)
def index() -> ResponseReturnValue:
    """The venues within reach, place by place; `q` searches names and addresses."""
    words = words_asked()
    rows = listed(person()).options(joinedload(Venue.area))
    after = after_place(VENUE_ID_BYTES)
    if after is not None:
        rows = rows.where(tuple_(*in_place_order(words)) > after)
    found = session().scalars(rows.order_by(*in_place_order(words)).limit(PAGE_ROWS + 1)).all()
    page = page_of(found, lambda venue: f"{venue.area_path}{venue.id.hex()}")
    return render_template("venues/index.html", page=page, words=words, may_add=_may_add(person()))


def listed(somebody: Person) -> Select[Venue]:
    """The venues that *somebody* may see and the request's filters let through, in no order."""
    reach = somebody.reach_any(SEES)
    rows = select(Venue).where(reach.condition(Venue.area_path, Venue.id))
    if words := words_asked():
        rows = rows.join(SearchEntry, SearchEntry.venue_id == Venue.id).where(matches(reach, "venue", words))
    if request.args.get("keeper") == "none":
        rows = rows.where(Venue.keeper_name == "")
    return rows


def in_place_order(words: str) -> tuple[ColumnElement[str], ColumnElement[bytes]]:
    """The columns that `listed` is read in the order of: those of the index that it walks."""
    if words:
        return SearchEntry.area_path.expression, SearchEntry.venue_id.expression
    return Venue.area_path.expression, Venue.id.expression


@blueprint.get("/venues/new")
@needs(Permission.CODES, Act.APPROVE)
def new() -> ResponseReturnValue:
    """The form for a new venue."""
    return render_template("venues/edit.html", form=_form(VenueForm()), venue=None)


@blueprint.post("/venues/new")
@needs(Permission.CODES, Act.APPROVE)
def create() -> ResponseReturnValue:
    """Add a venue with its first entrance still to come."""
    form = _form(VenueForm())
    if not form.validate_on_submit():
        return render_template("venues/edit.html", form=form, venue=None), 422
    area = session().get_one(Area, form.area_code.data)
    require(Permission.CODES, Act.APPROVE, place=Place(area.path))
    venue = Venue(area_code=area.code, created_at=house().now())
    _fill(venue, form)
    session().add(venue)
    session().flush()
    audit(session(), "venue.created", Thing("venue", venue.id.hex(), area.path))
    session().commit()
    tell("The venue was added. Now add its entrances.")
    return redirect(url_for("venues.show", venue_id=venue.id), 303)


@blueprint.get("/venues/<venue_id:venue_id>")
@needs_any(*SEES)
def show(venue_id: bytes) -> ResponseReturnValue:
    """One venue: entrances, codes, kiosks."""
    venue = find_venue(session(), venue_id, *SEES)
    place = Place(venue.area.path, venue.id)
    codes = session().scalars(
        select(VenueCode)
        .where(VenueCode.venue_id == venue.id)
        .options(selectinload(VenueCode.prints))
        .order_by(VenueCode.entrance, VenueCode.version.desc())
    )
    kiosks = session().scalars(select(Kiosk).where(Kiosk.venue_id == venue.id).order_by(Kiosk.entrance, Kiosk.name))
    by_entrance: dict[int, list[VenueCode]] = {}
    now, fleet = house().now(), house().settings.fleet
    for code in codes:
        by_entrance.setdefault(code.entrance, []).append(code)
    return render_template(
        "venues/show.html",
        venue=venue,
        codes=by_entrance,
        kiosks=[fleet_row(kiosk, now, fleet) for kiosk in kiosks],
        code_states=STATE_NAMES,
        now=now,
        entrance_form=EntranceForm(formdata=None),
        may_open_codes=person().may_at(place, Permission.CODE_PRINT, Act.READ, Act.PERFORM),
        may_change=person().may_at(place, Permission.CODES, Act.APPROVE),
        may_enrol=person().may_at(place, Permission.KIOSKS, Act.APPROVE, Act.PERFORM),
        may_see_kiosks=person().may_at(place, Permission.KIOSKS, Act.READ),
        may_check_references=person().may_at(place, Permission.HELD_ENTRY, Act.PERFORM),
        phone_hours=by_hour(session(), venue.id, now)
        if person().may_at(place, Permission.KIOSK_COUNTERS, Act.READ, Act.AGGREGATE)
        else None,
        may_set_terms=person().may_at(place, Permission.USERS, Act.OWN)
        or person().may_at(place, Permission.CODES, Act.APPROVE),
        may_give_badges=person().may_at(place, Permission.USERS, Act.OWN),
    )


@blueprint.get("/venues/<venue_id:venue_id>/edit")
@needs(Permission.CODES, Act.APPROVE)
def edit(venue_id: bytes) -> ResponseReturnValue:
    """The form that changes a venue's data."""
    venue = find_venue(session(), venue_id, CHANGES)
    return render_template("venues/edit.html", form=_form(VenueForm(obj=venue)), venue=venue)


@blueprint.post("/venues/<venue_id:venue_id>/edit")
@needs(Permission.CODES, Act.APPROVE)
def change(venue_id: bytes) -> ResponseReturnValue:
    """Change a venue's data; naming a responsible person brings posters that hang into use."""
    venue = find_venue(session(), venue_id, CHANGES)
    form = _form(VenueForm())
    if not form.validate_on_submit():
        return render_template("venues/edit.html", form=form, venue=venue), 422
    area = session().get_one(Area, form.area_code.data)
    require(Permission.CODES, Act.APPROVE, place=Place(area.path))
    keeper_before = venue.keeper_name
    venue.area_code = area.code
    _fill(venue, form)
    audit(session(), "venue.changed", Thing("venue", venue.id.hex(), area.path))
    if venue.keeper_name != keeper_before:
        audit(session(), "venue.keeper_changed", Thing("venue", venue.id.hex(), area.path))
        if venue.keeper_name:
            keeper_named(session(), venue.id)
    session().commit()
    tell("The venue was changed.")
    return redirect(url_for("venues.show", venue_id=venue.id), 303)


@blueprint.post("/venues/<venue_id:venue_id>/entrances")
@needs(Permission.CODES, Act.APPROVE)
def add_entrance(venue_id: bytes) -> ResponseReturnValue:
    """Add an entrance with the next number."""
    venue = find_venue(session(), venue_id, CHANGES)
    form = EntranceForm()
    if not form.validate_on_submit():
        tell("An entrance needs a Chinese name of at most 80 characters.", "error")
        return redirect(url_for("venues.show", venue_id=venue.id), 303)
    last = session().scalar(select(func.max(Entrance.number)).where(Entrance.venue_id == venue.id)) or 0
    session().add(
        Entrance(
            venue_id=venue.id,
            number=last + 1,
            name_zh=form.name_zh.data.strip(),
            name_en=(form.name_en.data or "").strip(),
        )
    )
    session().flush()
    audit(session(), "entrance.added", Thing("venue", venue.id.hex(), venue.area.path), f"entrance {last + 1}")
    session().commit()
    tell("The entrance was added.")
    return redirect(url_for("venues.show", venue_id=venue.id), 303)


@blueprint.post("/venues/<venue_id:venue_id>/entrances/<int:number>/close")
@needs(Permission.CODES, Act.APPROVE)
def close_entrance(venue_id: bytes, number: int) -> ResponseReturnValue:
    """Close an entrance for good (V-20): it stays for the records that name it, and gets no new codes."""
    venue = find_venue(session(), venue_id, CHANGES)
    door = session().get(Entrance, (venue.id, number))
    if door is None or door.closed_at is not None:
        abort(404)
    form = CloseForm()
    if not form.validate_on_submit():
        tell("Say why, in at most 200 characters.", "error")
        return redirect(url_for("venues.show", venue_id=venue.id), 303)
    door.closed_at = house().now()
    audit(
        session(),
        "entrance.closed",
        Thing("venue", venue.id.hex(), venue.area.path),
        f"entrance {number}: {form.reason.data}",
    )
    session().commit()
    tell("The entrance was closed.")
    return redirect(url_for("venues.show", venue_id=venue.id), 303)


def _form(form: VenueForm) -> VenueForm:
    """Offer the areas in which this person may issue codes, down to communities and grids."""
    areas = session().scalars(
        select(Area)
        .where(person().reach(Permission.CODES, Act.APPROVE).condition(Area.path))
        .order_by(Area.path)
        .limit(1000)
    )
    form.area_code.choices = [SelectChoice(area.code, f"{area.name_zh} {area.name_en}".strip()) for area in areas]
    return form


def _fill(venue: Venue, form: VenueForm) -> None:
    for name in ("name_zh", "name_en", "address", "category", "keeper_name", "keeper_phone"):
        setattr(venue, name, (form[name].data or "").strip())


def _may_add(somebody: Person) -> bool:
    return somebody.holds(Permission.CODES, Act.APPROVE)
