from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError
from cloakhouse.quality.results import ExpectationResult
from cloakhouse.quality.runner import run_suite


def run_one(kind: str, kwargs: dict[str, Any], *batches: pa.Table) -> ExpectationResult:
    suite = {"name": "one-1.0.0", "expectations": [{"type": kind, "kwargs": kwargs}]}
    result = run_suite(suite, batches)
    assert result.success is result.expectations[0].success
    return result.expectations[0]


K = "expect_table_k_anonymity_to_be_at_least"
PEOPLE = pa.table({"age": ["a", "a", "b", "b", None, None], "size": [1, 1, 2, 2, None, None], "id": range(6)})


@pytest.mark.parametrize(("k", "held"), [(1, True), (2, True), (3, False)])
def test_k_anonymity(k: int, held: bool) -> None:
    found = run_one(K, {"columns": ["age", "size"], "k": k}, PEOPLE)
    assert (found.success, found.observed_value, found.element_count) == (held, 2, 6)
    assert found.columns == ("age", "size")


def test_k_anonymity_is_asked_of_all_batches_together() -> None:
    halves = [PEOPLE.take([0, 2, 4]), PEOPLE.take([1, 3, 5])]
    found = run_one(K, {"columns": ["age", "size"], "k": 2}, *halves)
    assert (found.success, found.observed_value, found.element_count) == (True, 2, 6)


def test_k_anonymity_fails_closed() -> None:
    missing = run_one(K, {"columns": ["age", "gone"], "k": 1}, PEOPLE)
    assert (missing.success, missing.exception_class) == (False, "ContractError")
    assert not run_one(K, {"columns": ["age"], "k": 1}, PEOPLE.slice(0, 0)).success
    assert not run_one(K, {"columns": [], "k": 1}, PEOPLE).success
    for kwargs in ({"columns": ["age"]}, {"columns": ["age"], "k": 0}, {"k": 2}, {"columns": ["age"], "k": 2, "l": 1}):
        with pytest.raises(ContractError):
            run_one(K, kwargs, PEOPLE)


DIRECT = "expect_table_to_hold_no_direct_identifier"
SHOPS = pa.table(
    {
        "shop": ["North", "South"],
        "card_number": ["4111111111111111", "5500005555555559"],
        "token": pa.array([b"0" * 16, b"1" * 16], pa.binary(16)),
        "open": [True, None],
    }
)


def test_no_direct_identifier() -> None:
    kwargs = {"forbidden_columns": ["email"], "exempt_columns": ["card_number"]}
    clean = run_one(DIRECT, kwargs, SHOPS)
    assert (clean.success, clean.observed_value, clean.element_count) == (True, 0, 2)
    cards = run_one(DIRECT, {**kwargs, "exempt_columns": []}, SHOPS)
    assert (cards.success, cards.observed_value) == (False, 2)


@pytest.mark.parametrize("text", ["a@b.co", "+49 151 23456789", "4111 1111 1111 1111", "DE89370400440532013000"])
def test_one_planted_cell_in_one_batch_fails(text: str) -> None:
    planted = SHOPS.set_column(0, "shop", pa.array(["North", f"x {text}"]))
    kwargs = {"forbidden_columns": [], "exempt_columns": ["card_number"]}
    found = run_one(DIRECT, kwargs, SHOPS, planted, SHOPS)
    assert (found.success, found.observed_value, found.element_count) == (False, 1, 6)


def test_a_forbidden_column_fails_in_any_case_of_letters_even_when_null() -> None:
    named = SHOPS.append_column("Email", pa.nulls(2, pa.string()))
    found = run_one(DIRECT, {"forbidden_columns": ["email"], "exempt_columns": ["card_number"]}, named)
    assert (found.success, found.observed_value) == (False, 1)


def test_a_column_marked_as_pandas_index_is_seen() -> None:
    import pandas as pd

    hidden = pa.Table.from_pandas(pd.DataFrame({"shop": ["x"], "email": ["a@b.co"]}).set_index("email"))
    found = run_one(DIRECT, {"forbidden_columns": ["email"], "exempt_columns": []}, hidden)
    assert (found.success, found.observed_value) == (False, 2)


COPIES = "expect_copy_excess_to_be_at_most"


def matches(training: int, holdout: int, rows: int) -> pa.Table:
    return pa.table(
        {
            "store_id": range(rows),
            "matches_training": [at < training for at in range(rows)],
            "matches_holdout": [at >= rows - holdout for at in range(rows)],
        }
    )


@pytest.mark.parametrize(
    ("training", "holdout", "held"), [(0, 0, True), (10, 0, True), (11, 0, False), (60, 50, True), (5, 50, True)]
)
def test_copy_excess(training: int, holdout: int, held: bool) -> None:
    found = run_one(COPIES, {"max_excess": 0.01}, matches(training, holdout, 1_000))
    assert found.success is held
    assert found.observed_value == pytest.approx((training - holdout) / 1_000)


def test_copy_excess_with_confidence_compares_the_upper_bound() -> None:
    kwargs = {"max_excess": 0.01, "confidence": 0.95}
    assert run_one(COPIES, kwargs, matches(0, 0, 268)).success
    short = run_one(COPIES, kwargs, matches(0, 0, 267))
    assert not short.success
    assert short.observed_value == pytest.approx(0.01003, abs=1e-5)
    assert run_one(COPIES, kwargs, matches(0, 0, 134), matches(0, 0, 134)).success


def test_copy_excess_fails_closed() -> None:
    good = matches(0, 0, 10)
    assert not run_one(COPIES, {"max_excess": 0.01}, good.drop_columns(["matches_holdout"])).success
    assert not run_one(COPIES, {"max_excess": 0.01}, good.slice(0, 0)).success
    holes = good.set_column(1, "matches_training", pa.array([None] * 10, pa.bool_()))
    assert run_one(COPIES, {"max_excess": 0.01}, holes).exception_class == "TypeError"
    for kwargs in ({}, {"max_excess": 1.5}, {"max_excess": 0.01, "confidence": 95}):
        with pytest.raises(ContractError):
            run_one(COPIES, kwargs, good)
