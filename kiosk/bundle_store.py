"""The last good bundle on disk: checked as a whole, swapped in at once, kept until a better one is there.

bundle/parts/SHA256   the parts, by digest
bundle/manifest.cbor  the signed manifest; its rename is the swap
bundle/confirmed      when the server last said that this is the current one, in milliseconds by its clock
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from config.files import write_whole
from kiosk.enrol import Enrolment
from protocol import cbor, status_list
from protocol.bundle import MAX_PART_BYTES, Manifest, Part, PlaceNames
from protocol.credentials.rules import RuleSet, rule_set_from_bytes
from protocol.credentials.value_sets import value_sets_from_bytes
from protocol.errors import ProtocolError
from protocol.notice import Notice, notices_from_bytes
from protocol.policy import EntryPolicy
from protocol.profile import Mode, Profile, VenueRules, pick, profiles_from_bytes
from protocol.staff import StaffList, badges_from_bytes
from protocol.status_list import StatusList, StatusLists, VenueSerials
from protocol.trust import TrustList
from protocol.vault_keys import VaultKeys

MANIFEST, PARTS, CONFIRMED = "manifest.cbor", "parts", "confirmed"
NEEDED = frozenset(
    {"trust", "status", "policy", "vault", "place", "staff"}
)  # older servers give no others; later ones may
CONFIRM_EVERY_S = 600.0  # how often the note "still current" is written; a memory card does not last for ever


class BundleError(ProtocolError):
    """A bundle that is not taken; the last good one stays. Codes: other_kiosk, older, missing_part, wrong_part,
    bad_part."""

    code = "bad_part"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as values; every one of them was verified."""

    version: int
    issued_at_ms: int
    trust: TrustList
    status: StatusLists
    policy: EntryPolicy
    vault: VaultKeys
    place: PlaceNames
    staff: StaffList
    badges: Mapping[bytes, str] = field(default_factory=dict)  # id on a badge -> id of a member of staff
    rules: RuleSet | None = None  # business rules over foreign certificates; None: the place has none
    profile: Profile = Profile("", Mode.NORMAL, EntryPolicy())  # of this venue's kind, in the mode in force
    venue: VenueRules = VenueRules()
    notices: tuple[Notice, ...] = ()


class BundleStore:
    """The bundle of one kiosk in one folder. Safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        enrolment: Enrolment,
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open *folder* and read the last good bundle, if there is one; damage is noted in `trouble`, never raised."""
        self._folder, self._enrolment = folder, enrolment
        self._wall_ms, self._steady_s = wall_ms, steady_s
        self._lock = threading.Lock()
        self._held: Bundle | None = None
        self._confirmed_ms = 0
        self._confirmed_s: float | None = None  # by the steady clock; None: not in this process
        self._written_s: float | None = None
        self.trouble: str | None = None  # code of what was wrong with the bundle on disk
        self._load()

    @property
    def held(self) -> Bundle | None:
        """The bundle in force, or None before the first."""
        return self._held

    @property
    def version(self) -> int:
        """Its version; 0 before the first."""
        return self._held.version if self._held else 0

    def age_s(self) -> int:
        """Seconds since the server last said that this bundle is the current one; 0 when there is none.

        By the steady clock within a process. After a restart by the wall clock, and never negative: a clock that
        stands before the last confirmation says nothing of age.
        """
        if self._held is None:
            return 0
        if self._confirmed_s is not None:
            return int(self._steady_s() - self._confirmed_s)
        return max(0, self._wall_ms() - self._confirmed_ms) // 1000

    def confirm(self, server_ms: int) -> None:
        """The server said that the held bundle is current; *server_ms* is the time in its verified answer."""
        now_s = self._steady_s()
        self._confirmed_ms, self._confirmed_s = server_ms, now_s
        if self._held is not None and (self._written_s is None or now_s - self._written_s > CONFIRM_EVERY_S):
            write_whole(self._folder / CONFIRMED, str(server_ms).encode())
            self._written_s = now_s

    def wanted(self, signed_manifest: bytes) -> tuple[Part, ...]:
        """The parts of a new manifest that are not on disk yet. Raises ProtocolError when it may not be taken."""
        return tuple(part for part in self._checked(signed_manifest).parts if self._part(part) is None)

    def swap_in(self, signed_manifest: bytes, fetched: Mapping[bytes, bytes], server_ms: int) -> Bundle:
        """Verify the whole bundle, *fetched* holding new parts by digest, and put it in the place of the old one.

        The steps: (1) the manifest is ours and newer, (2) every part has its digest, (3) every part can be read,
        (4) parts to disk, (5) the manifest's rename, (6) parts of the old bundle go. Raises ProtocolError for bytes
        that are not taken and OSError for the disk; in both cases the old bundle stays in force.
        """
        manifest = self._checked(signed_manifest)  # (1)
        parts: dict[str, bytes] = {}
        for part in manifest.parts:  # (2)
            data = fetched.get(part.digest) if part.digest in fetched else self._part(part)
            if data is None:
                raise BundleError(f"bundle: the part {part.name} did not come", code="missing_part")
            if len(data) != part.size or hashlib.sha256(data).digest() != part.digest:
                raise BundleError(f"bundle: the part {part.name} is not the one in the manifest", code="wrong_part")
            parts[part.name] = data
        bundle = self._read(manifest, parts)  # (3)
        with self._lock:
            (self._folder / PARTS).mkdir(parents=True, exist_ok=True)
            for part in manifest.parts:  # (4)
                if part.digest in fetched:
                    write_whole(self._path(part.digest), parts[part.name])
            write_whole(self._folder / MANIFEST, signed_manifest)  # (5)
            self._held, self.trouble = bundle, None
            self._written_s = None
            self._sweep({part.digest.hex() for part in manifest.parts})  # (6)
        self.confirm(server_ms)
        return bundle

    def _checked(self, signed_manifest: bytes) -> Manifest:
        manifest = Manifest.from_signed(signed_manifest, self._enrolment.server)
        if manifest.kiosk != self._enrolment.kiosk:
            raise BundleError("bundle: it is another kiosk's", code="other_kiosk")
        if manifest.version < self.version:
            raise BundleError(f"bundle: version {manifest.version} is older than {self.version}", code="older")
        missing = NEEDED - {part.name for part in manifest.parts}
        if missing:
            raise BundleError(f"bundle: it lacks {', '.join(sorted(missing))}", code="missing_part")
        return manifest

    def _read(self, manifest: Manifest, parts: Mapping[str, bytes]) -> Bundle:
        trust = TrustList.from_signed(parts["trust"], self._enrolment.server_key)
        lists = cbor.decode_strict(parts["status"], max_bytes=MAX_PART_BYTES)
        if not isinstance(lists, list) or not all(isinstance(item, bytes) for item in lists):
            raise BundleError("bundle: the status part is not a list of signed lists")
        place = PlaceNames.from_bytes(parts["place"])
        if place.venue != self._enrolment.venue:
            raise BundleError("bundle: it is for another venue", code="other_kiosk")
        vault = VaultKeys.from_signed(parts["vault"], self._enrolment.vault_fingerprint)
        try:
            vault.seal[0].load()
        except ValueError as error:
            raise BundleError("bundle: the vault's sealing key cannot be used") from error
        policy = EntryPolicy.from_bytes(parts["policy"])
        venue = VenueRules.from_bytes(parts["venue"]) if "venue" in parts else VenueRules()
        profiles = profiles_from_bytes(parts["profiles"]) if "profiles" in parts else ()
        return Bundle(
            manifest.version,
            manifest.issued_at_ms,
            trust,
            StatusLists.of(_known(lists, trust)),
            policy,
            vault,
            place,
            StaffList.from_bytes(parts["staff"]),
            badges_from_bytes(parts["badges"]) if "badges" in parts else {},
            _rules(parts),
            pick(profiles, place.category, venue.mode, policy),
            venue,
            notices_from_bytes(parts["notices"]) if "notices" in parts else (),
        )

    def _load(self) -> None:
        try:
            signed_manifest = (self._folder / MANIFEST).read_bytes()
        except FileNotFoundError:
            return
        except OSError:
            self.trouble = "disk"
            return
        try:
            manifest = self._checked(signed_manifest)
            parts = {part.name: self._part(part) for part in manifest.parts}
            whole = {name: data for name, data in parts.items() if data is not None}
            if len(whole) != len(parts):
                raise BundleError("bundle: a part is gone from the disk or damaged", code="missing_part")
            self._held = self._read(manifest, whole)
        except (ProtocolError, OSError) as error:
            self.trouble = getattr(error, "code", "disk")
            return
        try:
            self._confirmed_ms = int((self._folder / CONFIRMED).read_bytes())
        except (OSError, ValueError):
            self._confirmed_ms = self._held.issued_at_ms

    def _part(self, part: Part) -> bytes | None:
        """The part from disk, if it is there whole."""
        try:
            data = self._path(part.digest).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).digest() == part.digest else None

    def _path(self, digest: bytes) -> Path:
        return self._folder / PARTS / digest.hex()

    def _sweep(self, keep: set[str]) -> None:
        for path in (self._folder / PARTS).iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)


def _rules(parts: Mapping[str, bytes]) -> RuleSet | None:
    """The rules over certificates with the agreed lists that came beside them. Raises ProtocolError."""
    if "rules" not in parts:
        return None
    rules = rule_set_from_bytes(parts["rules"])
    agreed = value_sets_from_bytes(parts["value_sets"]) if "value_sets" in parts else None
    return replace(rules, agreed=agreed)


def _known(lists: list[bytes], trust: TrustList) -> Iterator[StatusList | VenueSerials]:
    """The signed *lists*, without those about something that only a later version knows. Raises StatusError."""
    for item in lists:
        try:
            yield status_list.from_signed(item, trust)
        except status_list.UnknownPurpose:
            continue
