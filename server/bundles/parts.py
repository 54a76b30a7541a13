"""Makes the bytes of each part from what the server knows; the same knowledge always gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from protocol import cbor
from protocol.bundle import MAX_PART_BYTES, PlaceNames
from protocol.errors import ProtocolError
from protocol.notice import notices_to_bytes
from protocol.policy import EntryPolicy
from protocol.profile import profiles_to_bytes
from protocol.staff import StaffList, StaffMember, StaffRole, badges_to_bytes
from protocol.status_list import StatusList, VenueSerials, from_signed
from protocol.trust import TrustList, merge
from server.bundles.errors import PartError
from server.bundles.models import BundlePart, KioskStaff
from server.bundles.rules import RuleBook, check_earlier_file
from server.bundles.value_sets import held_value_sets
from server.codes.issuing import venue_serials
from server.context import House
from server.inspectors.issuing import inspector_lists
from server.keystore import ALG, IssuerUse
from server.kiosks.models import MAY_EXCHANGE, Kiosk
from server.notices.showing import notices_for
from server.papers.lists import badge_lists, badges_of, paper_lists
from server.policies.holding import profiles, venue_rules
from server.vault_keys import read_vault_keys
from server.venues.models import Entrance, Venue

EVERYBODY = ""
IMPORTED_TRUST = "trust-imported.cbor"  # in data_dir: made by `gatehouse trust import`, joined with our own keys

STATUS_VALID = timedelta(days=7)  # a list older than this says nothing more
STATUS_REISSUED_AFTER = timedelta(hours=6)  # well within status_max_age_s of the policy (F-05)


@dataclass(frozen=True, slots=True)
class MadePart:
    """One part as it shall be published."""

    scope: str
    name: str
    data: bytes


def venue_scope(venue: bytes) -> str:
    """The scope of parts that every kiosk of a venue gets."""
    return f"venue:{venue.hex()}"


def kiosk_scope(kiosk: bytes) -> str:
    """The scope of parts that one kiosk gets."""
    return f"kiosk:{kiosk.hex()}"


def global_parts(house: House, reading: Session, now: datetime) -> Iterator[MadePart]:
    """The parts that every kiosk gets: trust, status, policy, vault, and agreed lists of codes where there are some."""
    yield MadePart(EVERYBODY, "trust", trust_list(house, now).to_signed(house.keys.server_identity()))
    yield MadePart(EVERYBODY, "status", status_lists(house, reading, now))
    yield MadePart(EVERYBODY, "profiles", profiles_to_bytes(profiles(reading, entry_policy(house)).values()))
    yield MadePart(EVERYBODY, "policy", entry_policy(house).to_bytes())
    yield MadePart(EVERYBODY, "vault", vault_keys(house))
    check_earlier_file(house)
    if (agreed := held_value_sets(house)) is not None:
        yield MadePart(EVERYBODY, "value_sets", agreed.to_bytes())


def entry_policy(house: House) -> EntryPolicy:
    """The entry policy of these settings."""
    entry = house.settings.entry
    return EntryPolicy(
        accepts=entry.accepts, stale_rules_hold=entry.stale_rules_hold, stale_holds_at=entry.stale_holds_at
    )


def vault_keys(house: House) -> bytes:
    """The vault's signed public keys, from the file that the vault exported. Raises VaultKeysError."""
    return read_vault_keys(house.settings.vault_public_path, house.settings.vault.fingerprint).signed


def trust_list(house: House, now: datetime) -> TrustList:
    """Our own issuer keys joined with what was imported. Its time is that of its newest entry, not of this call."""
    entries = tuple(house.keys.issuer_trust_entries(now))
    begun = [entry.not_before for entry in entries if entry.not_before is not None and entry.not_before <= now]
    ours = TrustList(entries, max(begun, default=datetime(1970, 1, 1, tzinfo=UTC)))
    path = house.settings.data_dir / IMPORTED_TRUST
    if not path.exists():
        return ours
    if not house.settings.trust.signer:
        raise PartError(
            f"There is an imported trust list at {path}, and the settings do not say whose list to believe.",
            hint="Set trust.signer to the key that gatehouse trust import printed, or remove the list.",
        )
    try:
        imported = TrustList.from_signed(path.read_bytes(), bytes.fromhex(house.settings.trust.signer))
    except (OSError, ProtocolError) as error:
        raise PartError(f"The imported trust list {path} cannot be used: {error}.", hint="Import it again.") from error
    return merge((ours, imported), max(ours.issued_at, imported.issued_at))


def status_lists(house: House, reading: Session, now: datetime) -> bytes:
    """The part "status": a CBOR array of signed status lists - venue codes, paper codes, badges, inspectors' passes.

    ES256 signatures differ each time, so a published list is kept while it says the same and is fresh enough.
    """
    wanted: list[StatusList | VenueSerials] = [
        venue_serials(reading, at=now, valid_for=STATUS_VALID),
        *paper_lists(reading, at=now, valid_for=STATUS_VALID),
        *badge_lists(reading, at=now, valid_for=STATUS_VALID),
        *inspector_lists(reading, at=now, valid_for=STATUS_VALID),
    ]
    published = reading.scalar(
        select(BundlePart.data).where(BundlePart.scope == EVERYBODY, BundlePart.name == "status")
    )
    held = dict(_held_lists(published, trust_list(house, now))) if published is not None else {}
    return cbor.encode([_signed(house, item, held, now) for item in wanted])


def _signed(
    house: House, wanted: StatusList | VenueSerials, held: Mapping[object, tuple[datetime, bytes]], now: datetime
) -> bytes:
    issued_at, data = held.get(_said(wanted), (None, b""))
    if issued_at is not None and now - issued_at < STATUS_REISSUED_AFTER:
        return data
    key = house.keys.issuer_signing_key(IssuerUse.STATUS_LIST, now)
    return wanted.to_signed(key.private_key, alg=ALG, kid=key.kid)


def _said(part: StatusList | VenueSerials) -> object:
    """What a list says, apart from when: two that say the same have equal ones."""
    if isinstance(part, VenueSerials):
        return part.revoked, frozenset(part.lowest_valid.items())
    return part.purpose, part.number, part.count, part.bits


def _held_lists(published: bytes, trust: TrustList) -> Iterator[tuple[object, tuple[datetime, bytes]]]:
    """What each published list says, when it was issued, and its signed bytes."""
    lists = cbor.decode_strict(published, max_bytes=MAX_PART_BYTES)
    for data in lists if isinstance(lists, list) else []:
        try:
            found = from_signed(data, trust)
        except ProtocolError:  # signed with a key that is over: sign it anew
            continue
        yield _said(found), (found.issued_at, data)


def kiosk_parts(house: House, reading: Session, kiosk: bytes | None = None) -> Iterator[MadePart]:
    """The part "place" of each kiosk in use, or of one: its names, and the key of its word of the day."""
    wanted = select(Kiosk).where(Kiosk.state.in_([state.value for state in MAY_EXCHANGE]))
    wanted = wanted.options(joinedload(Kiosk.door).joinedload(Entrance.venue).joinedload(Venue.area))
    if kiosk is not None:
        wanted = wanted.where(Kiosk.id == kiosk)
    for row in reading.scalars(wanted):
        venue = row.door.venue
        place = PlaceNames(
            row.venue_id,
            row.entrance,
            venue.name_zh,
            venue.name_en,
            row.door.name_zh,
            row.door.name_en,
            venue.area.name_zh,
            venue.category,
            house.keys.venue_word_key(row.venue_id),
        )
        yield MadePart(kiosk_scope(row.id), "place", place.to_bytes())


def venue_parts(reading: Session, now: datetime, venue: bytes | None = None) -> Iterator[MadePart]:
    """The parts "staff", "badges" and "rules" of each venue that has a kiosk in use, or of one."""
    venues = select(Kiosk.venue_id).where(Kiosk.state.in_([state.value for state in MAY_EXCHANGE])).distinct()
    if venue is not None:
        venues = venues.where(Kiosk.venue_id == venue)
    members: dict[bytes, list[StaffMember]] = {found: [] for found in reading.scalars(venues)}
    for row in reading.scalars(select(KioskStaff).where(KioskStaff.venue_id.in_(venues))):
        members[row.venue_id].append(StaffMember(row.staff_id, row.name, StaffRole(row.role), row.salt, row.pin_hash))
    places = list(reading.scalars(select(Venue).where(Venue.id.in_(list(members))).options(joinedload(Venue.area))))
    shown = notices_for(reading, places, now)
    for found, terms in venue_rules(reading, places, now).items():
        yield MadePart(venue_scope(found), "venue", terms.to_bytes())
        yield MadePart(venue_scope(found), "notices", notices_to_bytes(shown[found]))
    for found, staff in members.items():
        yield MadePart(venue_scope(found), "staff", StaffList(tuple(staff)).to_bytes())
        yield MadePart(venue_scope(found), "badges", badges_to_bytes(badges_of(reading, found, now)))
    book = RuleBook(reading)
    for place in reading.scalars(select(Venue).where(Venue.id.in_(venues)).options(joinedload(Venue.area))):
        if (rules := book.part(place)) is not None:
            yield MadePart(venue_scope(place.id), "rules", rules)
