"""SDV behind the protocol: repeatable, ranges from the contract, nothing left behind."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.contracts import SHIPPED

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import StageError
from cloakhouse.synthesis import copula
from cloakhouse.synthesis.copula import GaussianCopula
from cloakhouse.synthesis.protocol import ViewColumn, open_synthesizer

ROWS = 400
COLUMNS = (
    ViewColumn("store", pa.int64(), True, None),
    ViewColumn("meat", pa.bool_(), True, None),
    ViewColumn("age", pa.string(), True, None),
    ViewColumn("units", pa.int64(), False, 200.0),
    ViewColumn("value", pa.float64(), False, 500.0),
)


def training() -> pa.Table:
    """Return rows whose numbers keep far from the ends of the contract's ranges, and end abruptly themselves."""
    draw = np.random.default_rng(7)
    units = draw.integers(20, 60, ROWS)
    return pa.table(
        {
            "store": pa.array(draw.choice([286, 31782, 2**53 + 1], ROWS), mask=draw.random(ROWS) < 0.1),
            "meat": pa.array(draw.random(ROWS) < 0.3),
            "age": pa.array(draw.choice(["under 45", "45+", None], ROWS), pa.string()),
            "units": pa.array(units),
            "value": pa.array(np.round(units * 2.5 + draw.uniform(0, 30, ROWS), 2)),
        }
    )


def no_report(done: int, total: int, unit: str) -> None:
    """Progress that nobody watches."""


def sampled(table: pa.Table, columns: tuple[ViewColumn, ...] = COLUMNS, *, seed: int = 1, rows: int = ROWS) -> pa.Table:
    engine = GaussianCopula(columns, seed)
    engine.fit(table)
    return engine.sample(rows, no_report)


def test_a_seed_repeats_whatever_was_drawn_before_and_another_differs() -> None:
    first = sampled(training())
    np.random.seed(99)
    np.random.random(1000)
    assert sampled(training()).equals(first)
    other = sampled(training(), seed=2)
    assert not other.equals(first)
    assert other.column("value").to_pylist() != first.column("value").to_pylist()


def test_names_types_and_categories_are_those_of_the_view() -> None:
    made = sampled(training())
    assert made.column_names == [c.name for c in COLUMNS]
    assert made.schema.types == [c.type for c in COLUMNS]
    assert set(made.column("store").to_pylist()) == {286, 31782, 2**53 + 1, None}  # exact beside nulls
    assert set(made.column("age").to_pylist()) == {"under 45", "45+", None}
    assert set(made.column("meat").to_pylist()) == {True, False}


def test_the_relation_of_two_columns_is_kept() -> None:
    made = sampled(training(), rows=2000)
    frame = made.select(["units", "value"]).to_pandas()
    assert frame.corr().iloc[0, 1] > 0.8
    assert abs(frame["units"].mean() - pc.mean(training().column("units")).as_py()) < 2


def test_ranges_come_from_the_contract_and_not_from_the_data() -> None:
    table = training()
    made = sampled(table, rows=20_000)
    for name, maximum in (("units", 200.0), ("value", 500.0)):
        real, drawn = pc.min_max(table.column(name)).as_py(), pc.min_max(made.column(name)).as_py()
        assert 0 <= drawn["min"] <= drawn["max"] <= maximum
        assert pc.sum(pc.equal(made.column(name), real["max"])).as_py() < 600


def test_a_value_moved_within_its_public_cell_leaves_no_trace() -> None:
    """Two training tables that differ in one extreme value of the same cell have the same marginal."""
    from cloakhouse.synthesis.marginals import cells

    edges = cells(200.0)
    cell = int(np.searchsorted(edges, 150.0, "right"))
    found = []
    for extreme in (int(np.ceil(edges[cell - 1])), int(np.floor(edges[cell]))):
        table = training()
        at = table.schema.get_field_index("units")
        engine = GaussianCopula(COLUMNS, 1)
        engine.fit(table.set_column(at, "units", pa.array([extreme, *table.column("units").to_pylist()[1:]])))
        model = engine._model._model
        univariate = dict(zip(model.columns, model.univariates, strict=True))["units"]
        found.append((univariate._edges.tolist(), univariate._below.tolist()))
    assert found[0] == found[1]


def test_atoms_and_tails_of_real_baskets_survive() -> None:
    """Baskets without coupon, with one line, with as many units as the cap: shares within two points."""
    draw = np.random.default_rng(7)
    units = np.minimum(np.where(draw.random(ROWS) < 0.4, 1, draw.geometric(0.02, ROWS)), 200)
    value = np.where(draw.random(ROWS) < 0.9, 0.0, np.round(draw.gamma(2, 20, ROWS), 2))
    made = sampled(pa.table({"units": units, "value": value}), COLUMNS[3:], rows=20_000).to_pandas()
    for name, real, atom in (("units", units, 1), ("units", units, 0), ("units", units, 200), ("value", value, 0.0)):
        assert abs((made[name] == atom).mean() - (real == atom).mean()) < 0.02
    for share in (0.25, 0.5, 0.75, 0.95):
        assert abs(made["units"].quantile(share) - np.quantile(units, share)) <= 0.1 * np.quantile(units, share) + 1


@pytest.mark.parametrize("maximum", [1.0, 2.0, 20.0, 21.0, 50.0, 200.0, 20_000.0, 1e9])
def test_cells_cover_the_range_and_keep_small_numbers_apart(maximum: float) -> None:
    from cloakhouse.synthesis.marginals import cells

    edges = cells(maximum)
    assert (np.diff(edges) > 0).all()
    assert edges[0] < 0 < edges[1]
    assert edges[-1] > maximum > edges[-2]
    apart = np.searchsorted(edges, np.arange(min(20, int(maximum)) + 1), "right")
    assert len(set(apart)) == len(apart)


def test_values_are_clipped_to_the_contract_and_nulls_stay_null() -> None:
    draw = np.random.default_rng(3)
    heavy = pa.array(np.where(draw.random(ROWS) < 0.5, 200, 0), pa.int64(), mask=draw.random(ROWS) < 0.3)
    made = sampled(pa.table({"units": heavy, "value": pa.array(draw.uniform(0, 10, ROWS))}), COLUMNS[3:], rows=3000)
    drawn = pc.min_max(made.column("units")).as_py()
    assert (drawn["min"], drawn["max"]) == (0, 200)
    assert 0.2 < made.column("units").null_count / 3000 < 0.4


def test_a_column_without_a_range_keeps_its_sign() -> None:
    columns = (ViewColumn("balance", pa.float64(), False, None), COLUMNS[3])
    draw = np.random.default_rng(3)
    table = pa.table({"balance": pa.array(np.round(draw.normal(-50, 5, ROWS), 2)), "units": training().column("units")})
    made = sampled(table, columns, rows=5000)
    assert abs(pc.mean(made.column("balance")).as_py() + 50) < 1
    assert pc.max(made.column("balance")).as_py() > pc.max(table.column("balance")).as_py()


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_refused(rows: int) -> None:
    with pytest.raises(StageError) as caught:
        sampled(training().slice(0, rows))
    assert caught.value.code == "stage.too-small"


def test_two_rows_are_enough() -> None:
    assert sampled(training().slice(0, 2), rows=5).num_rows == 5


CONSTANT = {"i": pa.array([7] * ROWS), "f": pa.array([7.5] * ROWS), "b": pa.array([True] * ROWS), "s": ["x"] * ROWS}
EMPTY = {name: pa.nulls(ROWS, kind) for name, kind in (("i", pa.int64()), ("f", pa.float64()), ("b", pa.bool_()))}


@pytest.mark.parametrize("table", [pa.table(CONSTANT), pa.table({**EMPTY, "s": pa.nulls(ROWS, pa.string())})])
@pytest.mark.parametrize("maximum", [None, 200.0])
def test_constant_and_empty_columns_come_out_as_they_went_in(table: pa.Table, maximum: float | None) -> None:
    columns = tuple(
        ViewColumn(name, table.schema.field(name).type, name in "bs", None if name in "bs" else maximum)
        for name in table.column_names
    )
    made = sampled(table, columns, rows=50)
    assert made.equals(table.slice(0, 50))


def test_batches_go_on_and_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copula, "BATCH", 300)
    engine = GaussianCopula(COLUMNS, 1)
    engine.fit(training())
    told: list[tuple[int, int, str]] = []
    made = engine.sample(1000, lambda *event: told.append(event))
    assert told == [(300, 1000, "rows"), (600, 1000, "rows"), (900, 1000, "rows"), (1000, 1000, "rows")]
    assert made.num_rows == 1000
    first, second = (made.column("value").slice(at, 300).to_pylist() for at in (0, 300))
    assert first != second


def test_the_engine_of_a_contract_describes_itself() -> None:
    contract = load_contracts(SHIPPED)["baskets_synthetic"]
    facts = open_synthesizer(contract, COLUMNS).describe()
    assert facts["engine"] == "gaussian copula"
    assert facts["seed"] == 2017
    assert facts["library"].startswith("sdv 2.")
    assert facts["privacy_guarantee"] == "none: not differentially private"
    assert json.dumps(facts)
    assert contract.synthesis is not None
    unknown = replace(contract, synthesis=replace(contract.synthesis, engine="another"))
    with pytest.raises(ValueError, match="engines"):
        open_synthesizer(unknown, COLUMNS)


def test_the_environment_and_the_loggers_are_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    sampled(training(), rows=10)
    assert os.environ["XDG_DATA_HOME"] == str(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not logging.getLogger("SingleTableSynthesizer").handlers
    monkeypatch.delenv("XDG_DATA_HOME")
    sampled(training(), rows=10)
    assert "XDG_DATA_HOME" not in os.environ


def test_nothing_is_left_in_the_user_s_folders_or_printed(tmp_path: Path) -> None:
    code = """
import pyarrow as pa
from cloakhouse.synthesis.copula import GaussianCopula
from cloakhouse.synthesis.protocol import ViewColumn
columns = (ViewColumn("a", pa.string(), True, None), ViewColumn("n", pa.float64(), False, 9.0))
engine = GaussianCopula(columns, 1)
engine.fit(pa.table({"a": ["Zwetschgenhuber", "y"] * 20, "n": [float(n % 7) for n in range(40)]}))
print(engine.sample(30, lambda *event: None).num_rows)
"""
    home, data, work, temporary = (tmp_path / name for name in ("home", "data", "work", "tmp"))
    for folder in (home, data, work, temporary):
        folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPL"))}
    environment = {**kept, "HOME": str(home), "XDG_DATA_HOME": str(data), "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=work, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "30\n"
    assert "Zwetschgenhuber" not in done.stderr
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []
