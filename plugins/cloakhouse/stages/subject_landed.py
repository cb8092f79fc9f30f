"""The lines of one person in a landed feed, as they were delivered: every field, also those that no contract declares.

Every delivery that is kept is read, also those that a later one replaced. Whose a line is, is told as for an erasure
(`cloakhouse.stages.raw_subjects`). A line whose columns can't be told apart may be another person's as well: it is
counted and not given out (GDPR Art. 15(4)).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.model import Contract, Feed
from cloakhouse.keys.derive import KeySource
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import Catalogue, Delivery
from cloakhouse.settings import Settings
from cloakhouse.stages.landed_lines import header_of, line_blocks, plaintext
from cloakhouse.stages.raw_fields import RawFields
from cloakhouse.stages.raw_subjects import RawSubjects, nobody
from cloakhouse.stages.subject_archive import Row

PARTITION, REVISION = "partition", "revision"  # beside the fields of a line: which delivery it is of
LINE_FEED = 10


@dataclass
class LandedRows:
    """The lines of `person` (rights token) in the landed deliveries of a feed; `names`: what else names that person.

    Attributes:
        unclear: lines that name the person and were not given out, once all were asked for.
    """

    settings: Settings
    contract: Contract
    person: bytes
    names: pa.Array
    keys: KeySource
    ring: KeyRing
    unclear: int = field(default=0, init=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the rows; a line may have fields besides."""
        return PARTITION, REVISION, *(column.name for column in self.contract.columns)

    def __iter__(self) -> Iterator[Row]:
        """Yield the lines, in order of partitions and revisions. Memory: a block of 4 MiB, and its columns.

        Raises IntegrityError, KeyServiceError, AccessRefused, StorageError.
        """
        for revisions in Catalogue(self.settings.database).deliveries(self.contract.name).values():
            for delivery in revisions:
                if delivery.expired_at is None:
                    where = {PARTITION: delivery.partition, REVISION: delivery.revision}
                    yield from ({**where, **fields} for fields in self._of(delivery))

    def _of(self, delivery: Delivery) -> Iterator[dict[str, Any]]:
        feed, store = self.contract.feed, open_store(self.settings)
        assert feed is not None
        going = pa.array([self.person], nobody().type)
        subjects = RawSubjects.of(self.contract, self.keys, going, nobody(), self.names)
        content = read_manifest(store, delivery.manifest, "delivery")
        target = LandedObject(delivery.dataset, delivery.partition, content["object"])
        with opened(store, target, self.ring) as stream:
            plain = plaintext(stream, feed)
            header = header_of(plain, feed)
            raw = RawFields(self.contract, feed, tuple(column.name for column in subjects.columns), header)
            for block in line_blocks(plain):
                fields = raw.read(block)
                mine = subjects.whose(fields).goes
                if mine.any():
                    doubtful = np.zeros(len(mine), np.bool_)
                    doubtful[[number for number, _ in fields.doubtful]] = True
                    self.unclear += int((mine & doubtful).sum())
                    for line in _lines(block, np.flatnonzero(mine & ~doubtful)):
                        yield _fields(line, header, feed)


def _lines(block: bytes, numbers: Any) -> Iterator[bytes]:
    """Yield the lines of `block` with these numbers."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == LINE_FEED) + 1
    ends = np.append(ends, len(block))
    for number in numbers:
        yield block[ends[number - 1] if number else 0 : ends[number]]


def _fields(line: bytes, header: bytes, feed: Feed) -> dict[str, Any]:
    """Return the fields of one sound line by name; bytes that are no UTF-8 stand as escapes."""
    text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
    if feed.format != "csv":
        try:
            found: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError):  # nested too deep, or a number too long
            found = {"line": text}
        return found
    names = header.decode("utf-8", "backslashreplace").removeprefix("\ufeff").rstrip("\r\n")
    [columns, values] = csv.reader([names, text], delimiter=feed.delimiter)
    return dict(zip(columns, values, strict=True))
