"""One dynamic code at two kiosks: found for a signed query, and for nobody and nothing else (decision 0081)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from protocol.credentials.identity import Identity, identity_info, seal_identity
from protocol.errors import ProtocolError
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp
from protocol.query import MAX_REUSED_SPAN_MS, Query, QueryKind
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome
from server.vault.client import VaultClient
from server.vault.errors import Refused
from server.vault.index import CODES_KEPT_MS, INDEX_FILE
from server.vault.opening import REUSED_WITHIN_MS, Asker, Vault
from server.vault.wire import SealedRecord
from tests.server.vault.test_forged_approvals import FORGERIES
from tests.server.vault.world import ID_NUMBER, NAME, OTHER_VENUE, PHONE, VENUE, Kiosk, World, now_ms

ASKER = Asker(1, 1)
MINUTE = 60_000
DAY = 86_400_000
T = (now_ms() // DAY) * DAY - DAY + 12 * 3_600_000  # yesterday noon


@dataclass
class Code:
    """A dynamic code that somebody shows, and perhaps hands on."""

    cti: bytes
    pseudonym: bytes

    @staticmethod
    def fresh() -> Code:
        return Code(secrets.token_bytes(8), secrets.token_bytes(8))

    def shown_at(
        self,
        kiosk: Kiosk,
        at_ms: int,
        *,
        venue: bytes = VENUE,
        direction: Direction = Direction.IN,
        outcome: Outcome = Outcome.ADMIT,
        credential: CredentialKind = CredentialKind.HEALTH_CODE,
    ) -> SealedRecord:
        info = identity_info(self.cti, self.pseudonym)
        sealed = seal_identity(Identity(NAME, ID_NUMBER, PHONE), kiosk.keys.identity[0].load(), info=info)
        personal = Personal(name="欧*明", pseudonym=self.pseudonym, cti=self.cti, identity_sealed=sealed)
        if kiosk.sealer is None:
            kiosk.start_epoch()
        assert kiosk.sealer
        kiosk.sequence += 1
        facts = Facts(direction, EntryMode.SCAN, credential, Colour.GREEN, Measured.NORMAL, outcome, (), 1, 5)
        stamp = Stamp(at_ms, 1000, bytes(8), ClockConfidence.SYNCED)
        header = Header(kiosk.sequence, Place(kiosk.id, venue, 1), stamp, facts=facts).to_bytes()
        body = kiosk.sealer.seal(kiosk.sequence, header, personal.to_bytes())
        return SealedRecord(kiosk.id, kiosk.sealer.epoch, kiosk.sealer.wrapped, kiosk.sequence, header, body)


@dataclass
class Bench:
    """A vault with a clock that the test moves."""

    world: World
    vault: Vault
    at_ms: int

    def index(self, *records: SealedRecord) -> None:
        assert not self.vault.index(records, {r.kiosk: r.sequence for r in records}, ASKER).problems

    def query(self, **changes: object) -> Query:
        fields = {
            "kind": QueryKind.REUSED_CODES,
            "from_ms": T - DAY,
            "to_ms": T + DAY,
            "created_ms": self.at_ms,
            "expires_ms": self.at_ms + 3_600_000,
        }
        return self.world.query(**{**fields, **changes})

    def pairs(self, **changes: object) -> list[tuple[tuple[bytes, int], tuple[bytes, int]]]:
        self.at_ms += 1000
        query = self.query(**changes)
        found, _ = self.vault.reused(query.to_bytes(), self.world.approve(query, at_ms=self.at_ms), ASKER)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    world = World.make(tmp_path / "v")
    made = Bench.__new__(Bench)
    made.world, made.at_ms = world, now_ms() + 1000
    made.vault = Vault(world.folder, world.secrets, now_ms=lambda: made.at_ms)
    yield made
    made.vault.close()


def test_a_code_handed_on_is_found_for_a_signed_query(bench: Bench) -> None:
    east, west, code = bench.world.kiosk(), bench.world.kiosk(), Code.fresh()
    first, second = code.shown_at(east, T), code.shown_at(west, T + 2 * MINUTE)
    bench.index(first, second, Code.fresh().shown_at(west, T + 3 * MINUTE))
    assert bench.pairs() == [((east.id, 1), (west.id, 1))]
    line = [line for line in bench.vault.log_lines(0, 100) if '"found"' in line][-1]
    assert f"{east.id.hex()}:1 {west.id.hex()}:1" in line and '"reused_codes"' in line and NAME not in line


@pytest.mark.parametrize(
    ("apart_ms", "is_found"),
    [(0, True), (5 * MINUTE, True), (REUSED_WITHIN_MS, True), (REUSED_WITHIN_MS + 1, False), (DAY // 2, False)],
)
def test_only_uses_within_a_codes_life_are_pairs(bench: Bench, apart_ms: int, is_found: bool) -> None:
    code = Code.fresh()
    bench.index(code.shown_at(bench.world.kiosk(), T), code.shown_at(bench.world.kiosk(), T + apart_ms))
    assert len(bench.pairs()) == int(is_found)


def test_midnight_parts_no_pair(bench: Bench) -> None:
    code, midnight = Code.fresh(), (T // DAY) * DAY
    bench.index(
        code.shown_at(bench.world.kiosk(), midnight - MINUTE), code.shown_at(bench.world.kiosk(), midnight + MINUTE)
    )
    assert len(bench.pairs()) == 1


@pytest.mark.parametrize(
    "second",
    [
        {"direction": Direction.OUT},  # in here, out there
        {"venue": OTHER_VENUE},  # next door
        {"credential": CredentialKind.PAPER_CODE},
    ],
)
def test_what_is_no_reuse_is_no_pair(bench: Bench, second: dict[str, object]) -> None:
    code = Code.fresh()
    bench.index(
        code.shown_at(bench.world.kiosk(), T),
        code.shown_at(bench.world.kiosk(), T + MINUTE, **second),  # type: ignore[arg-type]
    )
    assert bench.pairs(venues=(VENUE, OTHER_VENUE)) == []


def test_who_was_turned_away_may_try_the_other_gate(bench: Bench) -> None:
    code, east = Code.fresh(), bench.world.kiosk()
    bench.index(code.shown_at(east, T, outcome=Outcome.HOLD), code.shown_at(bench.world.kiosk(), T + MINUTE))
    bench.index(code.shown_at(east, T + 2 * MINUTE, outcome=Outcome.HOLD))
    assert len(bench.pairs()) == 1  # let in at the second gate, and then tried at the first once more


def test_two_times_at_one_kiosk_is_the_kiosks_own_matter(bench: Bench) -> None:
    code, east = Code.fresh(), bench.world.kiosk()
    bench.index(code.shown_at(east, T), code.shown_at(east, T + MINUTE))
    assert bench.pairs() == []


def test_a_record_planted_after_the_query_tells_nothing(bench: Bench) -> None:
    """A broken-in web server knows the codes it issues, and sealing takes a public key only."""
    code, query = Code.fresh(), None
    bench.index(code.shown_at(bench.world.kiosk(), T))
    bench.at_ms += 1000
    query = bench.query()
    approval = bench.world.approve(query, at_ms=bench.at_ms)
    bench.at_ms += 1000
    bench.index(code.shown_at(bench.world.kiosk(), T + MINUTE))  # planted, now that there is a signature
    assert bench.vault.reused(query.to_bytes(), approval, ASKER)[0] == []


def test_the_query_opens_its_pairs_and_no_other_record(bench: Bench) -> None:
    east, west, code = bench.world.kiosk(), bench.world.kiosk(), Code.fresh()
    first, second = code.shown_at(east, T), code.shown_at(west, T + MINUTE)
    innocent = Code.fresh().shown_at(west, T + 2 * MINUTE)
    bench.index(first, second, innocent)
    bench.at_ms += 1000
    query = bench.query()
    approval = bench.world.approve(query, at_ms=bench.at_ms)
    opening = bench.vault.open(query.to_bytes(), approval, [first, second, innocent], ASKER)
    assert [row.sequence for row in opening.rows] == [1, 1]
    assert [code for *_, code in opening.refused] == ["not_reused"]
    on_code = opening.rows[0].on_code
    assert on_code is not None and on_code.name == "欧**明" and on_code.id_number != ID_NUMBER


def test_destroyed_and_old_uses_are_gone(bench: Bench) -> None:
    east, west, code = bench.world.kiosk(), bench.world.kiosk(), Code.fresh()
    first, second = code.shown_at(east, T), code.shown_at(west, T + MINUTE)
    bench.index(first, second)
    bench.vault.destroy([first.epoch], ASKER)
    assert bench.pairs() == []
    bench.index(code.shown_at(bench.world.kiosk(), T))
    assert len(bench.pairs()) == 1
    bench.at_ms += CODES_KEPT_MS + DAY
    bench.index(Code.fresh().shown_at(west, T))
    assert bench.pairs() == []


def test_the_index_holds_no_code_in_clear(bench: Bench) -> None:
    code = Code.fresh()
    bench.index(code.shown_at(bench.world.kiosk(), T))
    files = list(bench.world.folder.glob(f"{INDEX_FILE}*"))
    assert files
    for path in files:
        assert code.cti not in path.read_bytes() and code.pseudonym not in path.read_bytes()


def test_the_answer_is_bounded_by_the_rows_of_the_query(bench: Bench) -> None:
    east, west = bench.world.kiosk(), bench.world.kiosk()
    codes = [Code.fresh() for _ in range(6)]
    bench.index(*[code.shown_at(east, T + n) for n, code in enumerate(codes)])
    bench.index(*[code.shown_at(west, T + MINUTE + n) for n, code in enumerate(codes)])
    assert len(bench.pairs(max_rows=5)) == 2
    assert bench.pairs(max_rows=5) == bench.pairs(max_rows=5)  # a second look opens no further records


@pytest.mark.parametrize(
    "changes",
    [
        {"to_ms": T - DAY + MAX_REUSED_SPAN_MS + 1},
        {"person": b"x" * 80},
        {"max_rows": 1},
    ],
)
def test_a_wider_search_is_no_query(bench: Bench, changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        bench.query(**changes)


def test_a_query_for_records_finds_no_pairs_and_its_bytes_are_as_before_there_were_kinds(bench: Bench) -> None:
    bench.at_ms += 1000
    query = bench.query(kind=QueryKind.RECORDS)
    with pytest.raises(Refused) as refused:
        bench.vault.reused(query.to_bytes(), bench.world.approve(query, at_ms=bench.at_ms), ASKER)
    assert refused.value.code == "other_kind"
    assert Query.from_bytes(query.to_bytes()) == query
    assert query.to_bytes()[0] == 0xAC  # a map of 12: without person, and without a kind


# what a search for reused codes cannot even be: it names no person and is no longer than three days
IMPOSSIBLE = {"another person after approval", "a longer period after approval"}


@pytest.mark.parametrize("name", [*sorted(FORGERIES.keys() - IMPOSSIBLE), "another kind after approval"])
def test_a_forged_approval_finds_no_pair_and_is_logged(name: str, world: World, vault: VaultClient) -> None:
    east, west, code = world.kiosk(), world.kiosk(), Code.fresh()
    at = now_ms() - 10 * MINUTE
    pair = [code.shown_at(east, at), code.shown_at(west, at + MINUTE)]
    vault.index(pair, {east.id: 1, west.id: 1})
    query = world.query(kind=QueryKind.REUSED_CODES, created_ms=now_ms() + 1, expires_ms=now_ms() + 3_600_000)
    if name in FORGERIES:
        sold, word = FORGERIES[name][1](world, query, world.approve(query))
    else:
        sold, word = query.to_bytes(), world.approve(replace(query, kind=QueryKind.RECORDS))
    before = vault.status().head.sequence
    with pytest.raises(Refused):
        vault.reused(sold, word)
    with pytest.raises(Refused):
        vault.open(sold, word, pair)
    assert len([line for line in vault.log_lines(before) if '"refused"' in line]) == 2
