"""How the web server and the worker speak to the vault: one short connection a call, every answer checked."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.fields import Fields
from protocol.own_looks import CHALLENGE_BYTES
from protocol.passage import KIOSK_ID_BYTES
from protocol.tree_head import MAX_HEAD_CHARACTERS, MAX_PROOF_CHARACTERS
from server.vault.errors import Refused, VaultError
from server.vault.index import Passage
from server.vault.log import Head
from server.vault.overlaps import Meetings, Overlap, OwnStay
from server.vault.roster import Approver, Roster
from server.vault.wire import (
    VERSION,
    ConnectionLost,
    Indexed,
    LookLine,
    OpenedRow,
    Opening,
    Operation,
    OwnLooks,
    SealedRecord,
    pack_records,
    receive,
    send,
)

ANSWER_SECONDS = 30.0


class VaultAway(VaultError):
    """The vault does not answer; nothing was decided, try again."""

    code = "vault_away"


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """How the vault is."""

    fingerprint: bytes  # 16
    head: Head
    tags: int
    problems: int
    destroyed_epochs: int


@dataclass(frozen=True, slots=True)
class VaultClient:
    """The vault behind the socket at `path`. Every method raises VaultAway, or Refused with the vault's reason."""

    path: Path
    seconds: float = ANSWER_SECONDS

    def status(self) -> VaultStatus:
        """Whether it lives, and where its log stands."""
        f = self._ask(Operation.STATUS, {})
        return VaultStatus(f.octets(1, exactly=16), self._head(f, 2), f.integer(4), f.integer(5), f.integer(6))

    def roster(self) -> Roster:
        """Who may approve."""
        f = self._ask(Operation.ROSTER, {})
        return Roster(f.integer(1), tuple(Approver.from_fields(item) for item in f.take(2, list)))

    def marks(self, kiosks: Sequence[bytes]) -> dict[bytes, int]:
        """How far each of at most 1000 kiosks is indexed; 0 for one the vault has not seen."""
        f = self._ask(Operation.MARKS, {1: list(kiosks)})
        return {_octets(kiosk): _integer(sequence) for kiosk, sequence in _rows(f.take(1, list), 2)}

    def index(self, records: Iterable[SealedRecord], marks: Mapping[bytes, int]) -> Indexed:
        """Have at most MAX_INDEXED records indexed (8 MiB); the same ones twice changes nothing.

        *marks*: up to which sequence each kiosk is dealt with, records without a person included.
        """
        pairs = [[kiosk, sequence] for kiosk, sequence in marks.items()]
        f = self._ask(Operation.INDEX, {1: pack_records(records), 2: pairs})
        problems = tuple((_octets(k), _integer(s), str(c)) for k, s, c in _rows(f.take(3, list), 3))
        return Indexed(f.integer(1), f.integer(2), problems)

    def find(self, query: bytes, approval: bytes) -> tuple[list[tuple[bytes, int]], Head]:
        """Where the approved query's person passed, as (kiosk, sequence), and the log line of this search."""
        f = self._ask(Operation.FIND, {1: query, 2: approval})
        found = [(_octets(kiosk), _integer(sequence)) for kiosk, sequence in _rows(f.take(1, list), 2)]
        return found, self._head(f, 2)

    def reused(self, query: bytes, approval: bytes) -> tuple[list[tuple[Passage, Passage]], Head]:
        """Pairs of passages of one code at two kiosks, for an approved query that asks for them, and the log line."""
        f = self._ask(Operation.REUSED, {1: query, 2: approval})
        rows = _rows(f.take(1, list), 4)
        pairs = [((_octets(a), _integer(m)), (_octets(b), _integer(n))) for a, m, b, n in rows]
        return pairs, self._head(f, 2)

    def overlaps(self, query: bytes, approval: bytes) -> tuple[Meetings, Head]:
        """The stays of an approved query's person, who else was there, and the log line."""
        f = self._ask(Operation.OVERLAPS, {1: query, 2: approval})
        stays = []
        for venue, from_ms, to_ms, passages in _rows(f.take(1, list), 4):
            own = _rows(passages, 2) if isinstance(passages, list) else []
            where = venue if type(venue) is bytes else b""
            pairs = tuple((_octets(kiosk), _integer(sequence)) for kiosk, sequence in own)
            stays.append(OwnStay(where, _integer(from_ms), _integer(to_ms), pairs))
        rows = _rows(f.take(2, list), 5)
        others = (Overlap(_integer(n), _octets(k), _integer(s), _integer(t), _integer(a)) for n, k, s, t, a in rows)
        return Meetings(tuple(stays), tuple(others), f.take(3, bool)), self._head(f, 4)

    def open(self, query: bytes, approval: bytes, records: Iterable[SealedRecord]) -> Opening:
        """Have at most 500 records opened for an approved query; the log line of this look is in the answer."""
        f = self._ask(Operation.OPEN, {1: query, 2: approval, 3: pack_records(records)})
        rows = tuple(OpenedRow.from_fields(item) for item in f.take(1, list))
        refused = tuple((_octets(k), _integer(s), str(c)) for k, s, c in _rows(f.take(2, list), 3))
        return Opening(rows, refused, self._head(f, 3), f.text(5, at_most=MAX_PROOF_CHARACTERS))

    def revoke(self, digest: bytes) -> Head:
        """Have a query closed for ever, by its digest."""
        return self._head(self._ask(Operation.REVOKE, {1: digest}), 1)

    def destroy(self, epochs: Sequence[bytes]) -> tuple[int, Head]:
        """Have at most 500 epochs closed for ever and their tags deleted; returns how many tags went."""
        f = self._ask(Operation.DESTROY, {1: list(epochs)})
        return f.integer(1), self._head(f, 2)

    def log_lines(self, after: int, limit: int = 200) -> list[str]:
        """Raw lines of the vault's access log after line *after*; verify them with `log.check_line`."""
        f = self._ask(Operation.LOG, {1: after, 2: limit})
        return [str(line) for line in f.take(1, list)]

    def tree_head(self) -> str:
        """The access log's tree as of now, signed; read it with `protocol.tree_head.TreeHead.from_signed`."""
        return self._ask(Operation.TREE_HEAD, {}).text(1, at_most=MAX_HEAD_CHARACTERS)

    def prove(self, sequence: int) -> str:
        """That line *sequence* is in the log, with the line, as text for `InclusionProof.from_text`."""
        return self._ask(Operation.PROVE, {1: sequence}).text(1, at_most=MAX_PROOF_CHARACTERS)

    def prove_growth(self, old_size: int) -> str:
        """That the log continues what it was at *old_size* lines, as text for `ConsistencyProof.from_text`."""
        return self._ask(Operation.PROVE_GROWTH, {1: old_size}).text(1, at_most=MAX_PROOF_CHARACTERS)

    def challenge(self) -> bytes:
        """Sixteen fresh bytes that one `own_looks` may answer, within a quarter of an hour."""
        return self._ask(Operation.CHALLENGE, {}).octets(1, exactly=CHALLENGE_BYTES)

    def own_looks(self, challenge: bytes, persons: Sequence[bytes], sealed_word: bytes) -> OwnLooks:
        """Who looked at one resident's records; *persons* by `seal_person` with the challenge in the query's place."""
        f = self._ask(Operation.OWN_LOOKS, {1: challenge, 2: list(persons), 3: sealed_word})
        lines = tuple(LookLine.from_list(item) for item in f.take(1, list))
        return OwnLooks(lines, f.texts(2), self._head(f, 3))

    def _ask(self, operation: Operation, arguments: Mapping[int, object]) -> Fields:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.seconds)
                connection.connect(str(self.path))
                send(connection, {1: VERSION, 2: operation.value, 3: arguments}, self.seconds)
                answer = receive(connection, self.seconds, self.seconds)
            if answer is None:
                raise ConnectionLost("it closed the connection")
            f = Fields(answer, "vault's answer")
            if not f.take(1, bool):
                raise Refused(f.text(3, at_most=500), code=f.text(2))
            return Fields(f.any(2), f"vault's {operation.value}")
        except (OSError, ConnectionLost) as error:
            raise VaultAway(
                f"The vault does not answer on {self.path}.",
                hint="Is it running, and may this user connect? See: gatehouse vault status",
            ) from error
        except ProtocolError as error:
            raise VaultAway(f"What answers on {self.path} does not speak as a vault: {error}.") from error

    def _head(self, f: Fields, key: int) -> Head:
        return Head(f.integer(key), f.text(key + 1))


def _rows(items: Sequence[object], width: int) -> list[list[object]]:
    if not all(isinstance(item, list) and len(item) == width for item in items):
        raise ProtocolError(f"vault's answer: not a list of rows of {width}", code="bad_list")
    return [item for item in items if isinstance(item, list)]


def _octets(value: object) -> bytes:
    if type(value) is bytes and len(value) == KIOSK_ID_BYTES:
        return value
    raise ProtocolError("vault's answer: not a kiosk's id", code="bad_list")


def _integer(value: object) -> int:
    if type(value) is int:
        return value
    raise ProtocolError("vault's answer: not a number", code="bad_list")
