"""The dry run of an erasure over what was made of persons' rows: what versions would go, which stay, what files go."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from tests.support.erasures import NAME, SOURCE, Attic

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import Catalogue, ProtectedPartition
from cloakhouse.ledger.versions import VersionState
from cloakhouse.stages.erasure_preview import FITTED, NEWER, STAYS, Affected, preview
from cloakhouse.stages.erasure_request import Chosen
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.keyed import written
from cloakhouse.tokens.subjects import RIGHTS_TYPE, tokens_of_rights

WEEK = "2017-01-02"
STRONG = {"epsilon": 0.01, "delta": 1e-9, "unit": "household", "rho": 1e-5, "neighbours": "one"}


def protect(attic: Attic, households: list[int]) -> None:
    """Have a protected partition with a row for each of `households` stand in the catalogue."""
    store, contract = open_store(attic.settings), attic.contracts[SOURCE]
    column, folder = contract.column("household_id"), f"protected/{SOURCE}/{WEEK}"
    tokens = tokens_of_rights(attic.persons(*households), column, token_keys(attic.settings))
    table = pa.table({column.name: written(tokens, column.treatment.parameters)})
    tables = TableStore(store, open_ring(attic.settings))
    entry = tables.write(f"{folder}/a.parquet", table, {column.name: ColumnClass.DIRECT})
    content = {"dataset": SOURCE, "partition": WEEK, "files": [entry.as_dict()], "quarantine": [], "quarantined": {}}
    ref = write_manifest(store, folder, "protected", content)
    part = ProtectedPartition(SOURCE, WEEK, "5" * 64, contract.version, table.num_rows, 0, True, ref)
    Catalogue(attic.settings.database).record_protected([part], Event("ann", Action.PSEUDONYMIZE, SOURCE))
    attic.parents[WEEK] = {"partition": WEEK, **ref.as_dict()}


def looked_at(attic: Attic, *households: int) -> list[Affected]:
    chosen = Chosen(attic.persons(*households), pa.array([], RIGHTS_TYPE), {})
    return preview(attic.settings, chosen.batch())


def test_a_dry_run_lists_the_models_and_whether_each_is_fitted_anew(tmp_path: Path) -> None:
    attic = Attic.at(tmp_path / "home")
    protect(attic, [1, 1, 2, 3])
    attic.publish([1, 2])
    attic.publish([1])

    def models(*households: int) -> list[tuple[str, str, str, int, str]]:
        found = [one for one in looked_at(attic, *households) if one.zone == "model"]
        return [(one.dataset, one.name, one.engine, one.rows, one.refit) for one in found]

    assert models(1) == [(NAME, f"{NAME}@1", "copula", 1, NEWER), (NAME, f"{NAME}@2", "copula", 1, FITTED)]
    assert models(2) == [(NAME, f"{NAME}@1", "copula", 1, NEWER)]
    assert models(9) == []
    attic.publish([1], guarantee=STRONG)
    [*gone, (_, _, engine, rows, refit)] = models(1)
    assert [one[-1] for one in gone] == [NEWER, NEWER]
    assert (engine, rows, refit) == ("copula", 0, STAYS)


def test_a_dry_run_counts_rows_and_what_was_made_of_them_and_changes_nothing(tmp_path: Path) -> None:
    attic = Attic.at(tmp_path / "home")
    protect(attic, [1, 1, 2, 3])
    attic.publish([1, 2], [3])
    attic.publish([2])
    attic.publish([1], guarantee=STRONG)

    before = {path: open_store(attic.settings).read(path) for path in attic.files()}

    def would_go(*households: int) -> list[tuple[str, str, int]]:
        found = [one for one in looked_at(attic, *households) if one.zone != "model"]
        return [(one.zone, "" if one.zone == "run" else one.name, one.rows) for one in found]

    first, kept = ("version", f"{NAME}@1", 2), ("stays", f"{NAME}@3", 2)
    [rows, *made] = would_go(1)
    assert rows == ("protected", WEEK, 2)
    assert sorted(made) == sorted([first, kept, ("run", "", 3), ("run", "", 2)])  # of what stays, its views alone
    assert would_go(3) == [("protected", WEEK, 1), first, ("run", "", 3)]  # in the hold-out alone
    assert would_go(9) == []
    assert {path: open_store(attic.settings).read(path) for path in attic.files()} == before
    assert [version.state for version in attic.register.versions()] == [VersionState.PUBLISHED] * 3
