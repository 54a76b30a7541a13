"""The tree of RFC 9162: against the RFC's own recursion, written down a second time, and the known roots of CT."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
)
from protocol.tree_head import ConsistencyProof, InclusionProof, TreeHead, read_proof

# The eight leaves and the roots of their first 1 to 8, as Certificate Transparency's own implementations test them.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


# -- RFC 9162, 2.1.1, 2.1.3.1 and 2.1.4.1, as they are written there: slow, over whole lists ------------------------


def mth(d: Sequence[bytes]) -> bytes:
    if not d:
        return hashlib.sha256().digest()
    if len(d) == 1:
        return hashlib.sha256(b"\x00" + d[0]).digest()
    k = power_below(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = power_below(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: Sequence[bytes], b: bool) -> list[bytes]:
    if m == len(d):
        return [] if b else [mth(d)]
    k = power_below(len(d))
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


# --------------------------------------------------------------------------------------------------------------------


def lines(count: int) -> list[bytes]:
    return [b"line %d" % n for n in range(count)]


def grown(leaves: Sequence[bytes]) -> tuple[Frontier, Node]:
    """A tree fed leaf by leaf, and the hashes it said were complete."""
    frontier, nodes = Frontier(), {}
    for number, leaf in enumerate(leaves):
        frontier, completed = frontier.grown(leaf_hash(leaf))
        nodes.update({(level, number >> level): digest for level, digest in enumerate(completed)})
    return frontier, lambda level, number: nodes[level, number]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    frontier, node = grown(CT_LEAVES[:size])
    assert frontier.root().hex() == root_at(size, node).hex() == CT_ROOTS[size - 1] == mth(CT_LEAVES[:size]).hex()


def test_every_proof_of_every_small_tree_is_the_rfcs_and_holds() -> None:
    for size in range(1, 34):
        leaves = lines(size)
        frontier, node = grown(leaves)
        assert frontier.root() == mth(leaves)
        assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert proof == path(index, leaves)
            check_inclusion(leaf_hash(leaves[index]), index, size, proof, frontier.root())
        for old in range(1, size + 1):
            old_root = mth(leaves[:old])
            assert root_at(old, node) == old_root
            proof = consistency_proof(old, size, node)
            assert proof == subproof(old, leaves, True)
            check_consistency(old, size, proof, old_root, frontier.root())


@given(st.integers(1, 300), st.data())
def test_a_proof_holds_for_its_line_its_place_and_its_tree_alone(size: int, data: st.DataObject) -> None:
    leaves = lines(size)
    frontier, node = grown(leaves)
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size + 2))
    proof = inclusion_proof(index, size, node)
    root, leaf = frontier.root(), leaf_hash(leaves[index])
    check_inclusion(leaf, index, size, proof, root)
    wrong = [(leaf_hash(b"another"), index, size, proof, root), (leaf, index, size, [*proof, root], root)]
    wrong.append((leaf, index, size, proof, EMPTY_ROOT))
    wrong += [(leaf, index, size, proof[:-1], root)] if proof else []
    wrong += [(leaf, other, size, proof, root)] if other != index else []
    wrong += [(leaf, index, size, _spoilt(proof, data), root)] if proof else []
    for case in wrong:
        with pytest.raises(ProtocolError) as caught:
            check_inclusion(*case)
        assert caught.value.code == "not_included"


@given(st.integers(1, 300), st.data())
def test_a_rewritten_line_shows_between_two_heads(size: int, data: st.DataObject) -> None:
    leaves = lines(size)
    old = data.draw(st.integers(1, size))
    changed = data.draw(st.integers(0, old - 1))
    seen, _ = grown(leaves[:old])
    honest, node = grown(leaves)
    check_consistency(old, size, consistency_proof(old, size, node), seen.root(), honest.root())
    rewritten, other = grown([*leaves[:changed], b"rewritten", *leaves[changed + 1 :]])
    for proof in (consistency_proof(old, size, other), consistency_proof(old, size, node), []):
        with pytest.raises(ProtocolError) as caught:
            check_consistency(old, size, proof, seen.root(), rewritten.root())
        assert caught.value.code == "not_consistent"


@given(st.integers(2, 300), st.data())
def test_a_spoilt_or_cut_consistency_proof_does_not_hold(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    frontier, node = grown(lines(size))
    proof, old_root = consistency_proof(old, size, node), root_at(old, node)
    for bad in (_spoilt(proof, data), proof[:-1], [*proof, old_root], [b"short"]):
        with pytest.raises(ProtocolError):
            check_consistency(old, size, bad, old_root, frontier.root())
    with pytest.raises(ProtocolError):  # backwards
        check_consistency(size, old, proof, frontier.root(), old_root)


def test_the_empty_tree_grows_into_every_tree_and_into_nothing_else() -> None:
    frontier, _ = grown(lines(5))
    check_consistency(0, 5, [], EMPTY_ROOT, frontier.root())
    check_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    for old_root, new_size, new_root in ((bytes(32), 5, frontier.root()), (EMPTY_ROOT, 0, bytes(32))):
        with pytest.raises(ProtocolError):
            check_consistency(0, new_size, [], old_root, new_root)


@pytest.mark.parametrize(("index", "size"), [(5, 5), (-1, 5), (0, 0)])
def test_no_proof_is_made_of_what_is_not_there(index: int, size: int) -> None:
    _, node = grown(lines(5))
    with pytest.raises(ProtocolError):
        inclusion_proof(index, size, node)
    with pytest.raises(ProtocolError):
        consistency_proof(6, 5, node)


def test_peaks_of_another_size_are_refused() -> None:
    with pytest.raises(ProtocolError):
        Frontier.from_bytes(4, bytes(64))


# -- heads and proofs as text ----------------------------------------------------------------------------------------

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def signed(count: int, *, leaves: Sequence[bytes] | None = None, key: Ed25519PrivateKey = KEY) -> str:
    frontier, _ = grown(lines(count) if leaves is None else leaves)
    return TreeHead(count, frontier.root(), 1_795_000_000_123).to_signed(key)


def test_a_signed_head_is_a_checkpoint_that_says_when() -> None:
    text = signed(5)
    assert TreeHead.from_signed(text, KEY.public_key()) == TreeHead(5, mth(lines(5)), 1_795_000_000_123)
    origin, size, _root, time, gap, mark, end = text.split("\n")
    assert origin.startswith("gatehouse/vault/") and size == "5" and time == "time 2026-11-18T11:06:40.123Z"
    assert gap == end == "" and mark.startswith(f"\u2014 {origin} ")


def test_a_witness_may_sign_beside_the_vault() -> None:
    assert TreeHead.from_signed(f"{signed(5)}\u2014 witness.example AAAAAAAA\n", KEY.public_key()).size == 5


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n5\n", "\n6\n"),
        lambda text: text.replace("time 2026", "time 2025"),
        lambda text: text.replace("\n\n", "\n"),
        lambda text: text.partition("\n\n")[0] + "\n\n",
        lambda text: text[:-1],
        lambda text: text.replace("\n\n", "\nanother line\n\n"),
        lambda text: "",
        lambda text: text.replace("\u2014 ", "- "),
        lambda text: text + "x" * 5000,
    ],
)
def test_a_head_with_one_thing_changed_is_refused(spoil: object) -> None:
    with pytest.raises(ProtocolError):
        TreeHead.from_signed(spoil(signed(5)), KEY.public_key())  # type: ignore[operator]


def test_a_head_by_another_vault_is_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        TreeHead.from_signed(signed(5, key=OTHER_KEY), KEY.public_key())
    assert caught.value.code == "bad_signature"


def test_a_proof_survives_being_text_and_says_which_line_it_is_of() -> None:
    leaves = lines(6)
    _, node = grown(leaves)
    proof = InclusionProof(3, leaves[3], tuple(inclusion_proof(3, 6, node)), signed(6))
    assert read_proof(proof.to_text()) == proof
    assert proof.check(KEY.public_key()).size == 6
    for bad in (
        InclusionProof(2, proof.line, proof.hashes, proof.signed_head),
        InclusionProof(3, b"made up", proof.hashes, proof.signed_head),
        InclusionProof(3, proof.line, proof.hashes, signed(5)),
    ):
        with pytest.raises(ProtocolError):
            bad.check(KEY.public_key())


def test_a_consistency_proof_survives_being_text() -> None:
    _, node = grown(lines(6))
    proof = ConsistencyProof(3, tuple(consistency_proof(3, 6, node)), signed(6))
    old = TreeHead(3, mth(lines(3)), 0)
    assert read_proof(proof.to_text()) == proof
    assert proof.check(old, KEY.public_key()).size == 6
    for wrong in (TreeHead(3, mth(lines(4)), 0), TreeHead(4, mth(lines(4)), 0)):
        with pytest.raises(ProtocolError):
            proof.check(wrong, KEY.public_key())


@given(st.text(max_size=200))
def test_any_text_at_all_is_refused_and_not_fallen_over(text: str) -> None:
    for shape in (text, f"c2sp.org/tlog-proof@v1\n{text}", f"gatehouse/tree-consistency@v1\nold 1\n{text}\n\n"):
        with pytest.raises(ProtocolError):
            proof = read_proof(shape)
            if isinstance(proof, InclusionProof):
                proof.check(KEY.public_key())
            else:
                proof.check(TreeHead(1, bytes(32), 0), KEY.public_key())


def _spoilt(proof: Sequence[bytes], data: st.DataObject) -> list[bytes]:
    at = data.draw(st.integers(0, len(proof) - 1))
    return [bytes([one[0] ^ 1]) + one[1:] if n == at else one for n, one in enumerate(proof)]
