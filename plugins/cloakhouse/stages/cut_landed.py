"""One landed file without the lines of some persons.

Under the dataset's lock, which landing takes, too:

1. the file is read once: decrypted, decompressed, whose each line is. Up to FIRST bytes of lines are held back until
   the first line that goes; a file that none goes of is never written;
2. the lines that stay are written to a new object beside the old one, under a data key of its own, with its own
   splits;
3. a manifest says so: rows, splits and the digest of the cut content. The digest that was delivered stays the identity
   of the delivery: delivered again, it is known;
4. the control database points to it, with the event and with what the caller notes of the count, in one transaction;
5. objects in the partition's folder that no delivery lists are deleted: the old one, and what a killed call left.

Killed before 4, the next call starts over; after it, there is nothing to cut, and the caller has 5 to do: whoever goes
on with an erasure does it for every partition, also for those that were cut.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from cloakhouse.contracts.model import Contract, Feed
from cloakhouse.errors import IntegrityError
from cloakhouse.lake.landed import LandedObject, landing, opened
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import Also, Delivery
from cloakhouse.stages.cutting import Tools
from cloakhouse.stages.landed_lines import LineWriter, header_of, line_blocks, plaintext
from cloakhouse.stages.raw_fields import RawFields
from cloakhouse.stages.raw_subjects import Flags, RawSubjects
from cloakhouse.stages.splits import SPLIT_BYTES

LINE_FEED = 10
FIRST = 64 << 20  # bytes of lines held back until it is known that the file is to be written


@dataclass(frozen=True)
class CutLines:
    """What one call found in a landed file: lines that went, and lines that stay though they name who goes, since they
    name somebody who is to stay as well; and whether that was `noted` together with the cut."""

    gone: int
    kept: int
    noted: bool = False


Noted = Callable[[CutLines], Also | None]


@dataclass
class _Count:
    gone: int = 0
    kept: int = 0


class LandedCutter:
    """Cuts the landed files of one dataset; the caller holds its lock."""

    def __init__(
        self,
        contract: Contract,
        subjects: RawSubjects,
        by: Event,
        tools: Tools,
        split_bytes: int = SPLIT_BYTES,
        hold: int = FIRST,
    ) -> None:
        assert contract.feed is not None
        self._contract = contract
        self._feed: Feed = contract.feed
        self._subjects = subjects
        self._by = by
        self._store = tools.store
        self._ring = tools.ring
        self._catalogue = tools.catalogue
        self._split_bytes = split_bytes
        self._hold = hold

    def cut(self, delivery: Delivery, batch: str, searched: str = "", noted: Noted | None = None) -> CutLines:
        """Cut one delivery for `batch` and return what was found.

        `noted` is told what was found where the delivery's manifest changes, and what it returns is done in the
        transaction of the cut. `searched`: digest of everybody who was looked for, where these are all who were ever
        erased; the manifest then notes it, and how many lines were kept.

        Raises IntegrityError for a file that was changed, KeyServiceError, AccessRefused, StorageError.
        """
        content = read_manifest(self._store, delivery.manifest, "delivery")
        old = LandedObject(delivery.dataset, delivery.partition, content["object"])
        new = replace(old, object=f"{delivery.sha256[:32]}~{secrets.token_hex(4)}.chl")
        count, facts = self._written(old, new)
        if facts is not None:
            _require_sum(new.path, content["rows"], count, facts)
            content |= {**facts, "object": new.object, "cut_from": delivery.manifest.sha256}
            content["cut"] = {"for": batch, "rows": count.gone}
        if searched:
            content |= {"searched": searched, "kept": count.kept}
        elif count.kept:
            content["kept"] = max(count.kept, content.get("kept", 0))
        if facts is not None or searched or count.kept:
            body = {name: value for name, value in content.items() if name not in ("format", "kind")}
            folder = f"landing/{delivery.dataset}/{delivery.partition}"
            manifest = write_manifest(self._store, folder, "delivery", body)
            after = replace(delivery, rows=content["rows"], manifest=manifest)
            also = noted(CutLines(count.gone, count.kept)) if noted is not None else None
            stood = self._catalogue.cut_delivery(delivery, after, replace(self._by, count=count.gone), also)
            return CutLines(count.gone, count.kept, noted=stood and also is not None)
        return CutLines(count.gone, count.kept)

    def _written(
        self, old: LandedObject, new: LandedObject, *, at_once: bool = False
    ) -> tuple[_Count, dict[str, Any] | None]:
        """Write the lines of `old` that stay to `new`; return what was counted, and None where none went."""
        count, waiting, size = _Count(), list[bytes](), 0
        with opened(self._store, old, self._ring) as stream:
            plain = plaintext(stream, self._feed)
            header = header_of(plain, self._feed)
            staying = self._staying(plain, header, count)
            for block in staying:
                size += len(block)
                waiting = [*waiting, block] if size <= self._hold or at_once else []
                if count.gone or at_once:
                    break
            else:
                return count, None
            if size <= self._hold or at_once:
                return count, self._encrypted(new, itertools.chain([header], waiting, staying))
        return self._written(old, new, at_once=True)  # the first hit stands far below the start

    def _encrypted(self, new: LandedObject, pieces: Iterator[bytes]) -> dict[str, Any]:
        with landing(self._store, new, self._ring) as writer:
            lines = LineWriter(writer, self._feed, self._split_bytes)
            for piece in pieces:
                lines.write(piece)
            lines.finish()
        return lines.facts()

    def _staying(self, plain: BinaryIO, header: bytes, count: _Count) -> Iterator[bytes]:
        """Yield the lines that stay, a block at a time, and count the others."""
        names = tuple(column.name for column in self._subjects.columns)
        fields = RawFields(self._contract, self._feed, names, header)
        for block in line_blocks(plain):
            whose = self._subjects.whose(fields.read(block))
            count.gone += int(whose.goes.sum())
            count.kept += whose.kept
            yield without_lines(block, whose.goes) if whose.goes.any() else block


def remove_unlisted(tools: Tools, dataset: str, partition: str) -> int:
    """Delete the objects in a partition's folder that no delivery lists; return how many. The dataset's lock is held.

    Raises IntegrityError, StorageError.
    """
    revisions = tools.catalogue.deliveries(dataset, partition).get(partition, [])
    manifests = [read_manifest(tools.store, d.manifest, "delivery") for d in revisions if d.expired_at is None]
    folder, listed = f"landing/{dataset}/{partition}", {content["object"] for content in manifests}
    count = 0
    for info in list(tools.store.list(folder)):
        name = info.path.rpartition("/")[2]
        if name.endswith(".chl") and name not in listed:
            count += tools.store.delete(info.path)
    tools.store.clear_leftovers(folder)
    return count


def without_lines(block: bytes, goes: Flags) -> bytes:
    """Return whole lines without those that go."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == LINE_FEED) + 1
    if len(ends) < len(goes):
        ends = np.append(ends, len(block))
    return bytes(data[np.repeat(~goes, np.diff(ends, prepend=0))])


def _require_sum(path: str, before: int, count: _Count, facts: Mapping[str, Any]) -> None:
    if facts["rows"] != before - count.gone:
        raise IntegrityError(
            where=path,
            expected=f"{before - count.gone} lines: those that landed, without {count.gone}",
            found=f"{facts['rows']} lines",
            not_done="the new file is not used",
            remedy="restore the landing zone from its backup, then run again",
        )
