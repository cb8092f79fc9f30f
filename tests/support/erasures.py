"""Erasures and what they find: a small installation whose synthetic households were made of chosen persons.

Views, models, rows, evidence, reports and releases are written as the stages write them, encrypted and signed, with a
few rows; what a fit and its attacks would cost is left out.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.ledger.erasure_model import Erasure
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_batch import Batch, open_batch, write_list
from cloakhouse.stages.pinning import Pinned
from cloakhouse.stages.publish import publish
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.keyed import written
from cloakhouse.tokens.subjects import RIGHTS_TYPE, layer_of, rights_tokens, rights_uses, tokens_of_rights

NAME, SOURCE = "households_synthetic", "transactions"
NO_GUARANTEE = "none: not differentially private"
REASON = "requests of spring, DPO-17"
Parents = Mapping[str, Sequence[Mapping[str, str]]]


def requested(settings: Settings, persons: pa.Array, name: str = "er-20261122-0a1b2c3d") -> Batch:
    """Request the erasure of `persons` (rights tokens) and return the batch, as `cloakhouse erase` would."""
    column = load_contracts(settings.contracts)[SOURCE].column("household_id")
    ensure_roots(settings, [use.root for use in rights_uses(column)])
    persons = pa.array(sorted(set(persons.to_pylist())), RIGHTS_TYPE)
    manifest = write_list(settings, name, persons, pa.array([], RIGHTS_TYPE))
    erasure = Erasure(name, "ann", REASON, len(persons), manifest, dt.datetime.now(dt.UTC))
    asked = {DIGEST: hashlib.sha256(b"".join(persons.to_pylist())).hexdigest(), "batch": name}
    by = Event("ann", Action.REQUEST_ERASURE, name, reason=REASON)
    Erasures(settings.database).request(erasure, persons, asked, by)
    return open_batch(settings, name)


@dataclass
class Attic:
    """An installation of synthetic households in `home`, made of persons by their household's number."""

    settings: Settings
    runs: int = 0
    parents: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def at(cls, home: Path) -> Attic:
        """Return an empty one, with no contracts but those that the households are made under."""
        settings = Settings.from_environment({}).with_home(home)
        folder = home / "contracts"
        folder.mkdir(parents=True)
        for name in (NAME, SOURCE, "customers"):
            shutil.copy(settings.contracts / f"{name}.odcs.yaml", folder)
        made = cls(replace(settings, contracts=folder))
        column = made.contracts[SOURCE].column("household_id")
        ensure_roots(made.settings, [use.root for use in (*rights_uses(column), layer_of(column))])
        return made

    @functools.cached_property
    def contracts(self) -> dict[str, Contract]:
        return load_contracts(self.settings.contracts)

    @property
    def register(self) -> VersionRegister:
        return VersionRegister(self.settings.database)

    def files(self, *zones: str) -> set[str]:
        """Return the paths of all objects, or those of `zones`."""
        found = {info.path for info in open_store(self.settings).list()}
        return {path for path in found if not zones or path.split("/")[0] in zones}

    def persons(self, *households: int) -> pa.Array:
        """Return rights tokens."""
        column = self.contracts[SOURCE].column("household_id")
        return rights_tokens(pa.array(households, pa.int64()), column, token_keys(self.settings))

    def partition(self, name: str, note: str = "") -> dict[str, str]:
        """Have the protected partition `name` of transactions stand in the catalogue; return its reference.

        With another `note` it is another manifest, as after a cut.
        """
        content = {"dataset": SOURCE, "partition": name, "note": note, "files": [], "quarantine": []}
        ref = write_manifest(open_store(self.settings), f"protected/{SOURCE}/{name}", "protected", content)
        version = self.contracts[SOURCE].version
        partition = ProtectedPartition(SOURCE, name, "5" * 64, version, 10, 0, True, ref)
        Catalogue(self.settings.database).record_protected([partition], Event("ann", Action.PSEUDONYMIZE, SOURCE))
        self.parents[name] = {"partition": name, **ref.as_dict()}
        return self.parents[name]

    def publish(
        self,
        training: Collection[int],
        holdout: Collection[int] = (),
        partitions: Sequence[str] = ("2017-01-02",),
        **how: Any,
    ) -> DatasetVersion:
        """Publish households made of these persons, in the partitions as they stand."""
        ref = self.synthesize(training, holdout, partitions, **how)
        return publish(self.settings, self.contracts[NAME], self.validate(ref))

    def synthesize(
        self,
        training: Collection[int],
        holdout: Collection[int] = (),
        partitions: Sequence[str] = ("2017-01-02",),
        guarantee: Mapping[str, Any] | str = NO_GUARANTEE,
        digest: str = "",
    ) -> ManifestRef:
        """Write a run as `synthesize` does: training view, hold-out, model, rows, manifest; return the latter."""
        self.runs += 1
        store, contract = open_store(self.settings), self.contracts[NAME]
        fingerprint = hashlib.sha256(str(self.runs).encode()).hexdigest()
        run = f"{fingerprint[:12]}-{self.runs:08x}"
        tables = TableStore(store, open_ring(self.settings))
        views = {
            "training": self._view(tables, f"views/{NAME}/{run}/training-00000.parquet", training),
            "holdout": self._view(tables, f"views/{NAME}/{run}/holdout.parquet", holdout),
        }
        store.create(f"models/{NAME}/{fingerprint[:16]}-0.model", b"sealed")
        rows = pa.table({"value": [1.0, 2.0]})
        file = tables.write(f"synthetic/{NAME}/{run}/part-00000.parquet", rows, {"value": ColumnClass.SENSITIVE})
        content = {
            "dataset": NAME,
            "fingerprint": fingerprint,
            "contract": {"version": contract.version, "digest": digest or contract.digest},
            "engine": {"engine": "copula", "library": "none", "seed": 1, "privacy_guarantee": guarantee},
            "sources": {SOURCE: [self.parents[name] for name in partitions]},
            "rights": Pinned(erased=Tombstones(self.settings.database).digest()).as_dict(),
            **views,
            "suppressed_rows": 0,
            "rows": 2,
            "columns": [{"name": "value", "type": "number", "class": "sensitive"}],
            "files": [file.as_dict()],
        }
        return write_manifest(store, f"synthetic/{NAME}", "synthesis", content)

    def validate(self, synthesis: ManifestRef) -> ManifestRef:
        """Write evidence that passed."""
        contract = self.contracts[NAME]
        content = {
            "dataset": NAME,
            "contract": {"version": contract.version, "digest": contract.digest},
            "subject": synthesis.as_dict(),
            "suite": {"name": "none", "digest": "0" * 64},
            "quality": {"expectations": []},
            "gate": [],
            "passed": True,
        }
        return write_manifest(open_store(self.settings), f"evidence/{NAME}", "validation", content)

    def _view(self, tables: TableStore, path: str, households: Collection[int]) -> dict[str, Any]:
        column = self.contracts[SOURCE].column("household_id")
        tokens = tokens_of_rights(self.persons(*households), column, token_keys(self.settings))
        table = pa.table({"__unit": written(tokens, column.treatment.parameters)})
        entry = tables.write(path, table, {"__unit": ColumnClass.DIRECT})
        return {"rows": table.num_rows, "units": table.num_rows, "files": [entry.as_dict()]}
