"""Entries of the audit log that changed places: found out afterwards, among the few that don't fit where they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.merkle import SIZE, completed, leaf_hash, node_hash

MOST_SUSPECTS = 32
_ROW = sa.text("SELECT number, content, hashes FROM audit_entry WHERE number = :number")


@dataclass(frozen=True)
class _Row:
    leaf: bytes  # of the content
    hashes: bytes  # as stored


def changed_places(log: AuditLog, suspects: Sequence[int], last: int) -> list[tuple[int, int]]:
    """Return pairs of entries of which each fits in the other's place and not in its own. Raises StorageError."""
    near = {one ^ side for one in suspects for side in range(4)}
    rows = dict(_read(log, sorted(one for one in near if 0 <= one <= last)))
    found: list[tuple[int, int]] = []
    for first, second in itertools.combinations(sorted(set(suspects) & set(rows)), 2):
        if any({first >> 1, second >> 1} & {one >> 1 for one in pair} for pair in found):
            continue
        swapped = {**rows, first: rows[second], second: rows[first]}
        contents = _with_contents_of(rows, first, second), _with_contents_of(rows, second, first)
        by_content = {**rows, first: contents[0], second: contents[1]}
        if not (_fits(rows, first) or _fits(rows, second)) and any(
            _fits(other, first) and _fits(other, second) for other in (swapped, by_content)
        ):
            found.append((first, second))
    return found


def _with_contents_of(rows: Mapping[int, _Row], place: int, other: int) -> _Row:
    """Return the row at `place` with the content of `other`."""
    return _Row(rows[other].leaf, rows[place].hashes)


def _fits(rows: Mapping[int, _Row], number: int) -> bool:
    """Return whether content and leaf fit at `number`, and the two nodes above it, as far as they are there."""
    row = rows[number]
    if row.leaf != row.hashes[:SIZE] or len(row.hashes) != SIZE * (completed(number) + 1):
        return False
    return all(_node_fits(rows, number, level) for level in (1, 2))


def _node_fits(rows: Mapping[int, _Row], number: int, level: int) -> bool:
    """Return whether the node of this level above `number` is that of the two below it."""
    right = number | ((1 << level) - 1)  # the leaf that completes the node, and the one that completes its left half
    left = right - (1 << (level - 1))
    if left not in rows or right not in rows:
        return True
    halves = [rows[one].hashes[SIZE * (level - 1) : SIZE * level] for one in (left, right)]
    return node_hash(*halves) == rows[right].hashes[SIZE * level : SIZE * (level + 1)]


def _read(log: AuditLog, numbers: Sequence[int]) -> Iterator[tuple[int, _Row]]:
    with log.engine.connect() as connection:
        for number in numbers:
            row = connection.execute(_ROW, {"number": number}).first()
            if row and isinstance(row[1], bytes) and isinstance(row[2], bytes):
                yield number, _Row(leaf_hash(row[1]), row[2])
