"""The vault's judgement: what it indexes, finds and opens, and everything it checks before it does.

It believes its own files, its own clock and signatures. Nothing that a client says is believed for being said.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.errors import GatehouseError
from protocol.checkin import Checkin
from protocol.credentials.identity import identity_info, open_identity
from protocol.errors import ProtocolError
from protocol.own_looks import CHALLENGE_BYTES, open_word
from protocol.passage import Header, Personal
from protocol.query import Query, QueryKind, Reveal, own_venue_problem
from protocol.sealing import EpochOpener
from protocol.words import EntryMode
from server.vault.approvals import KeyWord, PasskeyWord, check_key_word, check_passkey_word, read_word
from server.vault.errors import Refused, VaultError
from server.vault.index import Entry, Passage, TagIndex
from server.vault.keyfile import VaultSecrets
from server.vault.log import AccessLog, Head, Line
from server.vault.looks import Claim, LooksOfPersons
from server.vault.masking import mask_id_number, mask_name, mask_phone
from server.vault.overlaps import LONGEST_STAY_MS, Meetings, Overlap, Seen, own_stays, touch
from server.vault.person import DAY_MS, Person, PersonKind, open_person, place_key
from server.vault.roster import Approver, Roster, read_roster
from server.vault.tagging import REUSED_WITHIN_MS, Tagger
from server.vault.wire import Identity, Indexed, LookLine, OpenedRow, Opening, OwnLooks, SealedRecord, reveals

CLOCK_SLACK_MS = 120_000  # how far the web's clock and ours may lie apart
MAX_CACHED_EPOCHS = 20_000  # opened epoch keys kept in memory, about 0.5 KB each: unwrapped once, used for a day
MAX_CHALLENGES = 1000  # handed out and not answered yet; the oldest are forgotten first
CHALLENGE_LIFE_MS = 15 * 60_000
MAX_TOLD = 200  # looks in one answer to a resident, the newest
OWN_GROUND = "个人信息保护法 第四十五条 (the person's own request)"  # V-29
_ROW_ID_BYTES = 12


@dataclass(frozen=True, slots=True)
class PasskeyRules:
    """Where passkeys are believed to be used, and for what."""

    relying_party: str
    origins: tuple[str, ...]
    may_unmask: bool = True


@dataclass(frozen=True, slots=True)
class Asker:
    """The process at the other end of the socket, by the kernel's word."""

    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class Approved:
    """A query that passed every check, and who vouches for it."""

    query: Query
    digest: bytes
    approver: Approver
    person: Person | None = field(repr=False)


class Vault:
    """The vault's state and its operations; one at a time, behind one lock."""

    def __init__(
        self, folder: Path, keys: VaultSecrets, *, now_ms: Callable[[], int], passkeys: PasskeyRules | None = None
    ) -> None:
        """Verify the folder's log and roster and be ready. Raises VaultError when either does not hold."""
        self._folder, self._keys, self._now_ms, self._passkeys = folder, keys, now_ms, passkeys
        self._signing = keys.signing_key()
        self._seal_keys = {key.key_id: key for key in (secret.load() for secret in keys.seal)}
        self._identity_keys = [(secret.public().key_id, secret.load()) for secret in keys.identity]
        self._checkin_keys = {secret.public().key_id: secret.load() for secret in keys.checkin}
        self._tagger = Tagger(keys, self._read)
        self._lock = threading.Lock()
        self._challenges: OrderedDict[bytes, int] = OrderedDict()  # -> when it was drawn
        self._openers: OrderedDict[tuple[bytes, bytes, bytes], EpochOpener] = OrderedDict()
        self._opened: dict[bytes, set[str]] = {}  # query digest -> the rows it has opened, over its whole life
        self._revoked: set[bytes] = set()  # query digests
        self._destroyed: set[bytes] = set()  # epochs
        self._roster_seen = (0, "")  # version and digest the log last spoke of
        self._log = AccessLog(folder, self._signing)
        try:
            for line in self._log.replay():
                self._remember(line)
            self._roster = self._fresh_roster()
            self._index = TagIndex(folder)
            self._index.forget(self._destroyed)  # we may have died between the log's line and this
            self._looks = LooksOfPersons(folder)
        except BaseException:
            self._log.close()
            raise
        self._log.append(now_ms(), "started", {"torn_bytes": self._log.torn_bytes})

    def close(self) -> None:
        """Note the end and let go of the files."""
        with self._lock:
            self._log.append(self._now_ms(), "stopped", {})
            self._log.close()
            self._index.close()
            self._looks.close()

    # -- what anybody on the socket may know -------------------------------------------------------------------------

    def fingerprint(self) -> bytes:
        """The 16 bytes by which this vault is pinned."""
        return self._keys.fingerprint()

    def head(self) -> Head:
        """Where the access log stands."""
        with self._lock:
            return self._log.head

    def counts(self) -> tuple[int, int, int]:
        """Tags held, records that could not be indexed, epochs destroyed."""
        with self._lock:
            return (*self._index.counts(), len(self._destroyed))

    def roster(self) -> Roster:
        """Who may approve, as of now."""
        with self._lock:
            self._roster = self._fresh_roster()
            return self._roster

    def log_lines(self, after: int, limit: int) -> list[str]:
        """Raw lines of the access log; they name staff, cases and record ids, and no resident."""
        with self._lock:
            return self._log.lines_after(after, limit)

    def signed_head(self) -> str:
        """The tree over the access log as of now, signed (protocol/tree_head.py). Keep it elsewhere, too."""
        with self._lock:
            return self._log.signed_head(self._now_ms())

    def prove(self, sequence: int) -> str:
        """That one line stands in the log, with the line; raises VaultError when there is none."""
        with self._lock:
            return self._log.prove(sequence, self._now_ms()).to_text()

    def prove_growth(self, old_size: int) -> str:
        """That the log continues what it was at *old_size* lines; raises VaultError when it never was."""
        with self._lock:
            return self._log.prove_growth(old_size, self._now_ms()).to_text()

    # -- indexing ----------------------------------------------------------------------------------------------------

    def marks(self, kiosks: Sequence[bytes]) -> dict[bytes, int]:
        """How far each kiosk's records are indexed."""
        with self._lock:
            return self._index.marks(kiosks)

    def index(self, records: Sequence[SealedRecord], marks: Mapping[bytes, int], asker: Asker) -> Indexed:
        """Open each record for its keyed tags only, which stay in here. The same record twice changes nothing.

        *marks* say up to which sequence each kiosk is dealt with by this batch. A record that does not open is noted as
        a problem and never stops the others.
        """
        with self._lock:
            entries: list[Entry] = []
            problems: list[tuple[bytes, int, str]] = []
            for record in records:
                try:
                    entries.append(self._tagger.entry(record, self._opener(record)))
                except ProtocolError as error:
                    problems.append((record.kiosk, record.sequence, error.code))
            tags = sum(len(entry.tags) for entry in entries)
            facts = {"records": len(records), "tags": tags, "problems": len(problems), "uid": asker.uid}
            self._log.append(self._now_ms(), "indexed", facts)
            self._index.add(entries, marks, problems, self._now_ms())
            return Indexed(len(records), tags, tuple(problems))

    def _persons(self, personal: Personal) -> set[Person]:
        """Everybody a passage names, in normal form; a helper by phone was there as well."""
        on_code, _ = self._identity_on_code(personal)
        found = (
            (PersonKind.ID_NUMBER, personal.id_number),
            (PersonKind.PHONE, personal.phone),
            (PersonKind.PHONE, personal.helper_phone),
            (PersonKind.ID_NUMBER, on_code.id_number if on_code else None),
            (PersonKind.PHONE, on_code.phone if on_code else None),
        )
        made = (Person.make(kind, text) for kind, text in found if text)
        return {person for person in made if person is not None}

    def _tag_key(self, kind: PersonKind) -> bytes:
        return self._keys.id_number_tags if kind is PersonKind.ID_NUMBER else self._keys.phone_tags

    # -- looks -------------------------------------------------------------------------------------------------------

    def find(self, query_bytes: bytes, approval: bytes, asker: Asker) -> tuple[list[tuple[bytes, int]], Head]:
        """The passages of the approved query's person within its scope, as (kiosk, sequence), at most its rows.

        Raises Refused, and logs that.
        """
        with self._lock:
            approved = self._checked(query_bytes, approval, asker)
            query, person = approved.query, approved.person
            if query.kind is not QueryKind.RECORDS:
                raise self._refusal(Refused("This query does not ask for records.", code="other_kind"), asker)
            if person is None:
                raise self._refusal(Refused("This query names no person to look for.", code="no_person"), asker)
            seen = self._seen(query, person)[: query.max_rows]
            found = [(one.kiosk, one.sequence) for one in seen]
            head = self._log.append(self._now_ms(), "found", {**self._about(approved, asker), "count": len(found)})
            self._looks.note([person.log_tag(self._keys.log_tags)], head.sequence)
            return found, head

    def reused(self, query_bytes: bytes, approval: bytes, asker: Asker) -> tuple[list[tuple[Passage, Passage]], Head]:
        """The approved query's pairs: one dynamic code, two kiosks of one venue (docs/decisions/0081).

        Only passages that were indexed before the query was made count: who reads the answer cannot have planted one
        for it. Raises Refused, and logs that.
        """
        with self._lock:
            approved = self._checked(query_bytes, approval, asker)
            if approved.query.kind is not QueryKind.REUSED_CODES:
                raise self._refusal(Refused("This query does not ask for reused codes.", code="other_kind"), asker)
            pairs = self._pairs(approved.query)
            told = [f"{a.hex()}:{m} {b.hex()}:{n}" for (a, m), (b, n) in pairs]
            facts = {**self._about(approved, asker), "kind": approved.query.kind.value, "pairs": told}
            return pairs, self._log.append(self._now_ms(), "found", {**facts, "count": len(pairs)})

    def overlaps(self, query_bytes: bytes, approval: bytes, asker: Asker) -> tuple[Meetings, Head]:
        """Where the approved query's person stayed, and who else was there (docs/decisions/0138).

        Only passages that were indexed before the query was made count. Raises Refused, and logs that.
        """
        with self._lock:
            approved = self._checked(query_bytes, approval, asker)
            person = approved.person
            if approved.query.kind is not QueryKind.OVERLAPS or person is None:
                raise self._refusal(Refused("This query does not ask who was there too.", code="other_kind"), asker)
            meetings = self._meetings(approved.query, person)
            told = [f"{other.stay}:{other.kiosk.hex()}:{other.sequence}" for other in meetings.others]
            facts = {**self._about(approved, asker), "kind": approved.query.kind.value, "others": told}
            head = self._log.append(self._now_ms(), "found", {**facts, "count": len(meetings.stays)})
            self._looks.note([person.log_tag(self._keys.log_tags)], head.sequence)
            return meetings, head

    def _seen(self, query: Query, person: Person) -> list[Seen]:
        """Where and when *person* passed within the query's scope, oldest first."""
        days = range(query.from_ms // DAY_MS, (query.to_ms - 1) // DAY_MS + 1)
        key = self._tag_key(person.kind)
        tags = (
            (venue, day, person.tag_under(place_key(key, venue, day))) for venue in set(query.venues) for day in days
        )
        return self._index.seen(tags, query.from_ms, query.to_ms)

    def _meetings(self, query: Query, person: Person) -> Meetings:
        seen = [one for one in self._seen(query, person) if one.indexed_ms < query.created_ms]
        own = own_stays(seen)
        room = query.max_rows // 2  # the person's own stays never fill the whole answer
        kept = [stay for number, stay in enumerate(own, 1) if sum(len(s.passages) for s in own[:number]) <= room]
        mine = {(self._index.number_of(one.kiosk), one.sequence) for one in seen}
        within_ms = query.within_minutes * 60_000
        at_place: dict[tuple[bytes, int], list[int]] = {}
        for number, stay in enumerate(kept):
            for day in range((stay.from_ms - within_ms) // DAY_MS, (stay.to_ms + within_ms) // DAY_MS + 1):
                at_place.setdefault((stay.venue, day), []).append(number)
        found: dict[tuple[int, int, int, int], tuple[int, int]] = {}  # stay, time, kiosk, sequence -> together, -apart
        for (venue, day), numbers in at_place.items():
            lowest = min(kept[n].from_ms for n in numbers) - within_ms
            highest = max(kept[n].to_ms for n in numbers) + within_ms
            # beyond the longest stay before and after nobody's stay can touch one of these
            start = max(query.from_ms, day * DAY_MS, lowest - LONGEST_STAY_MS)
            end = min(query.to_ms, (day + 1) * DAY_MS, highest + LONGEST_STAY_MS + 1)
            around = self._index.around(venue, day, (start, end), (lowest, highest), query.created_ms)
            their_own = {stay.tag for stay in around if stay.first in mine}
            for other in around:
                for number in numbers if other.tag not in their_own else ():
                    met = touch(kept[number].from_ms, kept[number].to_ms, other.from_ms, other.to_ms, within_ms)
                    if met is not None:
                        key = (number, other.from_ms, *other.first)  # once, though seen by ID number and by phone
                        found[key] = max(found.get(key, (0, -met[1])), (met[0], -met[1]))
        left = query.max_rows - sum(len(stay.passages) for stay in kept)
        others = [
            Overlap(number, self._index.kiosk_of(kiosk), sequence, *_positive(found[number, at_ms, kiosk, sequence]))
            for number, at_ms, kiosk, sequence in sorted(found)[:left]
        ]
        return Meetings(tuple(kept), tuple(others), len(kept) < len(own) or len(found) > left)

    def _pairs(self, query: Query) -> list[tuple[Passage, Passage]]:
        return self._index.reused(
            query.venues, query.from_ms, query.to_ms, REUSED_WITHIN_MS, query.created_ms, query.max_rows // 2
        )

    def open(self, query_bytes: bytes, approval: bytes, records: Sequence[SealedRecord], asker: Asker) -> Opening:
        """Open *records* for the approved query: only what lies in its scope, and of that only what it may reveal.

        The access log holds the look, on the disk, before this returns. Raises Refused, and logs that, when the query
        or its approval does not hold or its row limit is reached; a single record that may not be opened is listed
        as refused.
        """
        with self._lock:
            approved = self._checked(query_bytes, approval, asker)
            only = self._only(approved)
            rows: list[OpenedRow] = []
            refused: list[tuple[bytes, int, str]] = []
            row_ids: list[str] = []
            tags: set[bytes] = set()
            for record in records:
                try:
                    # (9) the header is the one that was sealed (associated data), (10) it lies in scope
                    header, personal = self._open_record(record)
                    self._check_scope(header, personal, approved)
                    if only is not None and (record.kiosk, record.sequence) not in only:
                        is_reuse = approved.query.kind is QueryKind.REUSED_CODES
                        code = "not_reused" if is_reuse else "not_overlapping"
                        raise Refused("The record is none that this query has found.", code=code)
                except (ProtocolError, Refused) as error:
                    refused.append((record.kiosk, record.sequence, error.code))
                    continue
                rows.append(self._visible(record, personal, reveals(approved.query.reveal)))
                row_ids.append(_row_id(record))
                tags.update(person.log_tag(self._keys.log_tags) for person in self._persons(personal))
            # (11) the limit counts every passage this query has ever opened
            opened = self._opened.get(approved.digest, set()) | set(row_ids)
            if len(opened) > approved.query.max_rows:
                reason = f"The query may open {approved.query.max_rows} records, and this would be {len(opened)}."
                raise self._refusal(Refused(reason, code="row_limit"), asker, approved)
            # (12) the look is on the disk before anything of it leaves
            head = self._log.append(
                self._now_ms(),
                "opened",
                {
                    **self._about(approved, asker),
                    "rows": row_ids,
                    "passages": [f"{row.kiosk.hex()}:{row.sequence}" for row in rows],
                    "refused": [f"{kiosk.hex()}:{sequence}:{code}" for kiosk, sequence, code in refused],
                },
            )
            self._opened[approved.digest] = opened
            self._looks.note(tags, head.sequence)  # before the answer leaves: a crash here has shown nobody anything
            proof = self._log.prove(head.sequence, self._now_ms()).to_text()
            return Opening(tuple(rows), tuple(refused), head, proof)

    def _only(self, approved: Approved) -> frozenset[Passage] | None:
        """The only passages that the query may open; None when its scope says it all."""
        if approved.query.kind is QueryKind.REUSED_CODES:
            return frozenset(passage for pair in self._pairs(approved.query) for passage in pair)
        if approved.query.kind is QueryKind.OVERLAPS and approved.person is not None:
            return self._meetings(approved.query, approved.person).passages()
        return None

    def _checked(self, query_bytes: bytes, approval: bytes, asker: Asker) -> Approved:
        """Check a query and its approval; the numbers continue in `open`. Raises Refused, and logs that.

        (1) our own clock is sane; (2) the query decodes, within the bounds of protocol/query.py, narrower ones for
        somebody's own venue; (3) now lies in its
        life; (4) it was not revoked; (5) the approval names somebody of our own roster who is not the requester; (6) a
        key of theirs, not revoked, is good for this purpose; (7) its signature covers this very query, and says yes;
        (8) the person asked for was sealed for this query.
        """
        query: Query | None = None
        try:
            # (1)
            now = self._now_ms()
            if now < self._log.newest_ms - CLOCK_SLACK_MS:
                raise Refused("The vault's clock stands before its newest log line.", code="clock_went_back")
            # (2)
            query = Query.from_bytes(query_bytes)
            if query.to_bytes() != query_bytes:
                raise Refused("The query is not in its canonical form.", code="not_canonical")
            if problem := own_venue_problem(query):
                raise Refused(problem, code="own_venue")
            digest = query.digest()
            # (3)
            if now >= query.expires_ms:
                raise Refused("The query has expired.", code="expired")
            if now < query.created_ms - CLOCK_SLACK_MS:
                raise Refused("The query begins in the future.", code="not_yet")
            # (4)
            if digest in self._revoked:
                raise Refused("The query was revoked.", code="revoked")
            # (5)
            word = read_word(approval)
            self._roster = self._fresh_roster()
            entries = self._roster.keys_of(word.approver)
            if not entries:
                raise Refused("The approver is not in the vault's roster.", code="unknown_approver")
            if word.approver.casefold() == query.requester.casefold():
                raise Refused("Nobody approves their own query.", code="own_query")
            # (6) and (7)
            approver = self._vouching(word, entries, query, digest, now)
            # (8)
            person = None if query.person is None else open_person(query.person, query.query_id, self._identity_keys)
        except (ProtocolError, Refused) as error:
            raise self._refusal(error, asker, query) from error
        return Approved(query, digest, approver, person)

    def _vouching(
        self, word: KeyWord | PasskeyWord, entries: Sequence[Approver], query: Query, digest: bytes, now: int
    ) -> Approver:
        """The roster's entry whose key signed; raises ProtocolError or Refused with the best reason there is."""
        problem: ProtocolError | None = None
        for entry in entries:
            try:
                self._check_word(word, entry, digest, query, now)
            except ProtocolError as error:
                problem = problem or error
                continue
            if entry.revoked_ms is not None:
                raise Refused("The approver's key was revoked.", code="key_revoked")
            if query.purpose not in entry.purposes:
                raise Refused("The approver may not approve this purpose.", code="wrong_purpose")
            return entry
        raise problem or Refused("The approver has no key of this kind.", code="bad_signature")

    def _check_word(self, word: KeyWord | PasskeyWord, entry: Approver, digest: bytes, query: Query, now: int) -> None:
        if word.approver != entry.name:
            raise ProtocolError("approval: the name is not written as in the roster", code="other_approver")
        if isinstance(word, PasskeyWord):
            if query.kind is not QueryKind.RECORDS:
                # a passkey signs no time: an approval got beforehand would let passages be planted until "made at"
                raise Refused("This kind of search needs an approval key, not a passkey.", code="needs_key_here")
            if self._passkeys is None or not entry.key.credential_id:
                raise ProtocolError("approval: the approver has no passkey here", code="bad_signature")
            check_passkey_word(
                word, entry.key, digest, relying_party=self._passkeys.relying_party, origins=self._passkeys.origins
            )
            if reveals(query.reveal) and not self._passkeys.may_unmask:
                raise Refused("Full values need an approval key, not a passkey.", code="needs_approval_key")
            return
        if entry.key.credential_id:
            raise ProtocolError("approval: the approver has no approval key here", code="bad_signature")
        approval = check_key_word(word, entry.key, digest)
        if not approval.approved:
            raise Refused("The approver refused this query.", code="not_approved")
        if not query.created_ms - CLOCK_SLACK_MS <= approval.at_ms <= min(now + CLOCK_SLACK_MS, query.expires_ms):
            raise Refused("The approval's time lies outside the query's life.", code="bad_time")

    def _check_scope(self, header: Header, personal: Personal, approved: Approved) -> None:
        query = approved.query
        if header.place.venue not in query.venues:
            raise Refused("The record belongs to another venue.", code="other_venue")
        if not query.from_ms <= header.stamp.at_ms < query.to_ms:
            raise Refused("The record lies outside the period.", code="other_period")
        is_of_person = query.kind is QueryKind.RECORDS and approved.person is not None
        if is_of_person and approved.person not in self._persons(personal):
            raise Refused("The record is of another person.", code="other_person")

    # -- who looked at mine ------------------------------------------------------------------------------------------

    def challenge(self) -> bytes:
        """Sixteen fresh bytes that one sealed word may answer within a quarter of an hour."""
        with self._lock:
            drawn = secrets.token_bytes(CHALLENGE_BYTES)
            self._challenges[drawn] = self._now_ms()
            if len(self._challenges) > MAX_CHALLENGES:
                self._challenges.popitem(last=False)
            return drawn

    def own_looks(self, challenge: bytes, persons: Sequence[bytes], sealed_word: bytes, asker: Asker) -> OwnLooks:
        """The log's lines that concern *persons* (one resident's numbers, sealed for this challenge), newest first.

        (1) the challenge is ours and unused; (2) the word and the persons were sealed for it; (3) for each person the
        word is the one they chose when they first asked, or becomes it; (4) the answer is in the log before it leaves.
        Raises Refused when it holds for none of them.
        """
        with self._lock:
            now = self._now_ms()
            try:
                drawn_ms = self._challenges.pop(challenge, None)  # (1)
                if drawn_ms is None or now - drawn_ms > CHALLENGE_LIFE_MS:
                    raise Refused("The page was open for too long, or was answered before.", code="old_challenge")
                word = open_word(sealed_word, challenge, self._checkin_keys)  # (2)
                asked = [open_person(sealed, challenge, self._identity_keys) for sealed in persons]
            except (ProtocolError, Refused) as error:
                raise self._refusal(error, asker) from error
            held: list[bytes] = []
            problems: list[Claim] = []
            for person in asked:  # (3)
                tag = person.log_tag(self._keys.log_tags)
                claim = self._looks.claim(tag, word, now)
                if claim is Claim.NEW:
                    self._log.append(now, "word_chosen", {"person": tag.hex(), "uid": asker.uid, "pid": asker.pid})
                if claim in {Claim.NEW, Claim.HOLDS}:
                    held.append(tag)
                else:
                    problems.append(claim)
            if not held:
                code = problems[0].value if problems else "no_person"
                raise self._refusal(Refused("The word is not the one chosen for this person.", code=code), asker)
            found = [line for number in self._looks.lines(held, MAX_TOLD) if (line := self._look_line(number))]
            facts = {"persons": [tag.hex() for tag in held], "count": len(found), "ground": OWN_GROUND}
            head = self._log.append(now, "told", {**facts, "uid": asker.uid, "pid": asker.pid})  # (4)
            return OwnLooks(tuple(found), tuple(problem.value for problem in problems), head)

    def _look_line(self, number: int) -> LookLine | None:
        """One look as the person concerned may see it; the case reference stays with those who work on it."""
        raw = self._log.lines_after(number - 1, 1)
        if not raw:  # a log put back from an older copy; the data officer's page says so
            return None
        body = json.loads(raw[0])
        facts = body["facts"]
        return LookLine(
            number, body["at_ms"], body["event"], facts["requester"], facts["purpose"], facts["ground"], facts["reveal"]
        )

    def note_too_many(self, what: str, seconds: float, asker: Asker) -> None:
        """Log that *asker* was refused so often that it is not listened to for *seconds*."""
        with self._lock:
            facts = {"what": what, "seconds": round(seconds), "uid": asker.uid, "pid": asker.pid}
            self._log.append(self._now_ms(), "too_many", facts)

    # -- the end of a query, the end of records ----------------------------------------------------------------------

    def revoke(self, digest: bytes, asker: Asker) -> Head:
        """Never open anything for this query again."""
        with self._lock:
            head = self._log.append(self._now_ms(), "revoked", {"digest": digest.hex(), "uid": asker.uid})
            self._revoked.add(digest)
            return head

    def destroy(self, epochs: Sequence[bytes], asker: Asker) -> tuple[int, Head]:
        """Never open a record of these epochs again, whoever brings a wrapped key back, and delete their tags.

        Returns the number of deleted tags. It is a promise of this vault and its log. Against whoever holds the vault's
        key file, its passphrase and an old backup of the server, only a key rotation and `gatehouse vault forget` help.
        """
        with self._lock:
            listed = [epoch.hex() for epoch in epochs]
            head = self._log.append(self._now_ms(), "destroyed", {"epochs": listed, "uid": asker.uid})
            self._destroyed.update(epochs)
            for key in [key for key in self._openers if key[1] in self._destroyed]:
                del self._openers[key]
            return self._index.forget(epochs), head

    # -- inner parts -------------------------------------------------------------------------------------------------

    def _open_record(self, record: SealedRecord) -> tuple[Header, Personal]:
        """Open one record; raises ProtocolError when any part of it is not what the kiosk sealed."""
        return self._read(record, self._opener(record).open(record.sequence, record.header, record.sealed))

    def _opener(self, record: SealedRecord) -> EpochOpener:
        """What opens the record's epoch, its key unwrapped once; raises ProtocolError."""
        if record.epoch in self._destroyed:
            raise ProtocolError("record: its epoch was destroyed", code="destroyed")
        if not record.sealed:
            raise ProtocolError("record: an event holds no person", code="no_person")
        key = (record.kiosk, record.epoch, record.wrapped)
        opener = self._openers.get(key)
        if opener is None:
            opener = EpochOpener.unwrap(record.kiosk, record.epoch, record.wrapped, self._seal_keys)
            self._openers[key] = opener
            if len(self._openers) > MAX_CACHED_EPOCHS:
                self._openers.popitem(last=False)
        return opener

    def _read(self, record: SealedRecord, clear: bytes) -> tuple[Header, Personal]:
        """Both halves of an opened record, each checked in full; raises ProtocolError."""
        header = Header.from_bytes(record.header)
        if header.facts is None or header.sequence != record.sequence or header.place.kiosk != record.kiosk:
            raise ProtocolError("record: its header is of another record", code="foreign_header")
        if header.facts.mode is EntryMode.PHONE:
            checkin = Checkin.from_bytes(clear)
            checkin.check_belongs(header)
            return header, checkin.open(self._checkin_keys)
        return header, Personal.from_bytes(clear)

    def _identity_on_code(self, personal: Personal) -> tuple[Identity | None, str | None]:
        """What the issuer sealed on the code, and a note when that does not open."""
        if personal.identity_sealed is None:
            return None, None
        info = identity_info(personal.cti or b"", personal.pseudonym)
        for _, private in self._identity_keys:
            try:
                identity = open_identity(personal.identity_sealed, private, info=info)
            except ProtocolError:
                continue
            return Identity(identity.name, identity.id_number, identity.phone), None
        return None, "identity_unreadable"

    def _visible(self, record: SealedRecord, personal: Personal, full: frozenset[Reveal]) -> OpenedRow:
        on_code, note = self._identity_on_code(personal)
        helper = Identity(personal.helper_name, None, personal.helper_phone)
        temperature = personal.temperature if Reveal.TEMPERATURE in full else None
        return OpenedRow(
            record.kiosk,
            record.sequence,
            stated=_masked(Identity(personal.name, personal.id_number, personal.phone), full),
            on_code=None if on_code is None else _masked(on_code, full),
            helper=None if helper == Identity() else _masked(helper, full),
            relation=personal.relation,
            document=personal.document,
            body_celsius=None if temperature is None else temperature.body_celsius,
            note=note,
        )

    def _about(self, approved: Approved, asker: Asker) -> dict[str, object]:
        query = approved.query
        person = approved.person
        return {
            "query": query.query_id.hex(),
            "digest": approved.digest.hex(),
            "requester": query.requester,
            "approver": approved.approver.name,
            "key": approved.approver.key.fingerprint().hex(),
            "purpose": query.purpose.value,
            "case": query.case_reference,
            "ground": query.legal_ground,
            "reveal": [r.value for r in query.reveal],
            "person": None if person is None else person.log_tag(self._keys.log_tags).hex(),
            "uid": asker.uid,
            "pid": asker.pid,
        }

    def _refusal(
        self, error: ProtocolError | GatehouseError, asker: Asker, about: Query | Approved | None = None
    ) -> Refused:
        """Log a refusal and give back what to raise. What could not be verified is logged as claimed, not as true."""
        query = about.query if isinstance(about, Approved) else about
        claimed = {} if query is None else {"query": query.query_id.hex(), "requester": query.requester}
        facts = {"code": error.code, "claimed": claimed, "uid": asker.uid, "pid": asker.pid}
        self._log.append(self._now_ms(), "refused", facts)
        return Refused(error.message, code=error.code)

    def _fresh_roster(self) -> Roster:
        """The roster from its file, when it is no older than the one the log knows; raises VaultError."""
        roster, digest = read_roster(self._folder, self._signing.public_key())
        version, seen = self._roster_seen
        if (roster.version, digest) == (version, seen):
            return roster
        if roster.version <= version:
            raise VaultError(
                f"The roster is of version {roster.version}; the access log has seen version {version}.",
                hint="Somebody put an old roster back. Nothing can be opened until the right one is restored.",
                code="roster_rolled_back",
            )
        in_force = sum(1 for a in roster.approvers if a.revoked_ms is None)
        facts = {"version": roster.version, "digest": digest, "in_force": in_force}
        self._log.append(self._now_ms(), "roster", facts)
        self._roster_seen = (roster.version, digest)
        return roster

    def _remember(self, line: Line) -> None:
        """Take from one line of the verified log what has to be known later."""
        if line.event == "opened":
            self._opened.setdefault(bytes.fromhex(line.facts["digest"]), set()).update(line.facts["rows"])
        elif line.event == "revoked":
            self._revoked.add(bytes.fromhex(line.facts["digest"]))
        elif line.event == "destroyed":
            self._destroyed.update(bytes.fromhex(epoch) for epoch in line.facts["epochs"])
        elif line.event == "roster":
            self._roster_seen = (line.facts["version"], line.facts["digest"])


def _masked(identity: Identity, full: frozenset[Reveal]) -> Identity:
    def show(value: str | None, reveal: Reveal, mask: Callable[[str], str]) -> str | None:
        return value if value is None or reveal in full else mask(value)

    return Identity(
        show(identity.name, Reveal.NAME, mask_name),
        show(identity.id_number, Reveal.ID_NUMBER, mask_id_number),
        show(identity.phone, Reveal.PHONE, mask_phone),
    )


def _row_id(record: SealedRecord) -> str:
    """Names one record's exact bytes, so that a second record under the same number counts as a second row."""
    parts = hashlib.sha256(record.header).digest() + hashlib.sha256(record.sealed).digest()
    return hashlib.sha256(b"gatehouse row 1" + record.kiosk + record.epoch + parts).hexdigest()[: 2 * _ROW_ID_BYTES]


def _positive(met: tuple[int, int]) -> tuple[int, int]:
    together_ms, minus_apart_ms = met
    return together_ms, -minus_apart_ms
