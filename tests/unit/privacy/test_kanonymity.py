from __future__ import annotations

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError
from cloakhouse.privacy.kanonymity import class_sizes, k_anonymity, suppress_small_classes

PEOPLE = pa.table(
    {
        "age": ["30-39", "30-39", "30-39", "40-49", "40-49", None, None],
        "region": ["1", "1", "1", "2", "2", "2", "2"],
        "income": [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0],
    }
)


def test_smallest_class_counts_and_nulls_are_a_class() -> None:
    assert k_anonymity(PEOPLE, ["age", "region"]) == 2
    assert class_sizes(PEOPLE, ["age", "region"]).tolist() == [2, 2, 3]
    assert k_anonymity(PEOPLE, ["income"]) == 1


def test_empty_table_has_k_zero() -> None:
    empty = PEOPLE.slice(0, 0)
    assert k_anonymity(empty, ["age", "region"]) == 0
    assert class_sizes(empty, ["age"]).tolist() == []
    assert suppress_small_classes(empty, ["age"], 5) == (empty, 0)


@pytest.mark.parametrize("columns", [["age", "postcode"], []])
def test_missing_or_no_columns_are_refused(columns: list[str]) -> None:
    with pytest.raises(ContractError):
        k_anonymity(PEOPLE, columns)


def test_ambiguous_column_is_refused() -> None:
    twice = pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["age", "age"])
    with pytest.raises(ContractError):
        k_anonymity(twice, ["age"])


def test_chunks_and_dictionaries_do_not_split_classes() -> None:
    chunks = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()])
    assert class_sizes(pa.table({"x": chunks}), ["x"]).tolist() == [2, 2]


def test_suppression_takes_the_column_that_rescues_most() -> None:
    # One odd region among four alike: nulling `region` of the odd pair alone can't reach k = 3, nulling
    # `age` merges nothing; the large class stays as it is.
    table = pa.table({"age": ["a"] * 3 + ["b"] * 3, "region": ["1", "1", "1", "1", "2", "3"], "paid": range(6)})
    result, touched = suppress_small_classes(table, ["age", "region"], 3)
    assert touched == 3
    assert result["age"].to_pylist() == ["a"] * 3 + ["b"] * 3
    assert result["region"].to_pylist() == ["1"] * 3 + [None] * 3
    assert result["paid"].to_pylist() == list(range(6))


def test_rows_that_no_suppression_helps_are_dropped_and_counted() -> None:
    table = pa.table({"age": ["a"] * 5 + ["b"], "id": range(6)})
    result, touched = suppress_small_classes(table, ["age"], 2)
    assert touched == 1
    assert result["id"].to_pylist() == [0, 1, 2, 3, 4]


def test_suppressed_columns_become_nullable_and_keep_type_and_order() -> None:
    schema = pa.schema([pa.field("age", pa.int8(), nullable=False), pa.field("note", pa.string(), nullable=False)])
    table = pa.table({"age": [1, 2, 3, 3], "note": ["w", "x", "y", "z"]}, schema=schema)
    result, touched = suppress_small_classes(table, ["age"], 2)
    assert touched == 2
    assert result.schema == pa.schema([pa.field("age", pa.int8()), schema.field("note")])
    assert result["age"].to_pylist() == [None, None, 3, 3]


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ContractError):
        suppress_small_classes(PEOPLE, ["age"], 0)
