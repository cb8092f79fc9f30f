"""The part of the audit log that a bundle holds: entries about its version, with the proofs that they are in the log.

audit/entries.jsonl    the bytes of each event, one a line; SHA-256 of the byte 00 and a line is its leaf hash
audit/proofs.json      {"root", "size", "entries": [{"number", "path"}]}, hashes in hexadecimal digits
audit/checkpoint.txt   the signed note of that size and root, by the key of the log
audit/earlier.json     [{"size", "root", "proof"}] of earlier checkpoints: the log has only grown since
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import PublicKey
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import hashes_of
from cloakhouse.ledger.audit_event import Event, decode
from cloakhouse.ledger.checkpoints import Checkpoint, opened
from cloakhouse.ledger.merkle import SIZE, consistency, inclusion, leaf_hash, verify_consistency, verify_inclusion
from cloakhouse.settings import Settings
from cloakhouse.stages.bundle_archive import damaged

ENTRIES, PROOFS = "audit/entries.jsonl", "audit/proofs.json"
NOTE, EARLIER = "audit/checkpoint.txt", "audit/earlier.json"
MOST_ENTRIES = 5_000
MOST_EARLIER = 100  # checkpoints, the newest
_DEEPEST = 64  # hashes of a path


@dataclass(frozen=True)
class ProvedLog:
    """What the log part of a bundle was found to be.

    Attributes:
        events: by number.
        checkpoint: that all of them are proved against.
        earlier: checkpoints (size, root) that are the beginning of it.
    """

    events: dict[int, Event]
    checkpoint: Checkpoint
    earlier: dict[int, bytes]


def log_members(settings: Settings, numbers: Sequence[int], note: str, trusted: PublicKey) -> dict[str, bytes]:
    """Return the four members by name: the entries `numbers`, all of them below the size of the checkpoint in `note`.

    Raises IntegrityError for a log whose rows are missing, StorageError.
    """
    checkpoint = opened(note, trusted, "checkpoint of the audit log")
    table, notes = db.audit_entry, db.audit_checkpoint
    with db.open_database(settings.database).connect() as connection:

        def lookup(nodes: Any) -> list[bytes]:
            return hashes_of(connection, nodes)

        contents: dict[int, bytes] = {}
        for start in range(0, len(numbers), 500):
            part = numbers[start : start + 500]
            rows = connection.execute(sa.select(table.c.number, table.c.content).where(table.c.number.in_(part)))
            contents |= {row.number: row.content for row in rows}
        if len(contents) != len(numbers):
            raise damaged("audit log", "every entry that was listed", "fewer")
        paths = [inclusion(number, checkpoint.size, lookup) for number in numbers]
        older = connection.execute(
            sa.select(notes.c.note)
            .where(notes.c.size < checkpoint.size)
            .order_by(notes.c.size.desc())
            .limit(MOST_EARLIER)
        ).scalars()
        earlier = [opened(text, trusted, "earlier checkpoint of the audit log") for text in older]
        proofs = [consistency(one.size, checkpoint.size, lookup) for one in earlier]
    entries = [{"number": number, "path": _hexes(path)} for number, path in zip(numbers, paths, strict=True)]
    grown = [
        {"size": one.size, "root": one.root.hex(), "proof": _hexes(proof)}
        for one, proof in zip(earlier, proofs, strict=True)
    ]
    return {
        ENTRIES: b"".join(contents[number] + b"\n" for number in numbers),
        PROOFS: _json({"size": checkpoint.size, "root": checkpoint.root.hex(), "entries": entries}),
        NOTE: note.encode(),
        EARLIER: _json(grown),
    }


def proved(members: dict[str, bytes], trusted: PublicKey, where: str) -> ProvedLog:
    """Return what the four members prove. Raises IntegrityError where a signature, an event or a proof isn't right."""
    try:
        note = members[NOTE].decode()
        checkpoint = opened(note, trusted, f"{where}, {NOTE}")
        lines = members[ENTRIES].split(b"\n")
        stated, grown = json.loads(members[PROOFS]), json.loads(members[EARLIER])
        if lines.pop() != b"" or (stated["size"], stated["root"]) != (checkpoint.size, checkpoint.root.hex()):
            raise ValueError("entries and proofs of one checkpoint")
        events = {}
        for line, item in zip(lines, stated["entries"], strict=True):
            number, path = item["number"], _hashes(item["path"])
            if not verify_inclusion(leaf_hash(line), number, checkpoint.size, path, checkpoint.root):
                raise ValueError("a proof of inclusion")
            events[number] = decode(line)
        if len(events) != len(lines) or list(events) != sorted(events):
            raise ValueError("each entry once, in order")
        earlier = {}
        for item in grown:
            size, root = item["size"], bytes.fromhex(item["root"])
            if not verify_consistency(size, root, checkpoint.size, checkpoint.root, _hashes(item["proof"])):
                raise ValueError("a proof of consistency")
            earlier[size] = root
    except IntegrityError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged(f"{where}, audit", "events in canonical form, each with a proof that holds", "others") from None
    return ProvedLog(events, checkpoint, earlier)


def require_kept(found: ProvedLog, kept: Checkpoint, where: str) -> None:
    """Return if `kept`, a checkpoint that somebody kept elsewhere, is of the same log.

    Raises IntegrityError: `integrity.fork` for another root at its size; `integrity.bundle` for a size at which the
    bundle proves nothing.
    """
    roots = {**found.earlier, found.checkpoint.size: found.checkpoint.root}
    if kept.size not in roots:
        sizes = ", ".join(map(str, sorted(roots)[-5:]))
        raise damaged(where, f"a checkpoint of a size that the bundle has: {sizes}", f"one of size {kept.size}")
    if roots[kept.size] != kept.root:
        raise IntegrityError(
            where=where,
            expected=f"the root at size {kept.size} that was kept elsewhere",
            found="another one: the history was rewritten, or one of the two is of another log",
            not_done="nothing that the bundle says was believed",
            remedy="keep both files as they are for whoever investigates; run `cloakhouse audit verify --checkpoint`",
            code="fork",
        )


def _hexes(path: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in path]


def _hashes(path: Any) -> list[bytes]:
    if not isinstance(path, list) or len(path) > _DEEPEST:
        raise ValueError("a path of hashes")
    hashes = [bytes.fromhex(one) for one in path]
    if any(len(one) != SIZE for one in hashes):
        raise ValueError("a hash has 32 bytes")
    return hashes


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
