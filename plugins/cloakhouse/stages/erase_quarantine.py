"""Erasing persons from quarantine, where rows lie as they were delivered: recognised as raw lines are.

A record that parsing set aside for one column's fault holds the declared columns and goes by its subject's column. A
record that is a whole line goes as it does in landing (`cloakhouse.stages.raw_fields`), by the header of its delivery;
when that isn't kept any longer, every whole field counts.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Feed
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.recut import Going
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, ProtectedPartition
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.cutting import QUARANTINE, Tools, cut_list
from cloakhouse.stages.erase_landed import feeds_of_persons, recogniser
from cloakhouse.stages.erase_protected import ended_with, found, told
from cloakhouse.stages.erasure_batch import still
from cloakhouse.stages.landed_lines import header_of, plaintext
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
    feeds = list(feeds_of_persons(settings))
    tools = Tools.of(settings, feeds, batch.reason)
    for contract in feeds:
        for partition in Catalogue(settings.database).protected(contract.name).values():
            by = told(settings, QUARANTINE, contract, partition, batch)
            step = f"{QUARANTINE} {contract.name}/{partition.partition}/{partition.manifest.sha256[:12]}"
            subjects = recogniser(settings, contract, tools.keys, still(settings, batch), batch.names)
            noted = partial(found, erasures, batch, step, by)
            columns, going = quarantine_rows(settings, contract, partition, subjects)
            cut = cut_list(settings, contract, partition, QUARANTINE, columns, going, by, noted, tools)
            totals.update(rewritten=cut.rewritten, deleted=cut.deleted)
    return ended_with(settings, batch, QUARANTINE, totals)


def quarantine_rows(
    settings: Settings, contract: Contract, partition: ProtectedPartition, subjects: RawSubjects
) -> tuple[tuple[str, ...], Going]:
    """Return the columns that tell which quarantined rows of a partition go, and what tells it from them."""
    names = tuple(column.name for column in subjects.columns)
    fields = RawFields(contract, _feed(contract), names, _header(settings, contract, partition))

    def going(batch: pa.RecordBatch) -> pa.BooleanArray:
        rows = zip(batch.column("column").to_pylist(), batch.column("record").to_pylist(), strict=True)
        read = [fields.of_record(record or b"", bool(column)) for column, record in rows]
        wanted = [[values[place] for values, _ in read] for place in range(len(fields.names))]
        columns = tuple(pa.array(values, pa.binary()) for values in wanted)
        doubtful = tuple((number, whole) for number, (_, whole) in enumerate(read) if whole)
        return pa.array(subjects.whose(Fields(columns, doubtful)).goes)

    return COLUMNS, going


def _header(settings: Settings, contract: Contract, partition: ProtectedPartition) -> bytes:
    """Return the header of the delivery that the partition was made from; nothing when that isn't kept any longer."""
    store = open_store(settings)
    for delivery in Catalogue(settings.database).deliveries(contract.name).get(partition.partition, []):
        if delivery.sha256 == partition.delivery_sha256 and delivery.expired_at is None:
            content = read_manifest(store, delivery.manifest, "delivery")
            target = LandedObject(contract.name, partition.partition, content["object"])
            with opened(store, target, open_ring(settings)) as stream:
                return header_of(plaintext(stream, _feed(contract)), _feed(contract))
    return b""


def _feed(contract: Contract) -> Feed:
    assert contract.feed is not None
    return contract.feed
