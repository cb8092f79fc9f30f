"""The engine from plan to rows: structure is learnt, bytes are the model, and what it can't do is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.marginals import COLUMNS, LEVELS, baskets, lines_of_baskets, plan, shards, silent, tokens
from tests.support.shards import LocalShards

from cloakhouse.contracts.model import Level
from cloakhouse.errors import ContractError, IntegrityError, StageError
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.synthesis.dp_marginals import engine
from cloakhouse.synthesis.dp_marginals.arrays import pack, unpack
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel
from cloakhouse.synthesis.protocol import Chunk, Plan, ViewColumn
from cloakhouse.synthesis.protocol import engine as by_name


@pytest.fixture(scope="module")
def model() -> MarginalsModel:
    return engine.fit(plan(), shards(baskets()), silent)


@pytest.fixture(scope="module")
def levels() -> MarginalsModel:
    return engine.fit(plan(LEVELS), shards(lines_of_baskets()), silent)


def column(name: str, **changes: Any) -> ViewColumn:
    return replace(ViewColumn(name, pa.string(), True, None), **changes)


class TestSample:
    def test_rows_have_the_plans_columns_types_and_domains(self, model: MarginalsModel) -> None:
        rows = model.sample(Chunk(0, 5000, 1))
        assert rows.schema == pa.schema([(c.name, c.type) for c in COLUMNS])
        assert rows.num_rows == 5000
        assert pc.all(pc.is_in(rows["weekday"], value_set=pa.array(range(7)))).as_py()
        assert (rows["weekday"].null_count, rows["lines"].null_count, rows["meat"].null_count) == (0, 0, 0)
        for name, most in (("lines", 50), ("value", 100)):
            found = pc.min_max(rows[name]).as_py()
            assert 0 <= found["min"] <= found["max"] <= most
        cents = rows["value"].drop_null().to_numpy() * 100
        assert np.abs(cents - np.rint(cents)).max() < 1e-6

    def test_structure_is_that_of_the_training_rows(self, model: MarginalsModel) -> None:
        rows, real = model.sample(Chunk(0, 20000, 1)), baskets()
        assert abs(pc.mean(rows["lines"]).as_py() - pc.mean(real["lines"]).as_py()) < 1.5
        assert abs(rows["value"].null_count / 20000 - 0.05) < 0.03
        known = rows.filter(pc.is_valid(rows["value"]))
        assert np.corrcoef(known["lines"], known["value"])[0, 1] > 0.75
        large = known.filter(pc.greater(known["value"], 30))["meat"]
        assert pc.mean(large.cast(pa.int8())).as_py() > 0.8

    def test_a_chunk_is_a_function_of_model_seed_and_start(self, model: MarginalsModel) -> None:
        first = model.sample(Chunk(0, 100, 1))
        assert first.equals(model.sample(Chunk(0, 100, 1)))
        assert not first.equals(model.sample(Chunk(100, 100, 1)))
        assert not first.equals(model.sample(Chunk(0, 100, 2)))
        assert model.sample(Chunk(0, 0, 1)).num_rows == 0

    def test_roots_are_a_noisy_number_of_rows(self, model: MarginalsModel) -> None:
        assert 3000 < model.roots < 4200


class TestLevels:
    def test_units_groups_and_rows_are_numbered_and_belong_together(self, levels: MarginalsModel) -> None:
        rows = levels.sample(Chunk(40, 300, 1))
        assert rows.column_names == [c.name for c in LEVELS]
        assert pc.unique(rows["household"]).to_pylist() == list(range(40, 340))
        for name, key in (("segment", "household"), ("weekday", "basket"), ("household", "basket")):
            each = rows.group_by(key).aggregate([(name, "count_distinct")])
            assert pc.max(each[f"{name}_count_distinct"]).as_py() == 1
        assert 230 < levels.roots < 370

    def test_numbers_are_unique_over_chunks(self, levels: MarginalsModel) -> None:
        first, second = (levels.sample(Chunk(start, 100, 1)) for start in (0, 100))
        for name in ("household", "basket"):
            assert not set(first[name].to_pylist()) & set(second[name].to_pylist())

    def test_children_and_given_columns_are_kept(self, levels: MarginalsModel) -> None:
        rows = levels.sample(Chunk(0, 1000, 1))
        groups = rows.group_by("household").aggregate([("basket", "count_distinct")])["basket_count_distinct"]
        assert abs(pc.mean(groups).as_py() - 4) < 0.8
        assert abs(rows.num_rows / pc.count_distinct(rows["basket"]).as_py() - 3) < 0.8
        of_a = rows.filter(pc.equal(rows["segment"], "a"))["weekday"]
        assert pc.mean(pc.equal(of_a, 1).cast(pa.int8())).as_py() > 0.6

    def test_units_and_rows_without_groups(self) -> None:
        columns = (LEVELS[0], LEVELS[1], *COLUMNS[1:])
        fitted = engine.fit(plan(columns, max_rows=20), shards(lines_of_baskets(100)), silent)
        rows = fitted.sample(Chunk(0, 200, 1))
        assert pc.count_distinct(rows["household"]).as_py() == 200
        assert abs(rows.num_rows / 200 - 12) < 3

    def test_bytes_are_the_model(self, levels: MarginalsModel) -> None:
        again = engine.open_model(plan(LEVELS), levels.to_bytes())
        assert again.sample(Chunk(3, 50, 9)).equals(levels.sample(Chunk(3, 50, 9)))


class TestBytes:
    def test_reading_and_writing_again_gives_the_same(self, model: MarginalsModel) -> None:
        again = engine.open_model(plan(), model.to_bytes())
        assert again.to_bytes() == model.to_bytes()
        assert again.sample(Chunk(5, 500, 2)).equals(model.sample(Chunk(5, 500, 2)))
        assert (again.roots, again.describe()) == (model.roots, model.describe())

    @pytest.mark.parametrize("content", [b"", b"x" * 64, pack({}, {"format": 0}), pack({"a": np.arange(3)})])
    def test_other_bytes_are_refused(self, content: bytes) -> None:
        with pytest.raises(IntegrityError):
            engine.open_model(plan(), content)

    def test_a_model_of_another_plan_is_refused(self, model: MarginalsModel) -> None:
        for columns in (COLUMNS[:2], LEVELS):
            with pytest.raises(IntegrityError):
                engine.open_model(plan(columns), model.to_bytes())

    def test_arrays_that_lost_their_shape_are_refused(self) -> None:
        content = pack({"a": np.zeros((2, 3))}).replace(b"[2, 3]", b"[2, 4]")
        with pytest.raises(IntegrityError):
            unpack(content)


class TestDescription:
    def test_guarantee_and_structure_are_told_as_json(self, model: MarginalsModel) -> None:
        told = json.loads(json.dumps(model.describe()))
        guarantee = told["privacy_guarantee"]
        assert (guarantee["epsilon"], guarantee["delta"]) == (20.0, 1e-6)
        assert "discrete Gaussian" in guarantee["mechanism"]
        assert guarantee["unit"] == "unit of privacy"
        assert 0 < told["rho_spent"] <= guarantee["rho"]
        assert {node["column"] for node in told["levels"][0]["drawn"]} == {c.name for c in COLUMNS}

    def test_the_contracts_noun_is_the_unit(self) -> None:
        asked = replace(plan(COLUMNS[:1]), unit_of_privacy="household")
        guarantee = engine.fit(asked, shards(baskets(20, 2)), silent).describe()["privacy_guarantee"]
        assert guarantee["unit"] == "household"
        assert guarantee["neighbours"] == "add or remove one household with all of its rows"

    def test_numbers_told_are_noisy_ones(self, model: MarginalsModel) -> None:
        totals = [m for m in model.fitted.measurements if not m.columns]
        assert {m.kind for m in totals} == {"units", "records", "weight"}
        for m in model.fitted.measurements:
            assert (m.noisy % 2**20 != 0).any(), "an exact count is a whole number of rows"


class TestCategories:
    def test_common_ones_are_learnt_and_rare_ones_never_told(self) -> None:
        table = baskets(300, 4)
        shop = ["common" if at % 4 else f"rare {at}" for at in range(table.num_rows)]
        columns = (*COLUMNS[:2], column("shop", nullable=True))
        fitted = engine.fit(plan(columns), shards(table.append_column("shop", pa.array(shop))), silent)
        assert fitted.fitted.domains["shop"].values == ("common",)
        assert b"rare" not in fitted.to_bytes()
        assert set(fitted.sample(Chunk(0, 2000, 1))["shop"].to_pylist()) == {"common", None}

    def test_100_000_of_them_are_only_a_question_of_counting(self) -> None:
        table = baskets(200, 500).append_column("sku", pa.array(np.arange(100_000).astype(str)))
        fitted = engine.fit(plan((*COLUMNS[:1], column("sku"))), shards(table), silent)
        assert fitted.sample(Chunk(0, 10, 1))["sku"].null_count == 10

    def test_none_common_enough_is_refused_for_a_column_that_is_never_null(self) -> None:
        table = baskets(40, 2).append_column("sku", pa.array([str(i) for i in range(80)]))
        with pytest.raises(StageError, match="declare the column's `values`"):
            engine.fit(plan((column("sku", nullable=False),)), shards(table), silent)

    def test_delta_is_set_aside_for_them_and_told(self, model: MarginalsModel) -> None:
        learnt = plan((*COLUMNS[:1], column("shop", nullable=True)))
        assert engine.cost(plan()) == (rho_of(20.0, 1e-6), 0.0)
        assert engine.cost(learnt) == (rho_of(20.0, 5e-7), 5e-7)
        assert model.describe()["delta_of_categories"] == 0
        with pytest.raises(ContractError):
            engine.cost(plan(epsilon=0.0))


class TestPoorData:
    def test_a_number_that_no_float_holds_is_missing_and_not_told(self) -> None:
        lines = pa.array([3] * 999 + [2**60 + 1])
        table = baskets(200, 5).drop_columns(["lines"]).append_column("lines", lines)
        rows = engine.fit(plan(COLUMNS[:2]), shards(table), silent).sample(Chunk(0, 500, 1))
        assert pc.max(rows["lines"]).as_py() <= 50

    @pytest.mark.parametrize("rows", [1, 9])
    def test_one_household(self, rows: int) -> None:
        fitted = engine.fit(plan(epsilon=1.0, max_rows=10), LocalShards((baskets(1, rows),)), silent)
        assert fitted.sample(Chunk(0, 50, 1)).num_rows == 50

    def test_no_row_at_all_and_an_empty_shard(self) -> None:
        empty = baskets(2, 2).slice(0, 0)
        assert engine.fit(plan(), LocalShards((empty,)), silent).roots >= 1
        with pytest.raises(StageError, match="at least one shard"):
            engine.fit(plan(), LocalShards(()), silent)

    def test_constant_and_all_null_columns(self) -> None:
        table = baskets(200, 5).drop_columns(["value", "lines"])
        table = table.append_column("value", pa.nulls(1000, pa.float64()))
        table = table.append_column("lines", pa.array([3] * 1000))
        rows = engine.fit(plan(), shards(table), silent).sample(Chunk(0, 2000, 1))
        assert rows["value"].null_count > 1700
        assert pc.mean(pc.equal(rows["lines"], 3).cast(pa.int8())).as_py() > 0.7

    def test_a_column_without_its_nulls_is_refused_where_all_is_null(self) -> None:
        table = baskets(200, 5).drop_columns(["lines"]).append_column("lines", pa.nulls(1000, pa.int64()))
        with pytest.raises(StageError, match="mostly nulls"):
            engine.fit(plan(), shards(table), silent)

    def test_rows_without_a_unit_are_refused(self) -> None:
        table = baskets(10, 2).drop_columns(["__unit"])
        table = table.append_column("__unit", pa.array([None] * 20, pa.binary(16)))
        with pytest.raises(StageError, match="without one"):
            engine.fit(plan(), LocalShards((table,)), silent)

    def test_a_unit_in_two_places_is_refused(self) -> None:
        table = baskets(1, 3).drop_columns(["__unit"]).append_column("__unit", tokens([1, 2, 1]))
        with pytest.raises(StageError, match="several places"):
            engine.fit(plan(), LocalShards((table,)), silent)


class TestRefusals:
    @pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
    def test_epsilon(self, epsilon: float) -> None:
        with pytest.raises(ContractError):
            engine.check(plan(epsilon=epsilon))

    def test_no_privacy(self) -> None:
        with pytest.raises(ContractError, match="add `privacy`"):
            engine.check(Plan(COLUMNS, 1, None, {}, 10))

    @pytest.mark.parametrize("caps", [{"max_rows": 0}, {"max_groups": -1}, {"max_rows": 10**9}])
    def test_caps(self, caps: dict[str, int]) -> None:
        with pytest.raises(ContractError, match="of privacy"):
            engine.check(plan(**caps))

    @pytest.mark.parametrize(
        ("found", "remedy"),
        [
            (column("n", type=pa.float64(), categorical=False), "cap"),
            (column("n", type=pa.float64(), categorical=False, maximum=math.inf), "cap"),
            (column("n", type=pa.int64(), categorical=False, maximum=-1.0), "cap"),
            (column("n", categorical=False), "values"),
            (column("n", values=()), "group the values"),
            (column("n", values=tuple(map(str, range(100_000)))), "4,096"),
            (column("n", type=pa.int64(), values=("a",)), "of the column's type"),
            (column("#n"), "rename"),
            (column("d", type=pa.date32()), "a part of the date"),
            (column("d", type=pa.decimal128(9, 2), values=(1,)), "publish it as text"),
            (column("n", number="unit"), "correct the level"),
        ],
    )
    def test_columns(self, found: ViewColumn, remedy: str) -> None:
        with pytest.raises(ContractError, match=remedy):
            engine.check(plan((*COLUMNS, found)))

    def test_levels(self) -> None:
        with pytest.raises(ContractError, match="number of the unit"):
            engine.check(plan(tuple(c for c in LEVELS if c.level is not Level.UNIT)))
        with pytest.raises(ContractError, match="with values"):
            engine.check(plan(LEVELS[:1]))

    @pytest.mark.parametrize("parameters", [{"epochs": 3}, {"bins": 1}, {"bins": 2.5}, {"bins": True}, {"bins": "8"}])
    def test_parameters(self, parameters: dict[str, Any]) -> None:
        with pytest.raises(ContractError, match="parameter"):
            engine.check(replace(plan(), parameters=parameters))

    def test_the_protocol_finds_the_engine(self) -> None:
        by_name("dp-marginals").check(plan())
