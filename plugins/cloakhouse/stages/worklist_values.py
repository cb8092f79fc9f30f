"""What names the persons of a batch, read from what was delivered: identifiers, and the tokens that they have.

Of a feed with a `subject` the identifying columns count: those that name the subject, direct identifiers and payment
cards. Deliveries are gone through twice, a column at a time. The first time gives the persons' values; the second time
shows which of these stand in rows of others, too: such a value names nobody alone and is dropped, with the tokens that
it would have.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column, ColumnClass, Contract
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, Delivery
from cloakhouse.settings import Settings
from cloakhouse.stages.parsing import Parsed, cast_or_flag, parse
from cloakhouse.stages.sweep_values import SHORTEST, Needles, beside
from cloakhouse.tokens.apply import LOGICAL, Around, treat, untreatable, uses
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.render import to_base32, to_hex
from cloakhouse.tokens.subjects import RIGHTS_TYPE, rights_tokens

VALUE, TOKEN, FORMATTED, RIGHTS = "value", "token", "formatted", "rights"
SCHEMA = pa.schema([("person", RIGHTS_TYPE), ("kind", pa.string()), ("column", pa.string()), ("value", pa.binary())])
IDENTIFYING = (ColumnClass.DIRECT, ColumnClass.PAYMENT)
TOKENS = ("token", "reversible token", "format-preserving token")
Flags = npt.NDArray[np.bool_]


def identifying(contract: Contract) -> list[Column]:
    """Return the columns of a feed whose values name a person."""
    subject = contract.rights.subject
    assert subject is not None
    named = (subject.column, *subject.also)
    return [c for c in contract.columns if c.name in named or c.column_class in IDENTIFYING]


def feeds(contracts: Mapping[str, Contract]) -> list[Contract]:
    """Return the feeds whose rows are about persons."""
    return [c for c in contracts.values() if c.feed is not None and c.rights.subject is not None]


def deliveries(settings: Settings, contract: Contract) -> Iterator[Delivery]:
    """Yield the deliveries whose files are there, superseded ones included."""
    for found in Catalogue(settings.database).deliveries(contract.name).values():
        yield from (one for one in found if one.expired_at is None)


def parsed(settings: Settings, contract: Contract, delivery: Delivery) -> Iterator[Parsed]:
    """Yield the rows of a delivery as it lies. Raises IntegrityError, StageError, KeyServiceError, StorageError."""
    store, feed = open_store(settings), contract.feed
    assert feed is not None
    target = LandedObject(contract.name, delivery.partition, read_manifest(store, delivery.manifest)["object"])
    with opened(store, target, open_ring(settings)) as stream:
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if feed.compressed else stream
        yield from parse(plain, contract, feed)


def persons_of(table: pa.Table, contract: Contract, keys: TokenKeys) -> pa.Array:
    """Return the rights token of the person of each row; distinct identifiers are tokenized once."""
    subject = contract.rights.subject
    assert subject is not None
    encoded = table.column(subject.column).combine_chunks().dictionary_encode()
    return rights_tokens(encoded.dictionary, contract.column(subject.column), keys).take(encoded.indices)


def values_of(settings: Settings, contracts: Mapping[str, Contract], persons: pa.Array, keys: TokenKeys) -> pa.Table:
    """Return the identifiers of `persons` (SCHEMA, each once) from all deliveries."""
    found = SCHEMA.empty_table()
    for contract in feeds(contracts):
        for delivery in deliveries(settings, contract):
            parts = [found]
            for block in parsed(settings, contract, delivery):
                owners = persons_of(block.table, contract, keys)
                mine = pc.is_in(owners, value_set=persons)
                if mine.true_count:
                    parts += _values(block, contract, owners, mine)
            found = distinct(pa.concat_tables(parts))
    return found


def others_have(
    settings: Settings, contracts: Mapping[str, Contract], persons: pa.Array, keys: TokenKeys, values: pa.Table
) -> Flags:
    """Return which of `values` (rows of SCHEMA) stand in rows of other persons, or belong to more than one."""
    texts = values.column("value").combine_chunks()
    encoded = texts.dictionary_encode()
    several = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary)) > 1
    owners = values.column("person").combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.full(len(encoded.dictionary), -1)
    first[encoded.indices.to_numpy()[::-1]] = owners[::-1]
    shared = several[encoded.indices.to_numpy()]
    if shared.any():  # by one person in two columns, or by two persons
        differs = np.zeros(len(encoded.dictionary), np.bool_)
        np.logical_or.at(differs, encoded.indices.to_numpy(), owners != first[encoded.indices.to_numpy()])
        shared = differs[encoded.indices.to_numpy()]
    found = Finder.of(encoded.dictionary)
    seen = np.zeros(len(encoded.dictionary), np.bool_)
    for contract in feeds(contracts):
        subject = contract.rights.subject
        assert subject is not None
        columns = [c.name for c in identifying(contract) if c.name != subject.column]
        for delivery in deliveries(settings, contract) if columns else ():
            for block in parsed(settings, contract, delivery):
                mine = pc.is_in(persons_of(block.table, contract, keys), value_set=persons)
                others = block.raw.select(columns).filter(pc.invert(mine))
                for column in others.columns:
                    if pa.types.is_binary(column.type):
                        seen |= found.in_column(column.combine_chunks())
    subjects = pc.is_in(values.column("column"), value_set=pa.array(_subject_columns(contracts)))
    return np.asarray(shared | (seen[encoded.indices.to_numpy()] & ~subjects.to_numpy()))


def tokens_of(
    settings: Settings,
    contracts: Mapping[str, Contract],
    values: pa.Table,
    keys: TokenKeys,
    days: Mapping[str, list[str]],
) -> pa.Table:
    """Return every token that columns of the contracts give `values`, in each period and form (SCHEMA)."""
    domains = _domains(contracts, values)
    catalogue = Catalogue(settings.database)
    parts = [SCHEMA.empty_table()]
    for contract in contracts.values():
        for column in contract.columns:
            parameters = column.treatment.parameters
            if column.treatment.name not in TOKENS or parameters["domain"] not in domains:
                continue
            mine = domains[parameters["domain"]]
            typed = cast_or_flag(mine.column("value").combine_chunks().cast(pa.string()), LOGICAL[column.logical_type])[
                0
            ]
            fit = pc.and_(pc.is_valid(typed), pa.array(~untreatable(typed, column)))
            typed, owners = typed.filter(fit), mine.column("person").combine_chunks().filter(fit)
            periods = {Place(contract.name, day).period(parameters.get("period")): day for day in days[contract.name]}
            for period, day in periods.items():
                if all(catalogue.key_fingerprint(use.root) is not None for use in uses(column, period)):
                    treated = treat(typed, column, keys, Around(Place(contract.name, day)))
                    parts += [_rows(owners, kind, column.name, form) for kind, form in _forms(column, treated)]
    return distinct(pa.concat_tables(parts))


def distinct(table: pa.Table) -> pa.Table:
    """Return each row once."""
    return table.group_by(table.column_names, use_threads=False).aggregate([]).select(table.column_names)


class Finder:
    """Finds values in columns: long ones anywhere in a cell, short ones where they are the whole cell."""

    def __init__(self, long: pa.Array, short: pa.Array, where: tuple[Flags, int]) -> None:
        kinds = np.array([beside(value) for value in long.to_pylist()], np.uint8)
        self._needles, self._short, (self._long, self._count) = Needles(long, kinds), short, where

    @classmethod
    def of(cls, values: pa.Array) -> Finder:
        """Return the finder of `values` (binary, each once)."""
        long = pc.greater_equal(pc.binary_length(values), SHORTEST)
        return cls(values.filter(long), values.filter(pc.invert(long)), (np.asarray(long), len(values)))

    def in_column(self, column: pa.Array) -> Flags:
        """Return which values stand in `column` (binary)."""
        seen = np.zeros(self._count, np.bool_)
        seen[np.flatnonzero(self._long)[self._needles.find_in_cells(column).values]] = True
        short = pc.is_in(self._short, value_set=column)
        seen[np.flatnonzero(~self._long)[short.to_numpy(zero_copy_only=False)]] = True
        return seen


def _values(block: Parsed, contract: Contract, owners: pa.Array, mine: pa.Array) -> Iterator[pa.Table]:
    persons = owners.filter(mine)
    for column in identifying(contract):
        texts = block.table.column(column.name).combine_chunks().filter(mine).cast(pa.string()).cast(pa.binary())
        fit = pc.and_(pc.is_valid(texts), pc.greater(pc.binary_length(texts), 0))
        yield distinct(_rows(persons.filter(fit), VALUE, column.name, texts.filter(fit)))


def _rows(persons: pa.Array, kind: str, column: str, values: pa.Array) -> pa.Table:
    named = [pa.array([text] * len(persons), pa.string()) for text in (kind, column)]
    return pa.table([persons, *named, values.cast(pa.binary())], schema=SCHEMA)


def _forms(column: Column, treated: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    if pa.types.is_string(treated.type):
        yield (FORMATTED if column.treatment.name == TOKENS[2] else TOKEN), treated
    else:
        yield from ((TOKEN, form) for form in (treated, to_hex(treated), to_base32(treated)))


def _domains(contracts: Mapping[str, Contract], values: pa.Table) -> dict[str, pa.Table]:
    """Return the values by the domain of the columns that they were found in."""
    columns: dict[str, set[str]] = {}
    for contract in feeds(contracts):
        for column in identifying(contract):
            if column.treatment.name in TOKENS:
                columns.setdefault(column.treatment.parameters["domain"], set()).add(column.name)
    return {
        domain: distinct(
            values.filter(pc.is_in(values.column("column"), value_set=pa.array(sorted(names)))).select(
                ["person", "value"]
            )
        )
        for domain, names in columns.items()
    }


def _subject_columns(contracts: Mapping[str, Contract]) -> list[str]:
    return sorted({c.rights.subject.column for c in feeds(contracts) if c.rights.subject is not None})
