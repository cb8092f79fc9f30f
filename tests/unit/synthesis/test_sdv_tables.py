"""SDV's engines behind the protocol: repeatable, chunk by chunk, ranges from the contract, nothing left behind."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.sdv_tables import (
    BY_UNIT,
    ENGINES,
    QUICK,
    ROW_COLUMNS,
    ROWS,
    SINGLE,
    UNIT_COLUMNS,
    UNITS,
    fit,
    module,
    plan,
    training,
)
from tests.support.shards import LocalShards

from cloakhouse.contracts.model import Level, Privacy
from cloakhouse.errors import ContractError, IntegrityError, StageError
from cloakhouse.synthesis.protocol import UNIT, Chunk, ViewColumn

COPULA = "gaussian copula"
NUMBERS = ROW_COLUMNS[2:]


@cache
def model(name: str) -> Any:
    """Return the engine's model of the training table, fitted once."""
    return fit(name)


def refused(kind: type[Exception], call: Callable[[], object]) -> Any:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def state() -> tuple[object, ...]:
    """Return what is global to the process and random, or about threads."""
    import random

    import torch

    return (
        np.random.get_state()[1].tolist(),
        np.random.get_state()[2],
        random.getstate(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    )


@pytest.mark.parametrize("name", ENGINES)
def test_a_chunk_is_a_function_of_model_and_chunk(name: str) -> None:
    one, other, seeded = Chunk(0, 5, 9), Chunk(5, 5, 9), Chunk(0, 5, 10)
    found = {chunk: model(name).sample(chunk) for chunk in (one, other, seeded)}
    values = [found[chunk].column("value").to_pylist() for chunk in (one, other, seeded)]
    assert len({tuple(v) for v in values}) == 3
    np.random.random(17)
    again = module(name).open_model(plan(name), model(name).to_bytes())
    for chunk in (seeded, other, one):  # another order, from the bytes
        assert again.sample(chunk).equals(found[chunk])


@pytest.mark.parametrize("name", ENGINES)
def test_a_seed_repeats_a_fit_and_another_differs(name: str) -> None:
    chunk = Chunk(0, 10, 3)
    first = model(name).sample(chunk)
    np.random.seed(99)
    before = state()
    assert fit(name).sample(chunk).equals(first)
    assert state() == before
    if name not in (COPULA, "hma"):  # these fit without chance: all of it is in the coding and in the sample
        assert not fit(name, seed=2).sample(chunk).equals(first)


@pytest.mark.parametrize("name", ENGINES)
def test_names_types_ranges_and_categories_are_those_of_the_plan(name: str) -> None:
    made = model(name).sample(Chunk(0, 60, 4))
    columns = plan(name).columns
    assert made.column_names == [c.name for c in columns]
    assert made.schema.types == [c.type for c in columns]
    assert set(made.column("store").to_pylist()) <= {286, 31782, 2**53 + 1, None}  # exact beside nulls
    if name != "tvae":  # after two epochs it knows one store
        assert len(set(made.column("store").to_pylist())) > 2
    assert set(made.column("meat").to_pylist()) <= {True, False}
    for column in columns:
        if column.maximum is not None:
            ends = pc.min_max(made.column(column.name)).as_py()
            assert 0 <= ends["min"] <= ends["max"] <= column.maximum
    cents = pc.multiply(made.column("value"), 100.0).to_numpy()
    assert np.abs(cents - cents.round()).max() < 1e-6
    assert not made.column("value").null_count
    assert made.column("units").null_count < made.num_rows


@pytest.mark.parametrize("name", BY_UNIT)
def test_a_chunk_has_exactly_its_units_each_with_its_own_columns(name: str) -> None:
    made = model(name).sample(Chunk(40, 7, 4)).to_pandas()
    assert made["household"].is_monotonic_increasing
    assert made["household"].unique().tolist() == list(range(40, 47))
    sizes = made.groupby("household").size()
    assert 1 <= sizes.min() < sizes.max() <= QUICK[name]["maxRows"]
    for name_ in ("age", "income"):
        assert (made.groupby("household")[name_].nunique(dropna=False) == 1).all()
    assert made["income"].nunique() > 3
    assert model(name).sample(Chunk(0, 1, 4)).num_rows >= 1
    assert model(name).roots == UNITS


@pytest.mark.parametrize("name", SINGLE)
def test_a_chunk_of_a_single_table_has_exactly_its_rows(name: str) -> None:
    for size in (0, 1, 333):
        made = model(name).sample(Chunk(0, size, 4))
        assert made.num_rows == size
        assert made.schema.types == [c.type for c in ROW_COLUMNS]
    assert model(name).roots == ROWS


@pytest.mark.parametrize("name", ENGINES)
def test_the_description_tells_engine_library_seed_and_parameters(name: str) -> None:
    facts = model(name).describe()
    assert (facts["engine"], facts["seed"]) == (name, 1)
    assert facts["library"].startswith("sdv 2.")
    assert facts["privacy_guarantee"] == "none: not differentially private"
    assert QUICK[name].items() <= facts["parameters"].items()
    assert json.dumps(facts)


@pytest.mark.parametrize(
    ("name", "told"), [("ctgan", "epochs"), ("tvae", "epochs"), ("par", "epochs"), ("hma", "units fitted")]
)
def test_progress_is_told_to_the_end(name: str, told: str) -> None:
    events: list[tuple[int, int, str]] = []
    fit(name, report=lambda *event: events.append(event))
    total = UNITS if name == "hma" else 2
    assert events == [(done, total, told) for done in range(1, total + 1)]


@pytest.mark.parametrize("name", ENGINES)
def test_plans_that_an_engine_cannot_do_are_refused(name: str) -> None:
    def code(**changes: Any) -> str:
        return str(refused(ContractError, lambda: module(name).check(plan(name, **changes))).code)

    columns = plan(name).columns
    third = ViewColumn("hour", pa.int64(), True, None, level=Level.GROUP)
    module(name).check(plan(name))
    module(name).check_parameters({})
    assert code(privacy=Privacy(3.0, 1e-6, "team")) == "contract.guarantee"
    assert code(parameters={"another": 1}) == "contract.parameters"
    assert code(columns=(*columns, third)) == "contract.levels"
    assert code(columns=()) == "contract.columns"
    if name in BY_UNIT:
        assert code(columns=UNIT_COLUMNS) == "contract.levels"
        assert code(columns=(*columns, replace(UNIT_COLUMNS[0], number="group"))) == "contract.levels"
        assert code(columns=(*columns, replace(NUMBERS[0], name="more", maximum=None))) == "contract.cap"
        remedy = refused(ContractError, lambda: module(name).check(plan(name, columns=(*columns, third)))).remedy
        assert "dp-marginals" in remedy
    else:
        assert code(columns=(*columns, UNIT_COLUMNS[1])) == "contract.levels"
        assert code(columns=(*columns, UNIT_COLUMNS[0])) == "contract.levels"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ctgan", {"epochs": 0}),
        ("ctgan", {"batchSize": 25}),
        ("tvae", {"width": 10**6}),
        ("tvae", {"embedding": "64"}),
        ("hma", {"maxRows": True}),
        ("par", {"epochs": 2.0}),
        ("par", {"maxUnits": 9}),  # whom it is fitted on is for the split to say
    ],
)
def test_parameters_have_bounds(name: str, wrong: dict[str, Any]) -> None:
    assert refused(ContractError, lambda: module(name).check_parameters(wrong)).code == "contract.parameters"


@pytest.mark.parametrize(
    ("name", "rows"), [(COPULA, 0), (COPULA, 1), ("ctgan", 59), ("tvae", 1), ("hma", 0), ("par", 5)]
)
def test_too_few_rows_or_units_are_refused(name: str, rows: int) -> None:
    fault = refused(StageError, lambda: fit(name, training().slice(0, rows)))
    assert fault.code == "stage.too-small"


def test_nulls_that_the_plan_excludes_and_numbers_without_end_are_refused() -> None:
    strict = tuple(replace(column, nullable=False) for column in ROW_COLUMNS)
    assert refused(StageError, lambda: fit(COPULA, columns=strict)).code == "stage.null"
    table = pa.table({"balance": [1.0, float("inf"), 3.0]})
    columns = (ViewColumn("balance", pa.float64(), False, None),)
    fault = refused(StageError, lambda: fit(COPULA, table, columns=columns))
    assert (fault.code, fault.found) == ("stage.not-finite", "1 that aren't")


@pytest.mark.parametrize("name", ["ctgan", "tvae", "par"])
def test_more_categories_than_a_network_takes_are_refused(name: str) -> None:
    units = [bytes([n % 40]) * 16 for n in range(1_200)]
    many = pa.table({"store": np.arange(1_200), UNIT: pa.array(units, pa.binary(16))})
    fault = refused(StageError, lambda: fit(name, many, columns=ROW_COLUMNS[:1], parameters={}))
    assert (fault.code, fault.found) == ("stage.categories", "1,200")


@pytest.mark.parametrize("name", BY_UNIT)
def test_rows_that_never_vary_have_no_structure(name: str) -> None:
    table = pa.table({"meat": [True] * 40, UNIT: [bytes([n % 20]) * 16 for n in range(40)]})
    fault = refused(StageError, lambda: fit(name, table, columns=ROW_COLUMNS[1:2]))
    assert fault.code == "stage.constant"


@pytest.mark.parametrize("name", BY_UNIT)
def test_units_without_columns_of_their_own_are_numbered(name: str) -> None:
    columns = (UNIT_COLUMNS[0], *NUMBERS)
    made = fit(name, columns=columns).sample(Chunk(3, 4, 1))
    assert made.column_names == ["household", "units", "value"]
    assert set(made.column("household").to_pylist()) == {3, 4, 5, 6}


@pytest.mark.parametrize("name", BY_UNIT)
def test_units_of_one_row_each_have_no_spread(name: str) -> None:
    """The library then gives spreads a marginal of one value."""
    draw = np.random.default_rng(5)
    units = pa.array([bytes([n]) * 16 for n in range(40)], pa.binary(16))
    table = pa.table({"value": draw.uniform(1, 90, 40), "store": draw.choice([1, 2], 40), UNIT: units})
    made = fit(name, table, columns=(UNIT_COLUMNS[0], ROW_COLUMNS[0], ROW_COLUMNS[3])).sample(Chunk(0, 50, 1))
    assert made.num_rows == 50
    assert 20 < pc.mean(made.column("value")).as_py() < 70
    assert set(made.column("store").to_pylist()) == {1, 2}


def test_rows_of_a_unit_are_cut_in_their_order_and_every_unit_stays() -> None:
    from cloakhouse.synthesis.sdv_tables.units import households

    draw = np.random.default_rng(3)
    of = np.sort(draw.integers(0, 30, 300))
    table = pa.table(
        {"value": np.arange(300.0), "income": of * 10.0, UNIT: pa.array([bytes([n]) * 16 for n in of], pa.binary(16))}
    )
    asked = plan("par", columns=(UNIT_COLUMNS[2], ROW_COLUMNS[3]))
    found = households(asked, table, 4)
    values = found.rows.column("value").to_numpy()
    units = of[values.astype(int)]
    assert found.units.num_rows == len(set(units)) == len(set(of))
    assert found.units.column("income").to_pylist() == [unit * 10.0 for unit in dict.fromkeys(units)]
    for unit in set(units):
        assert values[units == unit].tolist() == np.flatnonzero(of == unit)[:4].tolist()
    assert found.of.tolist() == np.unique(units, return_inverse=True)[1].tolist()
    assert households(asked, table, 400).rows.num_rows == 300


def test_more_units_than_par_takes_are_refused() -> None:
    columns = (UNIT_COLUMNS[2], ROW_COLUMNS[3])
    tokens = pa.array([n.to_bytes(16, "big") for n in range(5_001)], pa.binary(16))
    table = pa.table({"value": np.arange(5_001.0), "income": np.arange(5_001.0), UNIT: tokens})
    asked = plan("par", columns=columns)
    problem = refused(StageError, lambda: module("par").fit(asked, LocalShards((table,)), lambda *_: None))
    assert problem.code == "stage.too-large"
    assert "maxTrainingRows" in problem.remedy


def test_a_model_of_another_engine_plan_or_library_is_not_opened() -> None:
    content = model("tvae").to_bytes()
    fewer = plan("tvae", columns=ROW_COLUMNS[:2])
    for call in (
        lambda: module("ctgan").open_model(plan("ctgan"), content),
        lambda: module("tvae").open_model(fewer, content),
        lambda: module("tvae").open_model(plan("tvae"), content.replace(b"sdv 2.0", b"sdv 1.9")),
        lambda: module("tvae").open_model(plan("tvae"), content[:-7]),
    ):
        assert refused(IntegrityError, call).code == "integrity.artifact"


def test_the_relation_of_two_columns_is_kept() -> None:
    for name in (COPULA, "hma"):
        made = model(name).sample(Chunk(0, 2000 if name == COPULA else 100, 1)).select(["units", "value"]).to_pandas()
        assert made.corr().iloc[0, 1] > 0.75
        assert abs(made["units"].mean() - pc.mean(training().column("units")).as_py()) < 2


def test_lengths_of_sequences_follow_the_units() -> None:
    rows = model("par").sample(Chunk(0, 40, 1)).num_rows / 40
    assert abs(rows - ROWS / UNITS) < 2.5


def test_ranges_come_from_the_contract_and_not_from_the_data() -> None:
    table = training()
    made = model(COPULA).sample(Chunk(0, 20_000, 1))
    for name in ("units", "value"):
        real, drawn = pc.max(table.column(name)).as_py(), pc.max(made.column(name)).as_py()
        assert drawn > real
        assert pc.sum(pc.equal(made.column(name), real)).as_py() < 600


def test_a_value_moved_within_its_public_cell_leaves_no_trace() -> None:
    """Two training tables that differ in one extreme value of the same cell have the same model, to the byte."""
    from cloakhouse.synthesis.cells import cells

    edges = cells(200.0)
    cell = int(np.searchsorted(edges, 150.0, "right"))
    found = []
    for extreme in (int(np.ceil(edges[cell - 1])), int(np.floor(edges[cell]))):
        table = training()
        moved = pa.array([extreme, *table.column("units").to_pylist()[1:]])
        at = table.schema.get_field_index("units")
        found.append(fit(COPULA, table.set_column(at, "units", moved)).to_bytes())
    assert found[0] == found[1]


def test_atoms_and_tails_of_real_baskets_survive() -> None:
    """Baskets without coupon, with one line, with as many units as the cap: shares within two points."""
    draw = np.random.default_rng(7)
    units = np.minimum(np.where(draw.random(400) < 0.4, 1, draw.geometric(0.02, 400)), 200)
    value = np.where(draw.random(400) < 0.9, 0.0, np.round(draw.gamma(2, 20, 400), 2))
    made = fit(COPULA, pa.table({"units": units, "value": value}), columns=NUMBERS).sample(Chunk(0, 20_000, 1))
    frame = made.to_pandas()
    for name, real, atom in (("units", units, 1), ("units", units, 0), ("units", units, 200), ("value", value, 0.0)):
        assert abs((frame[name] == atom).mean() - (real == atom).mean()) < 0.02
    for share in (0.25, 0.5, 0.75, 0.95):
        assert abs(frame["units"].quantile(share) - np.quantile(units, share)) <= 0.1 * np.quantile(units, share) + 1


def test_values_are_clipped_to_the_contract_and_nulls_stay_null() -> None:
    draw = np.random.default_rng(3)
    heavy = pa.array(np.where(draw.random(400) < 0.5, 200, 0), pa.int64(), mask=draw.random(400) < 0.3)
    table = pa.table({"units": heavy, "value": pa.array(draw.uniform(0, 10, 400))})
    made = fit(COPULA, table, columns=NUMBERS).sample(Chunk(0, 3000, 1))
    assert set(made.column("units").to_pylist()) <= {None, *range(3), *range(198, 201)}
    assert 0.2 < made.column("units").null_count / 3000 < 0.4


def test_a_column_without_a_range_keeps_its_sign() -> None:
    columns = (ViewColumn("balance", pa.float64(), False, None), NUMBERS[0])
    draw = np.random.default_rng(3)
    table = pa.table({"balance": np.round(draw.normal(-50, 5, ROWS), 2), "units": training().column("units")})
    made = fit(COPULA, table, columns=columns).sample(Chunk(0, 5000, 1))
    assert abs(pc.mean(made.column("balance")).as_py() + 50) < 1
    assert pc.max(made.column("balance")).as_py() > pc.max(table.column("balance")).as_py()


def test_two_rows_are_enough_for_a_copula() -> None:
    assert fit(COPULA, training().slice(0, 2)).sample(Chunk(0, 5, 1)).num_rows == 5


CONSTANT = {"i": pa.array([7] * 70), "f": pa.array([7.5] * 70), "b": pa.array([True] * 70), "s": ["x"] * 70}
EMPTY = {name: pa.nulls(70, kind) for name, kind in (("i", pa.int64()), ("f", pa.float64()), ("b", pa.bool_()))}


@pytest.mark.parametrize("table", [pa.table(CONSTANT), pa.table({**EMPTY, "s": pa.nulls(70, pa.string())})])
@pytest.mark.parametrize("name", SINGLE)
def test_constant_and_empty_columns_come_out_as_they_went_in(name: str, table: pa.Table) -> None:
    columns = tuple(
        ViewColumn(at, table.schema.field(at).type, at in "bs", None if at in "bs" else 200.0)
        for at in table.column_names
    )
    assert fit(name, table, columns=columns).sample(Chunk(0, 50, 1)).equals(table.slice(0, 50))


def test_the_environment_and_the_loggers_are_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    fit(COPULA).sample(Chunk(0, 10, 1))
    assert os.environ["XDG_DATA_HOME"] == str(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not logging.getLogger("SingleTableSynthesizer").handlers
    monkeypatch.delenv("XDG_DATA_HOME")
    fit(COPULA).sample(Chunk(0, 10, 1))
    assert "XDG_DATA_HOME" not in os.environ


def test_nothing_is_left_in_the_user_s_folders_or_printed(tmp_path: Path) -> None:
    """All engines at work, in a process of their own: rows enough that the library would start others."""
    code = """
import pyarrow as pa
from tests.support.sdv_tables import ENGINES, fit, training
from cloakhouse.synthesis.protocol import Chunk
rows = training()
for name in ENGINES:
    made = fit(name, pa.concat_tables([rows] * 3) if name in ("ctgan", "tvae") else rows)
    assert made.sample(Chunk(0, 3, 1)).num_rows >= 3
print("done")
"""
    home, data, work, temporary = (tmp_path / name for name in ("home", "data", "work", "tmp"))
    for folder in (home, data, work, temporary):
        folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPL"))}
    root = str(Path(__file__).parents[3])
    environment = {**kept, "HOME": str(home), "XDG_DATA_HOME": str(data), "TMPDIR": str(temporary), "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=work, capture_output=True, text=True, timeout=300, check=True
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []


def test_shards_may_be_more_than_one_table() -> None:
    """Engines take whole tables: what `table` refuses, they pass on."""

    class Refusing(LocalShards):
        def table(self) -> pa.Table:
            raise StageError(where="", expected="", found="", not_done="", remedy="", code="rows")

    call = lambda: module(COPULA).fit(plan(COPULA), Refusing((training(),)), lambda *_: None)  # noqa: E731
    assert refused(StageError, call).code == "stage.rows"
