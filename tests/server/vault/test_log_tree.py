"""The access log as a tree: heads and proofs that hold without the vault, and a file that is never believed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.credentials.identity import Identity
from protocol.errors import ProtocolError
from protocol.merkle import Frontier, leaf_hash
from protocol.tree_head import ConsistencyProof, InclusionProof, TreeHead
from server.vault.client import VaultClient
from server.vault.errors import Refused, VaultError
from server.vault.log import LOG_FILE, AccessLog, verify_log
from server.vault.tree import TREE_FILE
from tests.server.vault.world import ID_NUMBER, NAME, PHONE, World

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with a log of 37 lines that nobody has open."""
    with AccessLog(tmp_path, KEY) as log:
        for number in range(37):
            log.append(1000 + number, "indexed", {"records": number, "text": "二〇二六\u2028"})
    return tmp_path


@pytest.fixture
def log(written: Path) -> Iterator[AccessLog]:
    with reopened(written) as log:
        yield log


def reopened(folder: Path) -> AccessLog:
    log = AccessLog(folder, KEY)
    for _ in log.replay():
        pass
    return log


def test_the_head_is_the_tree_over_the_logs_own_lines(log: AccessLog, tmp_path: Path) -> None:
    frontier = Frontier()
    for line in (tmp_path / LOG_FILE).read_bytes().split(b"\n")[:-1]:
        frontier, _ = frontier.grown(leaf_hash(line))
    head = TreeHead.from_signed(log.signed_head(5000), PUBLIC)
    assert (head.size, head.root, head.at_ms) == (37, frontier.root(), 5000)
    assert verify_log(tmp_path / LOG_FILE, PUBLIC).sequence == 37  # and the chain holds as it did


def test_every_line_and_every_older_head_can_be_proven(log: AccessLog, tmp_path: Path) -> None:
    lines = (tmp_path / LOG_FILE).read_bytes().split(b"\n")
    older = Frontier()
    for sequence in range(1, 38):
        proof = InclusionProof.from_text(log.prove(sequence, 5000).to_text())
        assert proof.check(PUBLIC).size == 37 and proof.index == sequence - 1 and proof.line == lines[sequence - 1]
        older, _ = older.grown(leaf_hash(lines[sequence - 1]))
        growth = log.prove_growth(sequence, 5000)
        assert growth.check(TreeHead(sequence, older.root(), 0), PUBLIC).size == 37


@pytest.mark.parametrize("number", [0, -1, 38])
def test_a_line_that_is_not_there_is_not_proven(log: AccessLog, number: int) -> None:
    for prove in (log.prove, log.prove_growth):
        with pytest.raises(VaultError) as caught:
            prove(number, 5000)
        assert caught.value.code == "no_line"


@pytest.mark.parametrize("how", ["missing", "cut", "changed", "long", "of zeros"])
def test_the_trees_file_is_made_again_from_the_lines(written: Path, how: str) -> None:
    path = written / TREE_FILE
    good = path.read_bytes()
    assert len(good) == 32 * (2 * 37 - (37).bit_count())
    spoilt = {"cut": good[:100], "changed": b"x" + good[1:], "long": good + bytes(500), "of zeros": bytes(len(good))}
    path.unlink() if how == "missing" else path.write_bytes(spoilt[how])
    with reopened(written) as again:
        again.append(9000, "indexed", {})
        proof = again.prove(3, 9000)
    assert proof.check(PUBLIC).size == 38
    assert path.read_bytes()[: len(good)] == good


def test_a_tree_changed_under_a_running_vault_is_made_again(log: AccessLog, tmp_path: Path) -> None:
    path = tmp_path / TREE_FILE
    good = path.read_bytes()
    for bad in (bytes(len(good)), b""):
        path.write_bytes(bad)
        assert log.prove(3, 5000).check(PUBLIC).size == 37
        path.write_bytes(bad)
        assert log.prove_growth(20, 5000).hashes
        assert path.read_bytes() == good


def test_a_log_changed_under_a_running_vault_proves_nothing(log: AccessLog, tmp_path: Path) -> None:
    path = tmp_path / LOG_FILE
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"records":2,', b'"records":3,'))
    with pytest.raises(VaultError) as caught:
        log.prove(3, 5000)
    assert caught.value.code == "log_broken"


def test_a_disk_that_takes_no_tree_stops_no_line(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    with reopened(written) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            for number in range(20):
                log.append(6000 + number, "indexed", {})
            assert log.prove(50, 7000).check(PUBLIC).size == 57  # from what waits in memory
        log.append(8000, "indexed", {})
    with reopened(written) as again:
        assert again.prove(50, 9000).check(PUBLIC).size == 58


# -- over the socket -------------------------------------------------------------------------------------------------


def test_a_look_carries_the_proof_of_its_own_line(fresh: World) -> None:
    record = fresh.kiosk().pass_with_code(Identity(NAME, ID_NUMBER, PHONE))
    query = fresh.query()
    with fresh.running() as vault:
        before = TreeHead.from_signed(vault.tree_head(), _key(fresh))
        opening = vault.open(query.to_bytes(), fresh.approve(query), [record])
        assert len(opening.rows) == 1
        proof = InclusionProof.from_text(opening.proof)
        head = proof.check(_key(fresh))
        facts = json.loads(proof.line)
        assert (proof.index + 1, facts["hash"]) == (opening.head.sequence, opening.head.hash)
        assert facts["event"] == "opened" and facts["facts"]["query"] == query.query_id.hex()
        grown = ConsistencyProof.from_text(vault.prove_growth(before.size)).check(before, _key(fresh))
        assert grown.size == head.size
        with pytest.raises(ProtocolError):
            replace(proof, line=proof.line.replace(b"boris", b"carla")).check(_key(fresh))
        _refuses_numbers(vault)


def _refuses_numbers(vault: VaultClient) -> None:
    for number in (0, 10_000):
        with pytest.raises(Refused) as caught:
            vault.prove(number)
        assert caught.value.code == "no_line"


def _key(world: World) -> Ed25519PublicKey:
    return world.secrets.signing_key().public_key()
