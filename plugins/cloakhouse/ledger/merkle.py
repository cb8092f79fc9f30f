"""Merkle trees over a log that grows: hashes, roots, and the proofs of inclusion and of consistency. Pure functions.

A tree of n leaves is split at the largest power of two below n. SHA-256, with a byte before what is hashed that tells
leaves (0x00) from nodes (0x01). The node (level, index) covers the leaves [index * 2^level, (index + 1) * 2^level); it
is complete, and never changes again, as soon as its last leaf is there. So the log keeps with each leaf the nodes that
it completes, and any root or proof needs at most some 2 log2(n) of them.

Source: RFC 9162, section 2.1 (RFC 6962, section 2.1, has the same tree).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

Node = tuple[int, int]  # level, index
Lookup = Callable[[Sequence[Node]], Sequence[bytes]]  # the hashes of complete nodes, in the order asked
SIZE = 32  # bytes of a hash
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf (32 bytes)."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others (32 bytes)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def peaks(size: int) -> list[Node]:
    """Return the roots of the complete trees that a tree of `size` leaves is made of, the largest first."""
    found, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def completed(index: int) -> int:
    """Return how many nodes above leaf `index` it completes: the number of trailing ones of `index`."""
    return (~index & (index + 1)).bit_length() - 1


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a tree from the hashes of its `peaks`, the largest first; of no leaves: EMPTY."""
    if not hashes:
        return EMPTY
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """The peaks of a tree that grows leaf by leaf. Memory is that of log2(size) hashes."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise ValueError("a tree has one peak for each bit of its size")
        self.size = size
        self._hashes = list(hashes)

    def add(self, leaf: bytes) -> bytes:
        """Add the hash of a leaf; return it with those of the nodes that it completes, lowest first, as one text of
        bytes: what the log keeps with the leaf."""
        kept, node = [leaf], leaf
        for _ in range(completed(self.size)):
            node = node_hash(self._hashes.pop(), node)
            kept.append(node)
        self._hashes.append(node)
        self.size += 1
        return b"".join(kept)

    def root(self) -> bytes:
        """Return the root (32 bytes)."""
        return root_of(self._hashes)


def inclusion(index: int, size: int, lookup: Lookup) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves, nearest sibling first (section 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError("a leaf of the tree")
    return _resolve(_path(index, 0, size), lookup)


def consistency(old: int, new: int, lookup: Lookup) -> list[bytes]:
    """Return the proof that the tree of `old` leaves is the beginning of that of `new` (section 2.1.4.1).

    It is empty where they are one, and for `old` 0.
    """
    if not 0 <= old <= new:
        raise ValueError("an older tree is not the larger one")
    if old in (0, new):
        return []
    return _resolve(_subproof(old, 0, new, whole=True), lookup)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether `proof` shows that the hash `leaf` is leaf `index` of the tree `root` (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows that the tree `old_root` is the beginning of `new_root` (section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        return not proof and (old_root == EMPTY if old == 0 else old_root == new_root)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


Part = list[Node]  # complete nodes whose root is one hash of a proof


def _parts(start: int, end: int) -> Part:
    """Return the peaks over the leaves [start, end); `start` is a multiple of a power of two >= their number."""
    return [(level, (start >> level) + index) for level, index in peaks(end - start)]


def _path(index: int, start: int, end: int) -> list[Part]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(index, start, middle), _parts(middle, end)]
    return [*_path(index, middle, end), _parts(start, middle)]


def _subproof(old: int, start: int, end: int, *, whole: bool) -> list[Part]:
    if old == end:
        return [] if whole else [_parts(start, end)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof(old, start, middle, whole=whole), _parts(middle, end)]
    return [*_subproof(old, middle, end, whole=False), _parts(start, middle)]


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _resolve(parts: Sequence[Part], lookup: Lookup) -> list[bytes]:
    hashes = iter(lookup([node for part in parts for node in part]))
    return [root_of([next(hashes) for _ in part]) for part in parts]
