"""An approver's word, looked at here so that a mistake shows at once; the vault is who judges it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased, joinedload, selectinload
from webauthn.helpers import parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException

from config.server import ServerSettings
from protocol.errors import ProtocolError
from protocol.query import QueryKind
from server.accounts.rights import Person
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.audit import SYSTEM
from server.context import house
from server.queries.asking import place_of
from server.queries.models import USABLE, WAITING, QueryRow, QueryState, QueryVenue
from server.queries.workflow import move_query
from server.vault.approvals import KeyWord, PasskeyWord, check_key_word, check_passkey_word, read_word
from server.vault.client import VaultClient
from server.vault.roster import Approver, Roster
from server.venues.models import Venue

APPROVES = (Permission.QUERY_APPROVE, Act.APPROVE)


def may_decide(somebody: Person, row: QueryRow) -> bool:
    """Whether *somebody* may decide: at every venue of the query, and never over their own."""
    return (
        row.requester_id != somebody.id
        and bool(row.venues)
        and all(somebody.may_at(place_of(v.venue), *APPROVES) for v in row.venues)
    )


def waiting_for(reading: Session, somebody: Person, now: datetime, limit: int) -> Sequence[QueryRow]:
    """The queries that *somebody* may decide now, oldest first."""
    venue, area = aliased(Venue), aliased(Area)
    reach = somebody.reach(*APPROVES)
    out_of_reach = (
        exists()
        .where(QueryVenue.query_id == QueryRow.id)
        .where(venue.id == QueryVenue.venue_id, area.code == venue.area_code)
        .where(~reach.condition(area.path, venue.id))
    )
    rows = (
        select(QueryRow)
        .where(
            QueryRow.state.in_([s.value for s in WAITING]),
            QueryRow.expires_at > now,
            QueryRow.requester_id != somebody.id,
            ~out_of_reach,
        )
        .options(joinedload(QueryRow.requester), selectinload(QueryRow.venues).joinedload(QueryVenue.venue))
        .order_by(QueryRow.created_at)
        .limit(limit)
    )
    return reading.scalars(rows).all()


def check_word(data: bytes, row: QueryRow, somebody: Person, roster: Roster, settings: ServerSettings) -> None:
    """Raise ProtocolError when *data* is not this approver's yes to this query, by a key of the vault's roster."""
    word = read_word(data)
    if word.approver != somebody.name:
        raise ProtocolError("approval: given in another name than you signed in with", code="other_approver")
    in_force = [a for a in roster.keys_of(somebody.name) if a.revoked_ms is None]
    if not in_force:
        raise ProtocolError("approval: the vault does not know you as an approver", code="unknown_approver")
    problem = ProtocolError("approval: made with a key that the vault does not know", code="bad_signature")
    for approver in in_force:
        try:
            _check_one(word, approver, row, settings)
        except ProtocolError as error:
            problem = error
            continue
        if row.query().purpose not in approver.purposes:
            raise ProtocolError("approval: not for this purpose", code="wrong_purpose")
        return
    raise problem


def _check_one(word: KeyWord | PasskeyWord, approver: Approver, row: QueryRow, settings: ServerSettings) -> None:
    digest = row.query().digest()
    if isinstance(word, KeyWord):
        if approver.key.credential_id:
            raise ProtocolError("approval: this entry is a passkey", code="bad_signature")
        if not check_key_word(word, approver.key, digest).approved:
            raise ProtocolError("approval: it says no", code="not_approved")
        return
    if row.query().kind is QueryKind.REUSED_CODES:  # the vault refuses it, too (decision 0081)
        raise ProtocolError("approval: a search for reused codes needs an approval key", code="needs_key_here")
    check_passkey_word(
        word, approver.key, digest, relying_party=relying_party(settings), origins=(settings.public_url,)
    )


def passkey_word(credential: str, approver: str) -> bytes:
    """The approval out of what `navigator.credentials.get` gave, as JSON; raises ProtocolError. Nothing is believed."""
    try:
        made = parse_authentication_credential_json(credential)
        word = PasskeyWord(
            approver,
            made.raw_id,
            made.response.authenticator_data,
            made.response.client_data_json,
            made.response.signature,
        )
        return word.to_bytes()
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise ProtocolError("approval: not what a passkey gives", code="bad_signature") from error


def this_vault() -> VaultClient:
    """The vault that the running application is set up with."""
    return VaultClient(house().settings.vault_socket_path)


def relying_party(settings: ServerSettings) -> str:
    """The host that passkeys are bound to."""
    return settings.host.rsplit(":", 1)[0]


def close_expired(writing: Session, now: datetime, archive_before: datetime) -> tuple[int, int]:
    """Note what has run out, and put away what ended before *archive_before*; returns how many of each.

    For the worker. A query opens nothing after its time whether or not this ran: the vault compares with its own clock.
    """
    expired = archived = 0
    for row in writing.scalars(
        select(QueryRow)
        .where(QueryRow.state.in_([s.value for s in WAITING | USABLE]), QueryRow.expires_at <= now)
        .limit(1000)
    ):
        move_query(writing, row, "expire", by=SYSTEM, at=now)
        expired += 1
    ended = [s.value for s in (QueryState.EXPIRED, QueryState.REFUSED, QueryState.REVOKED)]
    for row in writing.scalars(
        select(QueryRow).where(QueryRow.state.in_(ended), QueryRow.expires_at <= archive_before).limit(1000)
    ):
        move_query(writing, row, "archive", by=SYSTEM, at=now)
        archived += 1
    return expired, archived
