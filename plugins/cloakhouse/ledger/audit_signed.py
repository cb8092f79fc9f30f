"""The checkpoints that a pass over the audit log meets: does the log have the root that was signed, at that size?"""

from __future__ import annotations

from collections.abc import Sequence

from cloakhouse.ledger.audit_findings import Findings, Kind, Noted, Remark
from cloakhouse.ledger.audit_tree import StoredTree
from cloakhouse.ledger.checkpoints import Checkpoint


class Signed:
    """Checkpoints by size, each compared when the tree has that size. `agreed` are the sizes of those that fit."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self.agreed: list[int] = []
        self._wanted = sorted({(one.size, one.root) for one in checkpoints})
        self._at = 0
        self._rewritten = False

    def at(self, tree: StoredTree, findings: Findings) -> None:
        """Compare what was signed at the size of `tree`; pass by what was signed below it."""
        while self._at < len(self._wanted) and self._wanted[self._at][0] <= tree.size:
            size, root = self._wanted[self._at]
            self._at += 1
            found = tree.root() if size == tree.size else b""
            if found == root:
                self.agreed += [size] if size not in self.agreed[-1:] else []
            elif found and not self._rewritten:
                self._rewritten = True  # later ones can't agree either, and tell nothing more
                findings.add(Kind.REWRITTEN, max(self.agreed, default=0), size - 1, f"checkpoint {size}")

    def end(self, tree: StoredTree, findings: Findings) -> None:
        """Say what was signed and isn't there at the end of the log."""
        self.at(tree, findings)
        if self._at < len(self._wanted):
            largest = self._wanted[-1][0]
            findings.add(Kind.TRUNCATED, tree.size, largest - 1, f"checkpoint {largest}")

    def remarks(self, size: int) -> list[Noted]:
        """Return what is to be said of a log of `size` entries beside."""
        if not self._wanted:
            return [Noted(Remark.UNSIGNED, size, 0)] if size else []
        newest = self._wanted[-1][0]
        return [Noted(Remark.SINCE, size - newest, newest)] if newest < size else []
