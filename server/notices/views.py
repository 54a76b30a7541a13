"""Pages of public notices: write, look at it as the kiosk shows it, publish, withdraw."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from wtforms.fields.choices import SelectChoice

from protocol.notice import NoticeLevel
from server.accounts.models import User
from server.accounts.rights import Place, person, require_any
from server.accounts.roles import Act, Permission, Right
from server.areas.models import Area
from server.audit import Thing, audit
from server.context import house
from server.db import session
from server.notices.forms import LEVEL_NAMES, NoticeForm, WithdrawForm
from server.notices.models import NoticeState, PublicNotice
from server.venues.models import Venue
from server.web.access import needs_any
from server.web.language import tell

blueprint = Blueprint("notices", __name__)

# Whoever reviews notices also writes and publishes public ones, within their area.
PUBLISHES = (
    Right(Permission.NOTICE_FIRST_REVIEW, (Act.APPROVE,)),
    Right(Permission.NOTICE_FINAL_REVIEW, (Act.APPROVE,)),
)
SEES = (*PUBLISHES, Right(Permission.NOTICE_STATE, (Act.READ,)))
CONDITIONS = {
    "draft": ("off", "Draft"),
    "waiting": ("wait", "Published, still to come"),
    "showing": ("good", "On the screens"),
    "over": ("off", "Over"),
    "withdrawn": ("bad", "Withdrawn"),
}
MAX_PLACES = 1000
SHOWN = 200


@blueprint.get("/notices")
@needs_any(*SEES)
def index() -> ResponseReturnValue:
    """The notices within reach, the newest first; `state` narrows them."""
    now, wanted = house().now(), request.args.get("state", "")
    rows = (
        select(PublicNotice)
        .join(PublicNotice.area)
        .where(person().reach_any(SEES).condition(Area.path, PublicNotice.venue_id))  # type: ignore[arg-type]
        .options(joinedload(PublicNotice.area), joinedload(PublicNotice.venue))
        .order_by(PublicNotice.written_at.desc())
        .limit(SHOWN)
    )
    found = [row for row in session().scalars(rows) if wanted not in CONDITIONS or row.condition(now) == wanted]
    return render_template(
        "notices/index.html",
        notices=found,
        now=now,
        wanted=wanted,
        conditions=CONDITIONS,
        level_names=_level_names(),
        may_write=person().holds_any(PUBLISHES),
    )


@blueprint.get("/notices/new")
@needs_any(*PUBLISHES)
def new() -> ResponseReturnValue:
    """The form for a new notice."""
    return render_template("notices/edit.html", form=_places(NoticeForm()), notice=None)


@blueprint.post("/notices/new")
@needs_any(*PUBLISHES)
def create() -> ResponseReturnValue:
    """Keep a draft."""
    form = _places(NoticeForm())
    if not form.validate_on_submit():
        return render_template("notices/edit.html", form=form, notice=None), 422
    notice = PublicNotice(written_at=house().now(), written_by=person().id, state=NoticeState.DRAFT.value)
    _fill(notice, form)
    session().add(notice)
    session().flush()
    audit(session(), "notice.written", _thing(notice), notice.title_zh)
    session().commit()
    return redirect(url_for("notices.show", notice_id=notice.id), 303)


@blueprint.get("/notices/<notice_id>")
@needs_any(*SEES)
def show(notice_id: str) -> ResponseReturnValue:
    """One notice as the kiosk shows it, with what can be done about it."""
    return _shown(_find(notice_id, SEES))


@blueprint.get("/notices/<notice_id>/edit")
@needs_any(*PUBLISHES)
def edit(notice_id: str) -> ResponseReturnValue:
    """The form of a draft."""
    notice = _draft(notice_id)
    form = NoticeForm(obj=notice)
    zone = house().settings.zone
    form.begins.data, form.ends.data = notice.from_at.astimezone(zone), notice.until_at.astimezone(zone)
    form.where.data = f"venue:{notice.venue_id.hex()}" if notice.venue_id else f"area:{notice.area_code}"
    return render_template("notices/edit.html", form=_places(form), notice=notice)


@blueprint.post("/notices/<notice_id>/edit")
@needs_any(*PUBLISHES)
def change(notice_id: str) -> ResponseReturnValue:
    """Change a draft."""
    notice = _draft(notice_id)
    form = _places(NoticeForm())
    if not form.validate_on_submit():
        return render_template("notices/edit.html", form=form, notice=notice), 422
    _fill(notice, form)
    session().flush()
    audit(session(), "notice.changed", _thing(notice), notice.title_zh)
    session().commit()
    return redirect(url_for("notices.show", notice_id=notice.id), 303)


@blueprint.post("/notices/<notice_id>/publication")
@needs_any(*PUBLISHES)
def publish(notice_id: str) -> ResponseReturnValue:
    """Put a draft on the screens; the kiosks get it with their next bundle."""
    notice = _draft(notice_id)
    if notice.until_at <= house().now():
        tell("Its time is over already. Give it another one first.", "error")
        return _shown(notice), 422
    notice.state, notice.published_at, notice.published_by = NoticeState.PUBLISHED.value, house().now(), person().id
    audit(session(), "notice.published", _thing(notice), notice.title_zh)
    session().commit()
    tell("The notice is published. The kiosks show it within minutes.")
    return redirect(url_for("notices.show", notice_id=notice.id), 303)


@blueprint.post("/notices/<notice_id>/withdrawal")
@needs_any(*PUBLISHES)
def withdraw(notice_id: str) -> ResponseReturnValue:
    """Take a published notice from the screens; it stays here with who did so and why."""
    notice = _find(notice_id, PUBLISHES)
    if notice.state != NoticeState.PUBLISHED.value:
        abort(404)
    form = WithdrawForm()
    if not form.validate_on_submit():
        tell("Say why, in at most 200 characters.", "error")
        return _shown(notice), 422
    notice.state, notice.withdrawn_at, notice.withdrawn_by = NoticeState.WITHDRAWN.value, house().now(), person().id
    notice.withdrawn_because = form.reason.data.strip()
    audit(session(), "notice.withdrawn", _thing(notice), notice.withdrawn_because)
    session().commit()
    tell("The notice was withdrawn. It leaves the screens within minutes.")
    return redirect(url_for("notices.show", notice_id=notice.id), 303)


def _find(notice_id: str, rights: tuple[Right, ...]) -> PublicNotice:
    """The notice, if the signed-in person has one of *rights* there; else 404."""
    notice = session().get(
        PublicNotice, notice_id, options=[joinedload(PublicNotice.area), joinedload(PublicNotice.venue)]
    )
    if notice is None:
        abort(404)
    require_any(rights, place=Place(notice.area.path, notice.venue_id))
    return notice


def _draft(notice_id: str) -> PublicNotice:
    notice = _find(notice_id, PUBLISHES)
    if notice.state != NoticeState.DRAFT.value:
        abort(404)
    return notice


def _shown(notice: PublicNotice) -> str:
    people = [p for p in (notice.written_by, notice.published_by, notice.withdrawn_by) if p]
    found = session().execute(select(User.id, User.display_name).where(User.id.in_(people)))
    names = {user_id: name for user_id, name in found}
    kind, words = CONDITIONS[notice.condition(house().now())]
    return render_template(
        "notices/show.html",
        notice=notice,
        names=names,
        kind=kind,
        words=words,
        level=LEVEL_NAMES[NoticeLevel(notice.level)],
        form=WithdrawForm(),
        may_publish=any(
            person().may_at(Place(notice.area.path, notice.venue_id), right.permission, *right.acts)
            for right in PUBLISHES
        ),
    )


def _fill(notice: PublicNotice, form: NoticeForm) -> None:
    """Put the form's values into *notice*; 404 for a place out of reach."""
    sort, _, name = form.where.data.partition(":")
    venue = session().get_one(Venue, bytes.fromhex(name)) if sort == "venue" else None
    area = venue.area if venue is not None else session().get_one(Area, name)
    require_any(PUBLISHES, place=Place(area.path, venue.id if venue else None))
    notice.area_code, notice.venue_id = area.code, venue.id if venue else None
    for field in ("level", "title_zh", "title_en", "body_zh", "body_en", "source"):
        setattr(notice, field, " ".join(form[field].data.split()))
    zone = house().settings.zone
    notice.from_at, notice.until_at = form.begins.data.replace(tzinfo=zone), form.ends.data.replace(tzinfo=zone)


def _places(form: NoticeForm) -> NoticeForm:
    """Offer the areas and venues where this person may publish."""
    reach = person().reach_any(PUBLISHES)
    areas = session().scalars(select(Area).where(reach.condition(Area.path)).order_by(Area.path).limit(MAX_PLACES))
    venues = session().scalars(
        select(Venue).join(Venue.area).where(reach.condition(Area.path, Venue.id)).order_by(Area.path).limit(MAX_PLACES)
    )
    form.where.choices = [
        *(SelectChoice(f"area:{area.code}", f"{area.name_zh} {area.name_en}".strip()) for area in areas),
        *(SelectChoice(f"venue:{venue.id.hex()}", f"— {venue.name_zh} {venue.name_en}".strip()) for venue in venues),
    ]
    return form


def _thing(notice: PublicNotice) -> Thing:
    return Thing("notice", notice.id, session().get_one(Area, notice.area_code).path)


def _level_names() -> dict[str, str]:
    return {level.value: name for level, name in LEVEL_NAMES.items()}
