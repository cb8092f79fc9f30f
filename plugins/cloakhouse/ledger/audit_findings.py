"""What the verification of the audit log may find. Findings name entries by number, and never tell what is in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MOST_FINDINGS = 1_000  # that are kept; more are counted
_FEW = 4  # entries of a finding that two which changed places may have caused


class Kind(StrEnum):
    """What is wrong with the log."""

    EDITED = "edited"  # content, or a hash, is not what was written
    MISSING = "missing"  # an entry was removed
    INSERTED = "inserted"  # an entry that the tree has no place for
    REORDERED = "reordered"  # entries that changed places
    REWRITTEN = "rewritten"  # consistent in itself, and another log than the one that was signed
    TRUNCATED = "truncated"  # shorter than it was when it was signed
    COPY_DIFFERS = "copy differs"  # a column for queries says something else than the entry
    CHECKPOINT_FORGED = "checkpoint forged"  # a note without a right signature
    KEY_MISSING = "key missing"  # checkpoints that nothing can be compared with


class Remark(StrEnum):
    """What is worth knowing, and no fault."""

    CLOCK = "the clock went backwards"
    UNSIGNED = "no checkpoint yet: nothing tells whether the log was rewritten as a whole"
    SINCE = "entries were added since the newest checkpoint"
    ONE_PLACE = "a checkpoint stands in one place only"
    NOT_RECORDED = "this verification could not be recorded in the log"


@dataclass(frozen=True)
class Finding:
    """One fault: `kind`, and the numbers of the first and the last entry that it is about; `where` names the checkpoint
    that showed it. Of an edited hash it is known only which entries it stands above: one or more of them were edited.
    Of two that changed places, they are the two."""

    kind: Kind
    first: int
    last: int
    where: str = ""

    @property
    def numbers(self) -> range:
        """The entries that it is about."""
        return range(self.first, self.last + 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {"kind": self.kind.value, "first": self.first, "last": self.last, "where": self.where}


@dataclass(frozen=True)
class Noted:
    """One remark, how often it applies, and the first entry that it is about."""

    remark: Remark
    count: int
    first: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {"remark": self.remark.value, "count": self.count, "first": self.first}


@dataclass(frozen=True)
class Verification:
    """What a verification came to.

    Attributes:
        size: entries that the log has.
        root: of their tree (32 bytes) as it is stored; empty where entries are missing.
        checkpoints: sizes of the checkpoints that the log agrees with, ascending.
        findings: faults, in the order of entries; the first 1,000.
        remarks: what is no fault.
        more: findings beyond those.
    """

    size: int
    root: bytes
    checkpoints: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[Noted, ...] = ()
    more: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready, and whether nothing is wrong."""
        return {
            "sound": self.sound,
            "size": self.size,
            "root": self.root.hex(),
            "checkpoints": list(self.checkpoints),
            "findings": [one.as_dict() for one in self.findings],
            "more": self.more,
            "remarks": [one.as_dict() for one in self.remarks],
        }


Mark = tuple[int, Finding | None, int]


@dataclass
class Findings:
    """Collects findings as they come; one that goes on from the last of its kind lengthens it."""

    found: list[Finding] = field(default_factory=list)
    more: int = 0

    def add(self, kind: Kind, first: int, last: int, where: str = "") -> None:
        """Add a finding."""
        before = self.found[-1] if self.found else None
        if before and (before.kind, before.where) == (kind, where) and before.first <= first <= before.last + 1:
            self.found[-1] = Finding(kind, before.first, max(last, before.last), where)
        elif len(self.found) < MOST_FINDINGS:
            self.found.append(Finding(kind, first, last, where))
        else:
            self.more += 1

    def mark(self) -> Mark:
        """Return what `back_to` takes."""
        return len(self.found), self.found[-1] if self.found else None, self.more

    def back_to(self, mark: Mark) -> None:
        """Forget what was added since `mark`."""
        count, last, self.more = mark
        del self.found[count:]
        if last is not None:
            self.found[-1] = last

    def moved(self, first: int, second: int) -> None:
        """Say of two entries that they changed places, instead of what was said of them and their neighbours."""
        of_them = [
            one
            for one in self.found
            if one.kind == Kind.EDITED and one.last - one.first < _FEW and {first, second} & set(one.numbers)
        ]
        self.found = [one for one in self.found if one not in of_them]
        self.found.append(Finding(Kind.REORDERED, first, second))
