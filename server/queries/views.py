"""Pages of queries: ask, decide, look, and who has looked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from config.errors import GatehouseError
from protocol.errors import ProtocolError
from protocol.query import QUERY_ID_BYTES, QueryKind, Reveal
from server.accounts.rights import person
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.audit import Thing, audit
from server.cases.kernel import CaseError, NotAllowed
from server.context import house
from server.db import session
from server.kiosks.models import Kiosk
from server.queries import passkeys
from server.queries.asking import MAX_VENUES, chosen_venues, may_unmask, place_of, query_from, row_of
from server.queries.deciding import (
    APPROVES,
    check_word,
    may_decide,
    passkey_word,
    relying_party,
    this_vault,
    waiting_for,
)
from server.queries.forms import QueryForm, ReasonForm
from server.queries.heads import keep_head, newest_head
from server.queries.looking import look
from server.queries.models import USABLE, WAITING, Look, QueryRow, QueryState, QueryVenue, VaultLogCheck
from server.queries.trail import copied_head, follow_log, refusals, signing_key, unknown_openings, unmatched_looks
from server.queries.words import (
    DIRECTION_NAMES,
    KIND_NAMES,
    OUTCOME_NAMES,
    PURPOSE_NAMES,
    REVEAL_NAMES,
    STATE_NAMES,
    refusal_name,
)
from server.queries.workflow import case_of_query, move_query
from server.vault.client import VaultAway
from server.vault.errors import Refused
from server.vault.lag import index_lag  # noqa: F401  its line on the console's first page
from server.vault.roster import Approver
from server.vault_keys import read_vault_keys
from server.venues.models import Entrance, Venue
from server.web.access import needs, personal, signed_in
from server.web.language import tell, when
from server.web.pages import PAGE_ROWS, after_bytes, page_of

blueprint = Blueprint("queries", __name__, url_prefix="/queries")
blueprint.register_blueprint(passkeys.blueprint)

ASKS = (Permission.PASSAGES, Act.READ_MASKED)
AUDITS = (Permission.AUDIT, Act.READ)
MAX_WAITING = 100
VENUE_CHOICES = 50
AWAY = "The vault does not answer. Nothing was decided or shown; try again in a minute."
DEFAULT_SPAN = DAY = timedelta(days=1)
LOOK_TAKES = timedelta(minutes=1)  # longer than a look waits for the vault


def find_query(reading: Session, query_id: str) -> QueryRow:
    """The query, if the signed-in person asked it or may decide over it; else 404.

    Views that ask the vault read in a session of their own first and write in another: nobody waits for the vault
    with the database locked.
    """
    try:
        wanted = bytes.fromhex(query_id)
    except ValueError:
        abort(404)
    if len(wanted) != QUERY_ID_BYTES:
        abort(404)
    row = reading.scalar(
        select(QueryRow)
        .where(QueryRow.id == wanted)
        .options(
            joinedload(QueryRow.requester),
            joinedload(QueryRow.decider),
            selectinload(QueryRow.venues).joinedload(QueryVenue.venue).joinedload(Venue.area),
        )
    )
    if row is None or not (row.requester_id == person().id or may_decide(person(), row)):
        abort(404)
    return row


@blueprint.get("/")
@needs(*ASKS)
def index() -> ResponseReturnValue:
    """The signed-in person's own queries, newest first."""
    rows = select(QueryRow).where(QueryRow.requester_id == person().id)
    after = after_bytes(QUERY_ID_BYTES)
    if after is not None and (last := session().get(QueryRow, after)) is not None:
        rows = rows.where(
            or_(
                QueryRow.created_at < last.created_at,
                (QueryRow.created_at == last.created_at) & (QueryRow.id < last.id),
            )
        )
    rows = rows.options(selectinload(QueryRow.venues).joinedload(QueryVenue.venue))
    found = session().scalars(rows.order_by(QueryRow.created_at.desc(), QueryRow.id.desc()).limit(PAGE_ROWS + 1)).all()
    page = page_of(found, lambda row: row.id.hex())
    return render_template("queries/index.html", page=page, **_words())


@blueprint.get("/new")
@needs(*ASKS)
@personal
def new() -> ResponseReturnValue:
    """The form for a new query."""
    now = house().now().astimezone(house().settings.zone).replace(second=0, microsecond=0, tzinfo=None)
    return _form_page(QueryForm(from_at=now - DEFAULT_SPAN, to_at=now))


@blueprint.post("/new")
@needs(*ASKS)
@personal
def create() -> ResponseReturnValue:
    """Ask. The person's number is sealed to the vault here and forgotten; it is in no row, page or log."""
    form = QueryForm()
    if not form.validate_on_submit():
        return _form_page(form), 422
    settings, now, somebody = house().settings, house().now(), person()
    try:
        keys = read_vault_keys(settings.vault_public_path, settings.vault.fingerprint).keys
    except GatehouseError:
        return _form_page(form, "The vault's public keys are missing on this server. Ask technical support."), 503
    venues = chosen_venues(session(), form, somebody)
    query = query_from(form, venues, somebody, keys, now=now, zone=settings.zone)
    if query is None:
        return _form_page(form), 422
    row = row_of(query, somebody, now)
    session().add(row)
    session().flush()
    case_of_query(session(), row, venues, now)
    audit(session(), "query.requested", _thing(row, venues), query.legal_ground)
    session().commit()
    tell("The query was sent. Somebody else has to approve it.")
    return redirect(url_for("queries.show", query_id=row.id.hex()), 303)


@blueprint.get("/inbox")
@needs(*APPROVES)
def inbox() -> ResponseReturnValue:
    """What waits for the signed-in person's decision."""
    rows = waiting_for(session(), person(), house().now(), MAX_WAITING)
    return render_template("queries/inbox.html", rows=rows, **_words())


@blueprint.get("/waiting.json")
@needs(*APPROVES)
def waiting() -> ResponseReturnValue:
    """What waits for the signed-in person's decision, for `gatehouse approve`: the bytes to sign, and venues' names."""
    rows = waiting_for(session(), person(), house().now(), MAX_WAITING)
    items = [
        {
            "id": row.id.hex(),
            "body": base64.b64encode(row.body).decode(),
            "venues": {v.venue_id.hex(): v.venue.name_zh for v in row.venues},
        }
        for row in rows
    ]
    return jsonify(queries=items, approver=person().name, csrf_token=generate_csrf())


@blueprint.get("/<query_id>")
@signed_in
def show(query_id: str) -> ResponseReturnValue:
    """One query: what is asked, where it stands, and what the signed-in person can do about it."""
    row = find_query(session(), query_id)
    now, settings = house().now(), house().settings
    state = row.state_at(now)
    decides = may_decide(person(), row) and state in WAITING
    own_keys: tuple[Approver, ...] | None = ()
    if decides:
        try:
            own_keys = tuple(a for a in this_vault().roster().keys_of(person().name) if a.revoked_ms is None)
        except (VaultAway, Refused):
            own_keys = None
    looks = session().scalars(
        select(Look).where(Look.query_id == row.id).options(joinedload(Look.user)).order_by(Look.at).limit(PAGE_ROWS)
    )
    return render_template(
        "queries/show.html",
        row=row,
        query=row.query(),
        state_now=state,
        is_own=row.requester_id == person().id,
        decides=decides,
        may_withdraw=state in WAITING | USABLE,
        is_usable=state in USABLE,
        own_keys=own_keys,
        passkeys=[_b64url(a.key.credential_id) for a in own_keys or () if a.key.credential_id],
        challenge=_b64url(row.query().digest()),
        server_url=settings.public_url,
        relying_party=relying_party(settings),
        looks=looks.all(),
        reason_form=ReasonForm(formdata=None),
        **_words(),
    )


@blueprint.post("/<query_id>/review")
@signed_in
def review(query_id: str) -> ResponseReturnValue:
    """Say that one is looking into a query, so that two approvers do not do the same work."""
    row = _to_decide(session(), query_id)
    if row.state_at(house().now()) is QueryState.REQUESTED:
        _move(row, "review")
        audit(session(), "query.reviewing", _thing(row))
        session().commit()
    return redirect(url_for("queries.show", query_id=query_id), 303)


@blueprint.post("/<query_id>/approve")
@signed_in
def approve(query_id: str) -> ResponseReturnValue:
    """Take the approver's own signature. Without one that holds nothing is approved, here or in the vault."""
    try:
        if credential := request.form.get("credential"):
            word = passkey_word(credential, person().name)
        else:
            word = base64.b64decode(request.form.get("approval", ""), validate=True)
        with house().database.reading() as reading:
            check_word(word, _to_decide(reading, query_id), person(), this_vault().roster(), house().settings)
    except (binascii.Error, ProtocolError) as error:
        code = error.code if isinstance(error, ProtocolError) else "bad_signature"
        tell("This approval was not taken: %(why)s", "error", why=refusal_name(code))
        return redirect(url_for("queries.show", query_id=query_id), 303)
    except (VaultAway, Refused):
        tell(AWAY, "error")
        return redirect(url_for("queries.show", query_id=query_id), 303)
    now, row = house().now(), _to_decide(session(), query_id)  # once more: it may have been decided meanwhile
    row.approval, row.decided_by, row.decided_at = word, person().id, now
    _move(row, "approve")
    audit(session(), "query.approved", _thing(row), row.query().legal_ground)
    session().commit()
    tell("The query was approved.")
    return redirect(url_for("queries.inbox"), 303)


@blueprint.post("/<query_id>/refuse")
@signed_in
def refuse(query_id: str) -> ResponseReturnValue:
    """Refuse, with the reason."""
    row = _to_decide(session(), query_id)
    form = ReasonForm()
    if not form.validate_on_submit():
        tell("A reason is needed, and it holds no ID or phone numbers.", "error")
        return redirect(url_for("queries.show", query_id=query_id), 303)
    row.decided_by, row.decided_at, row.reason = person().id, house().now(), form.reason.data.strip()
    _move(row, "refuse", row.reason)
    audit(session(), "query.refused", _thing(row), row.reason)
    session().commit()
    tell("The query was refused.")
    return redirect(url_for("queries.inbox"), 303)


@blueprint.post("/<query_id>/withdraw")
@signed_in
def withdraw(query_id: str) -> ResponseReturnValue:
    """Withdraw a query: its requester or an approver. The vault closes it for ever before the row says so."""
    form = ReasonForm()
    with house().database.reading() as reading:
        digest = _to_withdraw(reading, query_id).digest
    if not form.validate_on_submit():
        tell("A reason is needed, and it holds no ID or phone numbers.", "error")
        return redirect(url_for("queries.show", query_id=query_id), 303)
    try:
        this_vault().revoke(digest)
    except (VaultAway, Refused):
        tell(AWAY, "error")
        return redirect(url_for("queries.show", query_id=query_id), 303)
    row = _to_withdraw(session(), query_id)
    row.reason = form.reason.data.strip()
    _move(row, "withdraw" if row.requester_id == person().id else "revoke", row.reason)
    audit(session(), "query.revoked", _thing(row), row.reason)
    session().commit()
    tell("The query was withdrawn. The vault opens nothing for it any more.")
    return redirect(url_for("queries.show", query_id=query_id), 303)


@blueprint.post("/<query_id>/look")
@signed_in
@personal
def do_look(query_id: str) -> ResponseReturnValue:
    """Show the result, in the answer itself: it is stored nowhere, so there is no page to redirect to."""
    somebody, now = person(), house().now()
    with house().database.reading() as reading:
        row = find_query(reading, query_id)
        venues = [v.venue for v in row.venues]
        if row.requester_id != somebody.id:
            abort(404)
        if row.state_at(now) not in USABLE:
            abort(409)
        asked = frozenset(row.query().reveal) - {Reveal.MASKED}
        act = Act.READ if asked else Act.READ_MASKED  # the right may have ended since it was asked
        if not all(somebody.may_at(place_of(v), Permission.PASSAGES, act) for v in venues):
            abort(403)
        try:
            public = read_vault_keys(house().settings.vault_public_path, house().settings.vault.fingerprint)
            result = look(reading, row, this_vault(), signing_key(public.signed))
            kiosks = {seen.record.kiosk_id for seen in result.rows}
            kiosk_names = {k.id: k.name for k in reading.scalars(select(Kiosk).where(Kiosk.id.in_(kiosks)))}
            doors = select(Entrance).where(Entrance.venue_id.in_([v.id for v in venues]))
            door_names = {(door.venue_id, door.number): door.name_zh for door in reading.scalars(doors)}
        except VaultAway:
            tell(AWAY, "error")
            return redirect(url_for("queries.show", query_id=query_id), 303)
        except Refused as error:
            audit(session(), "query.look_refused", _thing(row, venues), error.code)
            session().commit()
            tell("The vault has refused: %(why)s", "error", why=refusal_name(error.code))
            return redirect(url_for("queries.show", query_id=query_id), 303)
    noted = session().get_one(QueryRow, row.id)
    if noted.state_at(now) is QueryState.APPROVED:
        _move(noted, "look")
    noted_look = Look(
        query_id=row.id,
        user_id=somebody.id,
        at=now,
        rows=len(result.rows),
        legal_ground=row.query().legal_ground,
        log_sequence=result.head.sequence,
        log_hash=result.head.hash,
        proof=result.proof,
    )
    session().add(noted_look)
    audit(session(), "query.looked", _thing(row, venues), row.query().legal_ground)
    session().commit()
    page = render_template(
        "queries/result.html",
        row=row,
        query=row.query(),
        result=result,
        look_id=noted_look.id,
        names={v.id: v.name_zh for v in venues},
        kiosk_names=kiosk_names,
        door_names=door_names,
        mark=f"{somebody.name} {now.astimezone(house().settings.zone):%Y-%m-%d %H:%M} {row.id.hex()[:8]}",
        **_words(),
    )
    return Response(page, headers={"Cache-Control": "no-store"})


@blueprint.get("/looks/<look_id>.tlog-proof")
@signed_in
def proof(look_id: str) -> ResponseReturnValue:
    """The proof that a look stands in the vault's log, for who looked and for auditors (`audit-log verify`)."""
    one = session().get(Look, look_id)
    somebody = person()
    if one is None or not one.proof:
        abort(404)
    if one.user_id != somebody.id and not all(somebody.may_at(place_of(v.venue), *AUDITS) for v in one.query.venues):
        abort(404)
    name = f"line-{one.log_sequence}.tlog-proof"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(one.proof, mimetype="text/plain", headers=headers)


@blueprint.get("/looks")
@needs(*AUDITS)
def looks() -> ResponseReturnValue:
    """Who has looked at what and on which ground, in one's own area, and whether the vault's log agrees."""
    after = request.args.get("after", "")
    within = (
        exists()
        .where(QueryVenue.query_id == Look.query_id)
        .where(Venue.id == QueryVenue.venue_id, Area.code == Venue.area_code)
        .where(person().reach(*AUDITS).condition(Area.path, Venue.id))
    )
    rows = select(Look).where(within).options(joinedload(Look.user), joinedload(Look.query))
    last = session().get(Look, after) if after else None
    if last is not None:
        rows = rows.where(or_(Look.at < last.at, (Look.at == last.at) & (Look.id < last.id)))
    found = session().scalars(rows.order_by(Look.at.desc(), Look.id.desc()).limit(PAGE_ROWS + 1)).all()
    page = page_of(found, lambda one: one.id)
    head = copied_head(session())
    return render_template(
        "queries/looks.html",
        page=page,
        head=head,
        tree_head=newest_head(session()),
        check=session().get(VaultLogCheck, 1),
        unmatched=unmatched_looks(session(), head.sequence),
        unknown=unknown_openings(session(), house().now() - LOOK_TAKES),
        refused=refusals(session(), house().now() - DAY),
        **_words(),
    )


@blueprint.post("/looks/check")
@needs(*AUDITS)
def check_log() -> ResponseReturnValue:
    """Compare the vault's log with our copy now."""
    settings = house().settings
    try:
        key = signing_key(read_vault_keys(settings.vault_public_path, settings.vault.fingerprint).signed)
        tree_head = this_vault().tree_head()
        followed = follow_log(house().database, this_vault(), key, house().now())
        problem = followed.problem or keep_head(house().database, tree_head, key, house().now())
    except (GatehouseError, ProtocolError):
        tell(AWAY, "error")
        return redirect(url_for("queries.looks"), 303)
    audit(session(), "vault_log.checked", Thing("vault_log", str(followed.head.sequence)), problem)
    session().commit()
    if problem:
        tell("The vault's log does not hold. Keep everything as it is and look into it.", "error")
    else:
        tell("The vault's log holds.")
    return redirect(url_for("queries.looks"), 303)


def _form_page(form: QueryForm, problem: str = "") -> str:
    """The form; a number that was typed is never shown again."""
    form.person.data = ""
    somebody = person()
    reach = somebody.reach(*ASKS)
    rows = select(Venue).join(Venue.area).options(joinedload(Venue.area)).where(reach.condition(Area.path, Venue.id))
    words = request.args.get("q", "").strip()[:80]
    if words:
        columns = (Venue.name_zh, Venue.name_en, Venue.address)
        rows = rows.where(or_(*(column.icontains(words, autoescape=True) for column in columns)))
    venues = list(session().scalars(rows.order_by(Venue.name_zh, Venue.id).limit(VENUE_CHOICES + 1)))
    chosen = set((form.venues.data or [])[:MAX_VENUES])
    return render_template(
        "queries/new.html",
        form=form,
        problem=problem,
        venues=venues[:VENUE_CHOICES],
        is_cut=len(venues) > VENUE_CHOICES,
        words=words,
        chosen=chosen,
        unmasks=somebody.holds(Permission.PASSAGES, Act.READ) and may_unmask(somebody, venues),
        **_words(),
    )


def _to_withdraw(reading: Session, query_id: str) -> QueryRow:
    """The query, if it can still be withdrawn; else 404 or 409."""
    row = find_query(reading, query_id)
    if row.state_at(house().now()) not in WAITING | USABLE:
        abort(409)
    return row


def _to_decide(reading: Session, query_id: str) -> QueryRow:
    """The query, if the signed-in person may decide over it now; 404 out of reach, 409 when it no longer waits."""
    row = find_query(reading, query_id)
    if not may_decide(person(), row):
        abort(404)
    if row.state_at(house().now()) not in WAITING:
        abort(409)
    return row


def _move(row: QueryRow, step: str, reason: str = "") -> None:
    """Take *step* with the query as the signed-in person; 409 when it is no longer possible, 404 out of reach."""
    try:
        move_query(session(), row, step, by=person(), at=house().now(), reason=reason)
    except NotAllowed:
        abort(404)
    except CaseError:
        abort(409)


def _thing(row: QueryRow, venues: Sequence[Venue] | None = None) -> Thing:
    """The query as the audit trail names it, in the smallest area that holds all its venues."""
    paths = [v.area.path for v in venues] if venues is not None else [v.venue.area.path for v in row.venues]
    parts = [path.rstrip("/").split("/") for path in paths]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return Thing("query", row.id.hex(), "".join(f"{code}/" for code in common))


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _words() -> dict[str, object]:
    return {
        "purposes": PURPOSE_NAMES,
        "reveals": REVEAL_NAMES,
        "kinds": KIND_NAMES,
        "QueryKind": QueryKind,
        "states": STATE_NAMES,
        "now": house().now(),
        "directions": DIRECTION_NAMES,
        "outcomes": OUTCOME_NAMES,
        "when_ms": lambda ms: when(datetime.fromtimestamp(ms / 1000, UTC)),
        "Reveal": Reveal,
    }
