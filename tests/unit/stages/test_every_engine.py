"""Every engine from its contract to a published dataset, on two weeks of the sample; three levels under a guarantee."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support import house
from tests.support.house import House
from tests.support.synthetic_contracts import (
    BASKETS,
    OF_BASKETS,
    OF_HOUSEHOLDS,
    OF_LINES,
    PEOPLE,
    PRODUCTS,
    add_synthetic,
)

from cloakhouse.client.api import Lake
from cloakhouse.client.dataset import Dataset
from cloakhouse.contracts.model import Contract
from cloakhouse.errors import ContractError
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages import sampling, views
from cloakhouse.stages.publish import publish
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.synthesize import plan, synthesize
from cloakhouse.stages.validate_release import validate_synthetic

pytestmark = [pytest.mark.path]

NETWORK = {"epochs": 1, "batchSize": 100, "width": 16, "embedding": 8}
PARAMETERS = {"gaussian copula": {}, "ctgan": NETWORK, "tvae": NETWORK, "hma": {}, "par": {"epochs": 1, "maxRows": 10}}
ROWS = 1200  # of training: some 450 households, of which the gate asks for 400
LEVELS = {**OF_HOUSEHOLDS, **OF_BASKETS, **OF_LINES}
BOTH = {**PRODUCTS, **PEOPLE}
LOOSE = {"*": 100.0}  # what so short a fit is worth isn't the question here


@pytest.fixture
def place(tmp_path: Path) -> House:
    return house.stocked().copy(tmp_path / "home")


def released(place: House, contract: Contract) -> tuple[Dataset, dict[str, Any]]:
    """Synthesize, validate and publish; return the dataset and the manifest of its synthesis."""
    manifest = synthesize(place.settings, contract)
    assert manifest is not None
    evidence = validate_synthetic(place.settings, contract, manifest)
    publish(place.settings, contract, evidence)
    found = Lake(place.settings, place.register).dataset(contract.name)
    return found, read_manifest(FolderStore(place.settings.lake), manifest)


@pytest.mark.parametrize("engine", list(PARAMETERS))
def test_an_engine_without_a_guarantee_is_published_with_its_evidence(place: House, engine: str) -> None:
    leveled = engine in ("hma", "par")
    contract = add_synthetic(
        place,
        "trial",
        {**(OF_HOUSEHOLDS if leveled else {}), **BASKETS},
        lookups=BOTH if leveled else PRODUCTS,
        view={"order": "transaction_timestamp"},
        gate={"risks": LOOSE, "maxCopyExcess": 0.9},
        engine=engine,
        privacy=None,
        maxTrainingRows=ROWS,
        parameters=PARAMETERS[engine],
    )
    dataset, synthesis = released(place, contract)
    table = dataset.to_arrow()
    assert table.num_rows == dataset.rows == synthesis["rows"] > 0
    assert table.column_names == [column.name for column in contract.columns]
    assert (pc.max(table.column("value")).as_py(), pc.min(table.column("hour")).as_py()) <= (500.0, 23)
    evidence = dataset.evidence()
    assert evidence["passed"] is True
    assert {"membership, rows: area under the curve", "hold-out units"} <= {f["name"] for f in evidence["gate"]}
    assert "rho of all noise in the model" not in {f["name"] for f in evidence["gate"]}
    assert (evidence["account"], evidence["curve"], synthesis["spend"]) == (None, [], None)
    assert dataset.card()["provenance"]["training_rows"] == synthesis["training"]["rows"] <= ROWS
    assert dataset.card()["provenance"]["engine"] == engine
    if leveled:
        households = table.group_by("household").aggregate([("size", "count_distinct"), ("hour", "count")])
        assert pc.max(households.column("size_count_distinct")).as_py() == 1
        assert pc.max(households.column("hour_count")).as_py() > 1
    again = synthesize(place.settings, contract)
    assert again is None  # these inputs are published


def test_lines_of_baskets_of_households_under_a_guarantee(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "SHARD_ROWS", 10_000)
    monkeypatch.setattr(sampling, "CHUNK_UNITS", 300)
    contract = add_synthetic(
        place,
        "trial",
        LEVELS,
        lookups=BOTH,
        view={"rows": "lines", "order": "transaction_timestamp"},
        gate={"risks": LOOSE},
    )
    dataset, synthesis = released(place, contract)
    assert len(synthesis["training"]["files"]) > 2
    assert len(synthesis["chunks"]) == len(synthesis["files"]) > 2
    table = dataset.to_arrow()
    assert {figure["name"]: figure["passed"] for figure in dataset.evidence()["gate"]}[
        "rows that the model does not give"
    ]
    for key, name in (("household", "size"), ("basket", "hour"), ("basket", "household")):
        counted = table.group_by(key).aggregate([(name, "count_distinct")])
        assert pc.max(counted.column(f"{name}_count_distinct")).as_py() == 1  # over all chunks
    parts = [place.store.read(entry) for entry in file_entries(synthesis["files"])]
    numbers = [set(part.column("basket").to_pylist()) for part in parts]
    assert sum(map(len, numbers)) == len(set().union(*numbers))
    assert pa.concat_tables(parts).num_rows == synthesis["rows"]


@pytest.mark.parametrize("engine", ["hma", "par", "ctgan", "gaussian copula"])
def test_what_an_engine_cannot_do_is_refused_before_a_row_is_read(place: House, engine: str) -> None:
    contract = add_synthetic(
        place, "trial", LEVELS, lookups=BOTH, view={"rows": "lines"}, engine=engine, privacy=None, maxTrainingRows=ROWS
    )
    with pytest.raises(ContractError) as caught:
        plan(place.settings, contract)
    assert caught.value.code == "contract.levels"
    assert "dp-marginals" in caught.value.remedy
