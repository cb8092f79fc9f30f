"""The tree of the audit log as its rows tell it, checked while it grows: where do the stored hashes not fit?

Each row brings the hash of its leaf and those of the nodes that it completes. What two known hashes come to must be the
stored one above them. Where it isn't, the place is told and the node counts as unknown; above an unknown one the stored
hash is taken, so that one fault is told once, and the rest of the log is checked as if it weren't there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloakhouse.ledger.merkle import SIZE, completed, node_hash, peaks, root_of

FITS, SHAPE = 0, -1


class StoredTree:
    """A tree of which some hashes may be unknown. Memory is that of log2(size) hashes."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes | None] = ()) -> None:
        self.size = size
        self.compared = 0  # nodes that were computed and looked at
        self._peaks = list(hashes)

    def copy(self) -> StoredTree:
        """Return a tree like this one, that grows by itself; it has compared nothing."""
        return StoredTree(self.size, self._peaks)

    def add(self, hashes: bytes) -> int:
        """Add the next leaf with its stored hashes, lowest first. Return FITS; SHAPE, with nothing added, when they
        are not as many as this place has; or the level of the lowest node that is not what is below it."""
        count = completed(self.size)
        if len(hashes) != SIZE * (count + 1):
            return SHAPE
        wrong = FITS
        node: bytes | None = hashes[:SIZE]
        for level in range(1, count + 1):
            left, stored = self._peaks.pop(), hashes[SIZE * level : SIZE * (level + 1)]
            if left is None or node is None:
                node = stored
                continue
            self.compared += 1
            if node_hash(left, node) == stored:
                node = stored
            else:
                wrong, node = wrong or level, None
        self._peaks.append(node)
        self.size += 1
        return wrong

    def skip(self, count: int) -> None:
        """Go on as if `count` leaves had come that nothing is known of."""
        known = dict(zip(peaks(self.size), self._peaks, strict=True))
        self.size += count
        self._peaks = [known.get(node) for node in peaks(self.size)]

    def root(self) -> bytes:
        """Return the root (32 bytes); nothing where a part of it is unknown."""
        whole = [one for one in self._peaks if one is not None]
        return root_of(whole) if len(whole) == len(self._peaks) else b""

    def takes(self, rows: Iterable[bytes]) -> bool:
        """Return whether the stored hashes of `rows` all fit as the next ones, and tell something: a node of them was
        compared. The tree stays as it is."""
        trial = self.copy()
        return all(trial.add(hashes) == FITS for hashes in rows) and trial.compared > 0
