"""Erasing persons from quarantine, where rows lie as they were delivered: recognised as raw lines are.

A record that parsing set aside for one column's fault holds the declared columns and goes by its subject's column; a
record that is a whole line at fault goes by every whole field that it has.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from cloakhouse.contracts.model import Contract
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.cutting import QUARANTINE, cut_list
from cloakhouse.stages.erase_landed import feeds_of_persons, recogniser
from cloakhouse.stages.erase_protected import ended_with, found, told
from cloakhouse.stages.erasure_batch import still
from cloakhouse.stages.raw_fields import Fields, RawFields
from cloakhouse.stages.raw_subjects import RawSubjects

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

COLUMNS = ("reason", "column", "record")


def erase_quarantine(settings: Settings, batch: Batch) -> dict[str, int]:
    """Cut the persons of `batch` out of all quarantined rows and return totals, as `erase_protected` does."""
    erasures = Erasures(settings.database)
    ended = erasures.step(batch.name, QUARANTINE)
    if ended is not None:
        return dict(ended.content)
    totals = Counter({"rewritten": 0, "deleted": 0})
    for contract in feeds_of_persons(settings):
        for partition in Catalogue(settings.database).protected(contract.name).values():
            by = told(settings, QUARANTINE, contract, partition, batch)
            step = f"{QUARANTINE} {contract.name}/{partition.partition}/{partition.manifest.sha256[:12]}"
            subjects = recogniser(settings, contract, still(settings, batch), batch.names)
            noted = partial(found, erasures, batch, step, by)
            going = QuarantinedRows.of(contract, subjects)
            cut = cut_list(settings, contract, partition, QUARANTINE, COLUMNS, going, by, noted)
            totals.update(rewritten=cut.rewritten, deleted=cut.deleted)
    return ended_with(settings, batch, QUARANTINE, totals)


@dataclass(frozen=True)
class QuarantinedRows:
    """Tells which quarantined rows go."""

    fields: RawFields
    subjects: RawSubjects

    @classmethod
    def of(cls, contract: Contract, subjects: RawSubjects) -> QuarantinedRows:
        """Return what tells it for one feed."""
        assert contract.feed is not None
        names = tuple(column.name for column in subjects.columns)
        return cls(RawFields(contract, contract.feed, names), subjects)

    def __call__(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Return which rows of `batch`, with COLUMNS, go."""
        rows = zip(batch.column("column").to_pylist(), batch.column("record").to_pylist(), strict=True)
        read = [self.fields.of_record(record or b"", bool(column)) for column, record in rows]
        wanted = [[fields[place] for fields, _ in read] for place in range(len(self.fields.names))]
        columns = tuple(pa.array(values, pa.binary()) for values in wanted)
        doubtful = tuple((number, whole) for number, (_, whole) in enumerate(read) if whole)
        return pa.array(self.subjects.whose(Fields(columns, doubtful)).goes)
