"""Whom a file names: from tokens of identifiers to persons whom the lake knows.

1. Every landed customer master that is still kept is read once, column by column. It tells which persons stand behind
   a loyalty card or an e-mail address: all whom any delivery ever gave it, the newest and older ones alike.
2. A person whom no landed master has is looked for in the protected zone, by the token that its feeds have.
3. Whoever is in neither is unknown: named by line, and by nothing else. An identifier that several persons have had is
   ambiguous.

Landed feeds of other kinds are not read for this: their persons reach the protected zone with the next run. Memory
holds the tokens that were asked for, and a batch of rows.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages.parsing import parse
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.subject_file import Lines, Named
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.tokens.keyed import written
from cloakhouse.tokens.subjects import RIGHTS_TYPE, tokens_of_rights


@dataclass(frozen=True)
class LookedUp:
    """Persons whom a file names.

    Attributes:
        persons: rights tokens of those whom the lake knows, sorted and unique; of ambiguous identifiers, all.
        unknown: lines that name somebody whom it doesn't know; of several with the same identifier, the first.
        unknown_persons: rights tokens of those among them whom a line names by the subject's own column.
        ambiguous: lines whose identifier several persons have had, likewise.
        repeated: how many lines have an identifier that an earlier line has.
    """

    persons: pa.Array
    unknown: Lines
    unknown_persons: pa.Array
    ambiguous: Lines
    repeated: int


def look_up(settings: Settings, identifiers: Identifiers, named: Named) -> LookedUp:
    """Return whom `named` names. Raises IntegrityError, KeyServiceError, AccessRefused, StorageError."""
    subject = identifiers.column.name
    aliases = {name: table for name, table in named.tokens.items() if name != subject}
    asked = named.tokens.get(subject, _NOBODY)
    known, pairs = _in_masters(settings, identifiers, asked["token"].combine_chunks(), aliases)
    unseen = _others(asked["token"].combine_chunks(), known)
    known = union([known, _in_protected(settings, identifiers, unseen)])
    strangers = asked.filter(pc.invert(pc.is_in(asked["token"], value_set=known)))
    lines, ambiguous = [strangers["line"]], []
    for name, table in aliases.items():
        counts = pa.TableGroupBy(pairs[name], "name").aggregate([("person", "count")])
        lines.append(table.filter(pc.invert(pc.is_in(table["token"], value_set=counts["name"])))["line"])
        several = counts.filter(pc.greater(counts["person_count"], 1))["name"]
        ambiguous.append(table.filter(pc.is_in(table["token"], value_set=several))["line"])
    persons = union([known, *(pairs[name]["person"] for name in aliases)])
    unknown, repeated = Lines.of(_whole(lines)), named.lines - named.unreadable - named.distinct
    return LookedUp(persons, unknown, union([strangers["token"]]), Lines.of(_whole(ambiguous)), repeated)


def names_of(settings: Settings, identifiers: Identifiers, persons: pa.Array) -> pa.Array:
    """Return the tokens of what else names `persons` in any landed customer master, sorted and unique.

    Raises as `look_up`.
    """
    found: list[pa.Array] = []
    for table in master_rows(settings, identifiers, identifiers.also):
        rights = identifiers.tokens(table[identifiers.column.name].combine_chunks(), identifiers.column.name)
        mine = table.filter(pc.is_in(rights, value_set=persons))
        for name in identifiers.also:
            found.append(identifiers.tokens(mine[name].combine_chunks(), name))
    return union(found)


def master_rows(settings: Settings, identifiers: Identifiers, also: Collection[str]) -> Iterator[pa.Table]:
    """Yield the subject's column and `also` of every landed customer master that is kept, in batches."""
    catalogue, store, ring = Catalogue(settings.database), open_store(settings), open_ring(settings)
    contract = _narrowed(identifiers.master, {identifiers.column.name, *also})
    feed = contract.feed
    assert feed is not None
    for revisions in catalogue.deliveries(contract.name).values():
        for delivery in revisions:
            if delivery.expired_at is not None:
                continue
            content = read_manifest(store, delivery.manifest)
            target = LandedObject(contract.name, delivery.partition, content["object"])
            with opened(store, target, ring) as stream:
                plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if feed.compressed else stream
                for parsed in parse(plain, contract, feed):
                    yield parsed.table


def union(parts: list[pa.Array | pa.ChunkedArray]) -> pa.Array:
    """Return the persons of all parts: fixed_size_binary(16), sorted and unique, without nulls."""
    whole = pc.unique(_whole(parts, RIGHTS_TYPE)).drop_null()
    return whole.take(pc.sort_indices(whole))


_NOBODY = pa.table({"token": pa.array([], RIGHTS_TYPE), "line": pa.array([], pa.int64())})


def _in_masters(
    settings: Settings, identifiers: Identifiers, asked: pa.Array, aliases: dict[str, pa.Table]
) -> tuple[pa.Array, dict[str, pa.Table]]:
    """Return who of `asked` is in a landed master, and by column the pairs (name, person), each once."""
    subject, known = identifiers.column.name, [pa.array([], RIGHTS_TYPE)]
    pairs = {name: _PAIRS.empty_table() for name in aliases}
    for table in master_rows(settings, identifiers, aliases):
        rights = identifiers.tokens(table[subject].combine_chunks(), subject)
        known.append(pc.unique(rights.filter(pc.is_in(rights, value_set=asked))))
        for name, wanted in aliases.items():
            tokens = identifiers.tokens(table[name].combine_chunks(), name)
            found = pa.table([tokens, rights], schema=_PAIRS).filter(pc.is_in(tokens, value_set=wanted["token"]))
            both = pa.concat_tables([pairs[name], found])
            pairs[name] = pa.TableGroupBy(both, ["name", "person"]).aggregate([]).select(_PAIRS.names)
    return union(known), pairs


_PAIRS = pa.schema([("name", RIGHTS_TYPE), ("person", RIGHTS_TYPE)])


def _in_protected(settings: Settings, identifiers: Identifiers, asked: pa.Array) -> pa.Array:
    """Return who of `asked` has a row in the protected zone; the customer master, the smallest, is read first."""
    catalogue, store = Catalogue(settings.database), TableStore(open_store(settings), open_ring(settings))
    found, missing = [pa.array([], RIGHTS_TYPE)], asked
    for contract in sorted(identifiers.feeds, key=lambda feed: feed.name != identifiers.master.name):
        assert contract.rights.subject is not None
        column = contract.column(contract.rights.subject.column)
        for partition in catalogue.protected(contract.name).values():
            for entry in partition_files(settings, partition.manifest):
                if not len(missing):
                    return union(found)
                tokens = tokens_of_rights(missing, column, identifiers.keys)
                there = pc.unique(store.read(entry, [column.name])[column.name])
                seen = missing.filter(pc.is_in(written(tokens, column.treatment.parameters), value_set=there))
                found.append(seen)
                missing = _others(missing, seen)
    return union(found)


def _narrowed(contract: Contract, names: set[str]) -> Contract:
    """Return the contract with these columns alone: a row whose other columns are at fault names its person as well."""
    kept = (replace(c, required=False) for c in contract.columns if c.name in names)
    return replace(contract, columns=tuple(kept))


def _others(persons: pa.Array, known: pa.Array) -> pa.Array:
    return persons.filter(pc.invert(pc.is_in(persons, value_set=known)))


def _whole(parts: list[pa.Array | pa.ChunkedArray], kind: pa.DataType | None = None) -> pa.Array:
    kind = kind or pa.int64()
    arrays = [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in parts]
    return pa.concat_arrays([pa.array([], kind), *arrays])
