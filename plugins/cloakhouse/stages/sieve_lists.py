"""Who may pass in a run that is pinned (`cloakhouse.stages.pinning`): sieves in this process, and lists for workers.

Spark's workers have no control database: `listed` writes who may pass, encrypted, below `rights/sieves/<dataset>` for
as long as the job runs. What a killed run left there goes with the next one, or with an erasure.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from cloakhouse.contracts.model import Column, ColumnClass, Contract
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.derive import KeySource
from cloakhouse.keys.protocol import FOOTER, KeyName
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.leftovers import remove_others
from cloakhouse.stages.pinning import Pinned, persons_of
from cloakhouse.stages.sieve import Persons, Sieve
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.subjects import layer_of, rights_uses

FOLDER = "rights/sieves"
PERSON = "person"


@dataclass(frozen=True)
class Listed:
    """Who may pass, as Spark's workers read it; without `entry` everybody may."""

    entry: FileEntry | None = None
    only: bool = False

    def sieve(self, store: TableStore, contract: Contract, keys: KeySource) -> Sieve | None:
        """Return the sieve over the rows of the feed `contract`. Raises IntegrityError, KeyServiceError."""
        column = person_column(contract)
        if self.entry is None or column is None:
            return None
        listed = store.read(self.entry).column(PERSON).combine_chunks()
        return Sieve(Persons(listed, self.only), column, keys)


def person_column(contract: Contract) -> Column | None:
    """Return the column that names the person in the rows of a feed, None where its rows are of nobody."""
    subject = contract.rights.subject
    return None if subject is None else contract.column(subject.column)


def sieves(
    settings: Settings, contract: Contract, contracts: Mapping[str, Contract], pinned: Pinned
) -> dict[str, Sieve]:
    """Return the sieve over the protected rows of each source of a derived dataset; none where everybody passes.

    Makes the roots of keys that it takes. Raises as `persons_of`, and IntegrityError, KeyServiceError, AccessRefused.
    """
    persons = persons_of(settings, contract, contracts, pinned)
    columns = {name: column for name in contract.sources if (column := person_column(contracts[name])) is not None}
    if persons.all_pass or not columns:
        return {}
    ensure_roots(settings, sorted({use.root for c in columns.values() for use in (layer_of(c), *rights_uses(c))}))
    keys = token_keys(settings)
    return {name: Sieve(persons, column, keys) for name, column in columns.items()}


@contextlib.contextmanager
def listed(settings: Settings, contract: Contract, pinned: Pinned) -> Iterator[Listed]:
    """Yield who may pass for the workers of a job on the feed `contract`; the list is gone when the block ends.

    The caller holds the dataset's lock, so that no other job reads there. Raises as `sieves`.
    """
    persons = persons_of(settings, contract, {contract.name: contract}, pinned)
    column = person_column(contract)
    lake, folder = open_store(settings), f"{FOLDER}/{contract.name}"
    if column is None or persons.all_pass:
        yield Listed()
        return
    remove_others(lake, folder, ())  # what killed runs left
    ensure_roots(settings, [use.root for use in rights_uses(column)])
    table = pa.table({PERSON: persons.listed})
    path = f"{folder}/{secrets.token_hex(8)}.parquet"
    try:
        entry = TableStore(lake, open_ring(settings)).write(path, table, {PERSON: ColumnClass.DIRECT})
        yield Listed(entry, persons.only)
    finally:
        remove_others(lake, folder, ())


def keys_of_sieve(contract: Contract) -> list[DatasetKey | KeyName]:
    """Return the keys that workers open for `listed`, for their record (`leased`)."""
    column = person_column(contract)
    if column is None:
        return []
    uses: list[DatasetKey | KeyName] = [use.root for use in rights_uses(column)]
    return [*uses, *(DatasetKey("rights", use, "sieves") for use in (FOOTER, ColumnClass.DIRECT.key_name))]


def clear_lists(store: ObjectStore, dataset: str) -> None:
    """Remove the lists that killed runs of `dataset` left; for who holds its lock, such as an erasure."""
    remove_others(store, f"{FOLDER}/{dataset}", ())
