"""The rows that persons have in the training views of synthetic datasets, for the attack after their erasure."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import NotFound
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.versions import Selector, VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.version_checks import open_release
from cloakhouse.stages.views import Side
from cloakhouse.synthesis.protocol import UNIT
from cloakhouse.tokens.subjects import rights_of_tokens

MOST_ROWS = 200_000  # of one dataset: more would not make the attack surer


def rows_of_persons(
    settings: Settings, contracts: Mapping[str, Contract], persons: pa.Array, keys: TokenKeys
) -> dict[str, pa.Table]:
    """Return, by synthetic dataset, the rows of `persons` that the version which its name stands for was trained on.

    The unit of each row is the person's rights token. Datasets without a version, without such rows, or whose views are
    gone are left out. Raises IntegrityError, KeyServiceError, AccessRefused, StorageError.
    """
    found: dict[str, pa.Table] = {}
    for contract in contracts.values():
        if contract.synthesis is None:
            continue
        source = contracts[contract.synthesis.view.source]
        rows = _rows(settings, contract, source, persons, keys)
        if rows is not None and rows.num_rows:
            found[contract.name] = rows
    return found


def _rows(
    settings: Settings, contract: Contract, source: Contract, persons: pa.Array, keys: TokenKeys
) -> pa.Table | None:
    assert contract.synthesis is not None
    unit = source.column(contract.synthesis.view.unit)
    if unit.treatment.name != "token" or "period" in unit.treatment.parameters:
        return None  # units of such views aren't persons
    try:
        version = VersionRegister(settings.database).resolve(Selector(contract.name))
    except NotFound:
        return None
    lake = open_store(settings)
    synthesis = read_manifest(lake, open_release(settings, version).source, "synthesis")
    side = Side.of(synthesis["training"])
    store = TableStore(lake, open_ring(settings))
    parts: list[pa.Table] = []
    for entry in side.files:
        if lake.stat(entry.path) is None or sum(part.num_rows for part in parts) >= MOST_ROWS:
            continue
        table = store.read(entry)
        rights = rights_of_tokens(table[UNIT], unit, keys)
        mine = pc.is_in(rights, value_set=persons)
        table = table.set_column(table.schema.get_field_index(UNIT), UNIT, rights)
        parts.append(table.filter(mine))
    return pa.concat_tables(parts) if parts else None
