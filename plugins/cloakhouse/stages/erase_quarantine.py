"""Erasing persons from quarantine, where rows lie as they were delivered: recognised as raw lines are.

A record that parsing set aside for one column's fault holds the declared columns and goes by its subject's column. A
record that is a whole line goes as it does in landing (`cloakhouse.stages.raw_fields`), by the header of its delivery;
when that isn't kept any longer, every whole field counts.
"""

from __future__ import annotations

import functools
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
from cloakhouse.stages.erase_protected import ended_with, found, told, zone_event
from cloakhouse.stages.erasure_batch import still
from cloakhouse.stages.landed_lines import header_of, plaintext
from cloakhouse.stages.parsing import SEPARATOR
from cloakhouse.stages.raw_fields import Fields, RawFields
from cloakhouse.stages.raw_subjects import RawSubjects

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

COLUMNS = ("reason", "column", "record")
HEADER = 1 << 16  # bytes read ahead: of a file of which nothing but its header is wanted


def erase_quarantine(settings: Settings, batch: Batch) -> dict[str, int]:
    """Cut the persons of `batch` out of all quarantined rows and return totals, as `erase_protected` does."""
    erasures = Erasures(settings.database)
    ended = erasures.step(batch.name, QUARANTINE)
    if ended is not None:
        return dict(ended.content)
    totals, erasing = Counter({"rewritten": 0, "deleted": 0}), zone_event(settings, QUARANTINE, batch)
    feeds = list(feeds_of_persons(settings))
    tools = Tools.of(settings, feeds, batch.reason)
    for contract in feeds:
        for partition in tools.catalogue.protected(contract.name).values():
            by = told(erasing, QUARANTINE, partition)
            step = f"{QUARANTINE} {contract.name}/{partition.partition}/{partition.manifest.sha256[:12]}"
            subjects = recogniser(contract, tools, still(settings, batch, tools.holds), batch.names)
            noted = partial(found, erasures, batch, step)
            columns, going = quarantine_rows(settings, contract, partition, subjects, tools)
            cut = cut_list(settings, contract, partition, QUARANTINE, columns, going, by, noted, tools)
            totals.update(rewritten=cut.rewritten, deleted=cut.deleted)
    return ended_with(erasures, batch, QUARANTINE, totals, erasing)


def quarantine_rows(
    settings: Settings,
    contract: Contract,
    partition: ProtectedPartition,
    subjects: RawSubjects,
    tools: Tools | None = None,
) -> tuple[tuple[str, ...], Going]:
    """Return the columns that tell which quarantined rows of a partition go, and what tells it from them."""
    names = tuple(column.name for column in subjects.columns)

    @functools.cache
    def raw_fields(with_header: bool) -> RawFields:
        header = _header(settings, contract, partition, tools) if with_header else b""
        return RawFields(contract, _feed(contract), names, header)

    def going(batch: pa.RecordBatch) -> pa.BooleanArray:
        records = [record or b"" for record in batch.column("record").to_pylist()]
        fields = raw_fields(any(SEPARATOR not in record for record in records))  # a whole line; few partitions have any
        rows = zip(batch.column("column").to_pylist(), records, strict=True)
        read = [fields.of_record(record, bool(column)) for column, record in rows]
        wanted = [[values[place] for values, _ in read] for place in range(len(fields.names))]
        columns = tuple(pa.array(values, pa.binary()) for values in wanted)
        doubtful = tuple((number, whole) for number, (_, whole) in enumerate(read) if whole)
        return pa.array(subjects.whose(Fields(columns, doubtful)).goes)

    return COLUMNS, going


def _header(settings: Settings, contract: Contract, partition: ProtectedPartition, tools: Tools | None) -> bytes:
    """Return the header of the delivery that the partition was made from; nothing when that isn't kept any longer, and
    for JSON, which has none."""
    if _feed(contract).format != "csv":
        return b""
    ring, catalogue = (tools.ring, tools.catalogue) if tools else (open_ring(settings), Catalogue(settings.database))
    store = open_store(settings)
    for delivery in catalogue.deliveries(contract.name, partition.partition).get(partition.partition, []):
        if delivery.sha256 == partition.delivery_sha256 and delivery.expired_at is None:
            content = read_manifest(store, delivery.manifest, "delivery")
            target = LandedObject(contract.name, partition.partition, content["object"])
            with opened(store, target, ring) as stream:
                return header_of(plaintext(stream, _feed(contract), HEADER), _feed(contract))
    return b""


def _feed(contract: Contract) -> Feed:
    assert contract.feed is not None
    return contract.feed
