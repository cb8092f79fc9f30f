"""Released versions without the hours they take: real evidence of the sample feed, signed and registered in a new home.

The files of `tests/support/evidence` are what `validate_synthetic` and `synthesize` wrote for two weeks of the feed;
the contract's digest in them is made that of the contract in force.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.releases import Release, write_release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.settings import Settings
from cloakhouse.stages.signing import signing_key

PRIVATE, PLAIN = "baskets_private", "households_synthetic"
FOLDER = Path(__file__).parent / "evidence"
AT = dt.datetime(2026, 11, 22, 10, 30, tzinfo=dt.UTC)
RUN = {"dag": f"publish_{PRIVATE}", "run": "manual__2026-11-22T10:00:00+00:00"}
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Released:
    """A home with one version in it."""

    settings: Settings
    contract: Contract
    version: DatasetVersion
    release: Release
    evidence: ManifestRef


def recorded(name: str, kind: str) -> dict[str, Any]:
    """Return a manifest of the sample feed: `kind` is validation or synthesis."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.{kind}.json").read_text())
    return {key: value for key, value in content.items() if key not in ("format", "kind")}


def released(
    home: Path, name: str = PRIVATE, *, evidence: Change | None = None, synthesis: Change | None = None
) -> Released:
    """Return `home` with a release of `name`, whose manifests `evidence` and `synthesis` may change before."""
    settings = Settings.from_environment({}).with_home(home)
    contract = load_contracts(settings.contracts)[name]
    identity = {"version": contract.version, "digest": contract.digest}
    store = open_store(settings)
    made = {**recorded(name, "synthesis"), "contract": identity}
    file = TableStore(store, open_ring(settings)).write(
        f"synthetic/{name}/{made['fingerprint'][:12]}/part-00000.parquet",
        pa.table({"value": [1.0, 2.0]}),
        {"value": ColumnClass.SENSITIVE},
    )
    made |= {"files": [file.as_dict()], "rows": file.rows}
    if synthesis:
        synthesis(made)
    source = write_manifest(store, f"synthetic/{name}", "synthesis", made)
    found = {**recorded(name, "validation"), "contract": identity, "subject": source.as_dict()}
    if evidence:
        evidence(found)
    admitted = write_manifest(store, f"evidence/{name}", "validation", found)
    release = Release(
        dataset=name,
        version=1,
        zone="synthetic",
        published_at=AT,
        fingerprint=made["fingerprint"],
        contract=identity,
        columns=({"name": "value", "type": "number", "class": "sensitive", "key": "synthetic/sensitive"},),
        files=(file,),
        rows=file.rows,
        keys=("age:k#synthetic/footer", "age:k#synthetic/sensitive"),
        treatments=_treatments(settings, contract),
        parents=made["sources"],
        run={**RUN, "dag": f"publish_{name}"},
        evidence=admitted,
        source=source,
        code={"cloakhouse": "0.1.0"},
        card={},
    )
    return Released(settings, contract, registered(settings, release), release, admitted)


def registered(settings: Settings, release: Release) -> DatasetVersion:
    """Sign `release`, make it a version of the control database, and return the version."""
    ref = write_release(open_store(settings), signing_key(settings, "releases"), release)
    version = DatasetVersion(
        release.dataset, release.version, release.fingerprint, release.zone, release.rows, ref, AT, head=True
    )
    row = {
        **{key: getattr(version, key) for key in ("dataset", "version", "fingerprint", "zone", "rows")},
        "manifest_path": ref.path,
        "manifest_sha256": ref.sha256,
        "published_at": AT,
    }
    head = {"dataset": release.dataset, "version": release.version, "reserved": release.version}
    with db.open_database(settings.database).begin() as connection:
        connection.execute(sa.insert(db.dataset_version).values(**row))
        connection.execute(sa.insert(db.dataset_head).values(**head))
    return version


def republished(made: Released, **changes: Any) -> Released:
    """Return the same home with the release signed again, changed: what only the holder of the key can do."""
    with db.open_database(made.settings.database).begin() as connection:
        connection.execute(sa.delete(db.dataset_version))
        connection.execute(sa.delete(db.dataset_head))
    release = replace(made.release, **changes)
    return replace(made, release=release, version=registered(made.settings, release))


def _treatments(settings: Settings, contract: Contract) -> Mapping[str, Any]:
    contracts = load_contracts(settings.contracts)
    return {
        source: {"contract": {"version": contracts[source].version, "digest": contracts[source].digest}}
        for source in contract.sources
    }
