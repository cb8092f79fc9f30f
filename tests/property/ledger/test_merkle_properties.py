"""The tree, against the definitions of RFC 9162 written down as they stand there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.ledger.merkle import (
    SIZE,
    Frontier,
    Node,
    completed,
    consistency,
    inclusion,
    leaf_hash,
    peaks,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [str(number).encode() for number in range(200)]
sizes = st.integers(1, len(LEAVES))


def half(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: Sequence[bytes]) -> bytes:
    """MTH of section 2.1.1."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = half(len(leaves))
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = half(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = half(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def stored(size: int) -> list[bytes]:
    frontier = Frontier()
    return [frontier.add(leaf_hash(leaf)) for leaf in LEAVES[:size]]


STORED = stored(len(LEAVES))


def lookup(nodes: Sequence[Node]) -> list[bytes]:
    """As the log does: from the row of the leaf that completes the node."""
    return [STORED[((index + 1) << level) - 1][SIZE * level : SIZE * (level + 1)] for level, index in nodes]


@given(sizes)
def test_roots_from_what_is_stored(size: int) -> None:
    assert Frontier(size, lookup(peaks(size))).root() == mth(LEAVES[:size])
    assert len(STORED[size - 1]) == SIZE * (completed(size - 1) + 1)


@given(sizes, st.data())
def test_inclusion_is_path(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion(index, size, lookup)
    assert proof == path(index, LEAVES[:size])
    leaf, root = leaf_hash(LEAVES[index]), mth(LEAVES[:size])
    assert verify_inclusion(leaf, index, size, proof, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index)) if size > 1 else size
    assert not verify_inclusion(leaf, other, size, proof, root)
    for place in range(len(proof)):
        assert not verify_inclusion(leaf, index, size, [*proof[:place], bytes(32), *proof[place + 1 :]], root)
        assert not verify_inclusion(leaf, index, size, proof[:place] + proof[place + 1 :], root)


@given(sizes, st.data())
def test_consistency_is_subproof(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    proof = consistency(old, new, lookup)
    assert proof == subproof(old, LEAVES[:new], True)
    roots = mth(LEAVES[:old]), mth(LEAVES[:new])
    assert verify_consistency(old, roots[0], new, roots[1], proof)
    assert not verify_consistency(old, bytes(32), new, roots[1], proof)
    assert not verify_consistency(old, roots[0], new, bytes(32), proof)
    for place in range(len(proof)):
        assert not verify_consistency(old, *(roots[0], new, roots[1]), proof[:place] + proof[place + 1 :])
