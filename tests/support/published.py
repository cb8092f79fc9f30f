"""A small real installation: encrypted files, manifests, releases and versions as the stages write them."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.publish import publish

GATE = [
    {"name": "excess of exact copies, upper 95 % bound", "value": 0.001, "threshold": 0.01, "at_most": True},
    {"name": "k-anonymity of customers", "value": 7.0, "threshold": 5.0, "at_most": False},
]
CHECK = {
    "type": "expect_column_values_to_be_between",
    "columns": ["value"],
    "success": True,
    "observed_value": None,
    "element_count": 6,
    "unexpected_count": 0,
    "unexpected_percent": 0.0,
    "exception_class": None,
}
LOGICAL = {"store_id": "integer", "value": "number", "has_meat": "boolean", "day": "date", "hour": "timestamp"}


def make_table() -> pa.Table:
    """Six rows of every type that a column can have, each with a null, and with hostile text."""
    return pa.table(
        {
            "store_id": pa.array([1, 2, 2**53 + 1, None, 5, 6], pa.int64()),
            "value": pa.array([1.5, float("nan"), None, 4.25, 1e300, -0.5], pa.float64()),
            "has_meat": pa.array([True, False, None, True, False, True]),
            "age": ["under 35", None, "[red]55+[/red]", "a\x1b[2J\nb", "größer", "\u202e55+"],
            "day": pa.array([dt.date(2017, 1, day) for day in (1, 2, 3, 4, 5)] + [None], pa.date32()),
            "hour": pa.array([dt.datetime(2017, 1, 2, hour) for hour in range(5)] + [None], pa.timestamp("us")),
            "token": pa.array([bytes([i]) * 16 for i in range(5)] + [None], pa.binary(16)),
            "price": pa.array([decimal.Decimal(n) for n in ("1.10", "2.00", "3.5", "0", "-1")] + [None]),
        }
    )


@dataclass
class PublishedHouse:
    """An installation in `home`, to publish into and to damage."""

    settings: Settings
    contract: Contract
    published: list[DatasetVersion] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def environment(self) -> dict[str, str | None]:
        """Variables for the command line; None removes one."""
        others = (
            "KEYS",
            "DATABASE",
            "CONTRACTS",
            "EXPECTATIONS",
            "DEBUG",
            "LAKE",
            "CACHE",
            "POLICY",
            "IDENTITY",
            "PURPOSE",
        )
        return {"CLOAKHOUSE_HOME": str(self.home)} | {f"CLOAKHOUSE_{name}": None for name in others}

    @property
    def register(self) -> VersionRegister:
        return VersionRegister(self.settings.database)

    def files(self, pattern: str = "synthetic/**/*.parquet") -> list[Path]:
        return sorted(self.settings.lake.glob(pattern))

    def publish(
        self,
        name: str = "people_synthetic",
        table: pa.Table | None = None,
        parts: int = 2,
        classes: Mapping[str, ColumnClass] | None = None,
        types: Mapping[str, str] = LOGICAL,
    ) -> DatasetVersion:
        """Publish `table` in `parts` files through the real stage, as the next version of `name`.

        Columns that `classes` doesn't name are plain, those that `types` doesn't name are strings.
        """
        table = make_table() if table is None else table
        number = len(self.published)
        fingerprint = f"{number:064x}"
        store = TableStore(FolderStore(self.settings.lake), open_ring(self.settings))
        classes = dict.fromkeys(table.column_names, ColumnClass.PLAIN) | dict(classes or {})
        size = -(-table.num_rows // parts)
        entries = [
            store.write(f"synthetic/{name}/{number:012x}/part-{i:05d}.parquet", table.slice(i * size, size), classes)
            for i in range(parts)
        ]
        contract = replace(self.contract, name=name)
        identity = {"version": contract.version, "digest": contract.digest}
        lake = self.settings.lake
        synthesis = write_manifest(
            FolderStore(lake),
            f"synthetic/{name}",
            "synthesis",
            {
                "dataset": name,
                "fingerprint": fingerprint,
                "contract": identity,
                "engine": {
                    "engine": "gaussian copula",
                    "library": "sdv 2.0",
                    "seed": 2017,
                    "privacy_guarantee": "none: not differentially private",
                },
                "sources": {
                    "transactions": self.partitions("transactions", "2017-01-02", "2017-01-09"),
                    "customers": self.partitions("customers", "2017-01-09"),
                },
                "training": {"rows": 40, "units": 9},
                "suppressed_rows": 1,
                "rows": table.num_rows,
                "columns": [
                    {"name": column, "type": types.get(column, "string"), "class": classes[column].value}
                    for column in table.column_names
                ],
                "files": [entry.as_dict() for entry in entries],
            },
        )
        evidence = write_manifest(
            FolderStore(lake),
            f"evidence/{name}",
            "validation",
            {
                "dataset": name,
                "contract": identity,
                "subject": synthesis.as_dict(),
                "suite": {"name": f"{name}-1.0.0", "digest": "0" * 64},
                "quality": {"suite": f"{name}-1.0.0", "success": True, "expectations": [CHECK]},
                "copies": {"upper_bound": 0.001},
                "gate": [{**figure, "passed": True} for figure in GATE],
                "privacy_guarantee": "none: not differentially private",
                "passed": True,
            },
        )
        version = publish(self.settings, contract, evidence)
        self.published.append(version)
        return version

    def partitions(self, source: str, *names: str) -> list[dict[str, str]]:
        """Write the manifests of protected partitions and their deliveries; return them as a synthesis lists them."""
        store = FolderStore(self.settings.lake)
        identity = {"contract": {"version": "1.0.0", "digest": "d" * 64}, "dataset": source}

        def listed(name: str, ref: ManifestRef) -> dict[str, str]:
            return {"partition": name, **ref.as_dict()}

        deliveries = [
            listed(
                name,
                write_manifest(
                    store,
                    f"landing/{source}/{name}",
                    "delivery",
                    {**identity, "partition": name, "revision": 1, "sha256": "5" * 64, "rows": 40, "bytes": 4_000},
                ),
            )
            for name in names
        ]
        request = write_manifest(
            store, f"protected/{source}", "pseudonymization-request", {**identity, "deliveries": deliveries}
        )
        made = {**identity, "request": request.as_dict(), "delivery_sha256": "5" * 64, "rows": 39, "files": []}
        return [
            listed(name, write_manifest(store, f"protected/{source}/{name}", "protected", {**made, "partition": name}))
            for name in names
        ]


def empty_house(home: Path) -> PublishedHouse:
    """Return an installation in `home` into which nothing was published."""
    settings = Settings.from_environment({}).with_home(home)
    return PublishedHouse(settings, load_contracts(settings.contracts)["baskets_synthetic"])
