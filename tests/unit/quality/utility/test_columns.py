from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, ValidationRefused
from cloakhouse.quality.utility.columns import Cells, UtilityColumn, edges, encode


def cells_of(values: list[Any], column: UtilityColumn, kind: pa.DataType | None = None) -> Cells:
    """Return a column whose synthetic and hold-out rows are the first of the training rows."""
    training = pa.table({column.name: pa.array(values, kind)})
    return encode((training.slice(0, 1), training, training.slice(0, 1)), [column])[0]


def test_cells_of_a_small_maximum_are_the_whole_numbers_and_the_ends() -> None:
    assert edges(4.0).tolist() == [0.005, 1.5, 2.5, 3.5, 3.995]
    found = cells_of([-1, 0, 1, 2, 3, 4, 99, None], UtilityColumn("n", False, 4.0))
    assert found.codes[1].tolist() == [0, 0, 1, 2, 3, 5, 5, 6]
    assert found.size == 7
    assert found.labels is not None
    assert (found.labels[0], found.labels[-1]) == ("below 0.005", "missing")
    assert len(found.labels) == found.size


@pytest.mark.parametrize("maximum", [0.5, 1, 1.99, 2, 3, 17, 17.5, 18, 100, 500, 20_000, 1e9, None])
def test_there_are_at_most_twenty_cells_and_they_rise(maximum: float | None) -> None:
    inner = edges(maximum)
    assert (np.diff(inner) > 0).all()
    assert len(inner) <= 19


@pytest.mark.parametrize("maximum", [0.0, -1.0, 0.01, float("nan"), float("inf")])
def test_a_maximum_that_is_none_is_refused(maximum: float) -> None:
    with pytest.raises(ContractError):
        edges(maximum)


def test_numbers_without_a_maximum_fall_into_fixed_cells_without_labels() -> None:
    found = cells_of([-1e9, 0.0, 1.0, 1e9, float("nan"), float("inf"), None], UtilityColumn("n", False))
    assert found.codes[1].tolist() == [0, 3, 4, 17, 18, 18, 18]
    assert found.labels is None
    assert found.numbers is not None
    assert np.isnan(found.numbers[1][4:]).all()


def test_declared_values_have_public_labels_and_others_a_cell() -> None:
    column = UtilityColumn("c", True, values=("b", "a", "b"))
    found = cells_of(["a", "b", "secret", None], column)
    assert found.codes[1].tolist() == [1, 0, 2, 3]
    assert found.labels == ("b", "a", "not declared", "missing")


def test_undeclared_values_are_cells_over_all_sides_and_have_no_labels() -> None:
    tables = tuple(pa.table({"c": pa.chunked_array([part], pa.string())}) for part in (["x", "y"], ["y"], ["z", None]))
    (found,) = encode((tables[0], tables[1], tables[2]), [UtilityColumn("c", True)])
    assert [codes.tolist() for codes in found.codes] == [[0, 1], [1], [2, 3]]
    assert (found.size, found.labels) == (4, None)


def test_types_that_mean_the_same_are_taken_as_one() -> None:
    plain = pa.table({"c": ["x", "y"], "n": pa.array([1, 2], pa.int8())})
    other = pa.table({"c": pa.array(["y"]).dictionary_encode(), "n": pa.array([2.0])})
    found = encode((other, plain, plain), [UtilityColumn("c", True, values=("x", "y")), UtilityColumn("n", False, 3.0)])
    assert [column.codes[0].tolist() for column in found] == [[1], [2]]
    (first,) = encode((plain, other, plain), [UtilityColumn("c", True)])
    assert first.codes[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    "column",
    [
        UtilityColumn("absent", True),
        UtilityColumn("c", False),
        UtilityColumn("n", True, values=("x",)),
        UtilityColumn("n", True, values=(1, "x")),
    ],
)
def test_columns_that_do_not_fit_are_refused_without_values(column: UtilityColumn) -> None:
    table = pa.table({"c": ["secret"], "n": [12345]})
    with pytest.raises(ContractError) as refused:
        encode((table, table, table), [column])
    assert "secret" not in str(refused.value)
    assert "12345" not in str(refused.value)


def test_sides_of_different_types_a_repeated_column_and_an_empty_side_are_refused() -> None:
    table, text = pa.table({"n": [1]}), pa.table({"n": ["secret"]})
    with pytest.raises(ContractError) as refused:
        encode((text, table, table), [UtilityColumn("n", True)])
    assert "secret" not in str(refused.value)
    with pytest.raises(ContractError):
        encode((table, table, table), [UtilityColumn("n", True), UtilityColumn("n", False)])
    with pytest.raises(ValidationRefused) as empty:
        encode((table, table, table.slice(0, 0)), [UtilityColumn("n", True)])
    assert empty.value.found == "no hold-out rows"
