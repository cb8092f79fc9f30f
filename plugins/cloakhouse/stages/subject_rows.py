"""The rows of one person in the protected zone and in the consent register, one at a time, ready for a copy of them.

A row of the protected zone has the columns of its file, as they are kept there: tokens stay tokens. Binary values are
hexadecimal, dates and times ISO 8601.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.derive import KeySource
from cloakhouse.lake.parquet import TableStore
from cloakhouse.ledger.catalogue import Catalogue, ProtectedPartition
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.subject_archive import Row
from cloakhouse.stages.subject_landed import PARTITION
from cloakhouse.tokens.keyed import written
from cloakhouse.tokens.subjects import RIGHTS_TYPE, tokens_of_rights

CONSENTS = ("purpose", "choice", "law", "notice", "source", "chosen_at", "recorded_at")


def protected_columns(contract: Contract) -> tuple[str, ...]:
    """Return the columns of the rows that `protected_rows` yields."""
    return PARTITION, *(column.name for column in contract.kept_columns)


def protected_rows(
    settings: Settings, store: TableStore, contract: Contract, person: bytes, keys: KeySource
) -> Iterator[Row]:
    """Yield the rows of one person (rights token) in the protected partitions of a feed, in order.

    Memory: one batch. Raises IntegrityError, KeyServiceError, AccessRefused, StorageError.
    """
    subject = contract.rights.subject
    assert subject is not None, contract.name
    column = contract.column(subject.column)
    [token] = written(tokens_of_rights(pa.array([person], RIGHTS_TYPE), column, keys), column.treatment.parameters)
    for partition in Catalogue(settings.database).protected(contract.name).values():
        for batch in _found(settings, store, partition, column.name, token):
            for row in batch.to_pylist():
                yield {PARTITION: partition.partition, **_values(row)}


def _found(
    settings: Settings, store: TableStore, partition: ProtectedPartition, column: str, token: pa.Scalar
) -> Iterator[pa.RecordBatch]:
    for entry in partition_files(settings, partition.manifest):
        for batch in store.batches(entry):
            mine = batch.filter(pc.equal(batch.column(column), token))
            if mine.num_rows:
                yield mine


def consent_rows(settings: Settings, person: bytes) -> Iterator[Row]:
    """Yield what one person (rights token) allowed and refused, by purpose, oldest first. Raises StorageError."""
    for record in ConsentRegister(settings.database).records(person):
        yield {
            "purpose": record.purpose,
            "choice": record.choice,
            "law": record.jurisdiction,
            "notice": record.policy,
            "source": record.source,
            "chosen_at": record.chosen_at.isoformat(),
            "recorded_at": record.recorded_at.isoformat(),
        }


def _values(row: Mapping[str, object]) -> dict[str, Any]:
    return {name: _value(value) for name, value in row.items()}


def _value(value: object) -> Any:
    """Return a value of the protected zone as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
