"""Counting categories by rows and by subjects, merged and bounded, and suppression of the rare ones."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.tokens import rare
from cloakhouse.tokens.rare import Counts, suppress

VALUES = ["red", "blue", None, "red", "green", "red", "blue"]
WHO = [1, 2, 3, 1, 4, 1, 3]


def counted(*parts: Any, **settings: Any) -> Counts:
    counts = Counts(**settings)
    for part in parts:
        counts.add(pa.array(part) if isinstance(part, list) else part)
    return counts


def test_values_by_their_rows() -> None:
    counts = counted(VALUES)
    assert counts.frequent(1).to_pylist() == ["blue", "green", "red"]
    assert counts.frequent(2).to_pylist() == ["blue", "red"]
    assert counts.frequent(3).to_pylist() == ["red"]
    assert counts.frequent(4).to_pylist() == []
    assert counts.rare(3).to_pylist() == ["blue", "green"]
    assert [counts.rest(threshold) for threshold in (1, 2, 3, 4)] == [0, 1, 3, 6]


def test_values_by_their_distinct_subjects() -> None:
    counts = Counts()
    counts.add(pa.array(VALUES), pa.array(WHO))
    assert counts.frequent(2).to_pylist() == ["blue"]
    assert counts.rare(2).to_pylist() == ["green", "red"]
    assert [counts.rest(threshold) for threshold in (1, 2, 3)] == [0, 2, 4]
    counts.add(pa.array(["red", "red", "red", "blue"]), pa.array([1, 9, None, None]))
    assert counts.frequent(2).to_pylist() == ["blue", "red"]
    assert counts.frequent(3).to_pylist() == []


def test_a_subject_with_several_rare_values_counts_once_in_the_rest() -> None:
    counts = Counts()
    counts.add(pa.array(["a", "b", "c"]), pa.array(["ann", "ann", "bob"]))
    assert counts.rest(2) == 2


def test_parts_and_merged_counts_are_the_whole() -> None:
    other = counted(["green", "green", None])
    counts = counted(VALUES[:3], VALUES[3:])
    counts.merge(other)
    counts.merge(Counts())
    assert counts.frequent(3).to_pylist() == ["green", "red"]
    assert other.frequent(1).to_pylist() == ["green"]
    empty = Counts()
    empty.merge(counts)
    assert empty.frequent(3).to_pylist() == ["green", "red"]


def test_counts_travel_between_processes() -> None:
    counts = pickle.loads(pickle.dumps(counted(VALUES)))
    assert counts.frequent(2).to_pylist() == ["blue", "red"]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(VALUES).dictionary_encode(),
        pa.array(VALUES, pa.large_string()),
        pa.array(VALUES, pa.string_view()),
        pa.array(["x", *VALUES]).slice(1),
        pa.chunked_array([VALUES[:2], [], VALUES[2:]], pa.string()),
        pa.chunked_array([pa.array(part).dictionary_encode() for part in (VALUES[:3], VALUES[3:])]),
    ],
)
def test_layouts(values: Any) -> None:
    assert counted(values, values).frequent(4).to_pylist() == ["blue", "red"]
    mixed = counted(values, VALUES)
    assert mixed.frequent(4).to_pylist() == ["blue", "red"]
    assert suppress(values, mixed.frequent(4), "other").to_pylist() == [
        "red", "blue", None, "red", "other", "red", "blue"
    ]  # fmt: skip


def test_integers_of_any_width() -> None:
    counts = counted(pa.array([7, 7, -1], pa.int8()), pa.array([7, None], pa.uint32()), pa.array([-1]))
    assert counts.frequent(3).to_pylist() == [7]
    for kind in (pa.int8(), pa.int64()):
        assert suppress(pa.array([7, -1, None], kind), counts.frequent(3), None).equals(pa.array([7, None, None], kind))
    large = counted(pa.array([2**64 - 1] * 2, pa.uint64()))
    assert suppress(pa.array([2**64 - 1, 1], pa.uint64()), large.frequent(2), None).to_pylist() == [2**64 - 1, None]


def test_many_small_parts_are_folded_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rare, "FOLD_ROWS", 8)
    counts, expected = Counts(), Counter()
    for number in range(60):
        part = [f"{number % 7}", f"{number % 11}", "x"]
        counts.add(pa.array(part))
        expected.update(part)
        assert len(counts._parts) < 12
    for threshold in (1, 8, 13, 14, 15, 60, 61):
        assert counts.frequent(threshold).to_pylist() == sorted(v for v, n in expected.items() if n >= threshold)
        assert counts.rest(threshold) == sum(n for n in expected.values() if n < threshold)


def test_nothing_counted() -> None:
    for counts in (Counts(), counted(pa.array([], pa.string())), counted(pa.nulls(3, pa.string()))):
        assert counts.frequent(1).to_pylist() == counts.rare(1).to_pylist() == []
        assert counts.rest(5) == 0
    assert suppress(pa.array([1, None]), Counts().frequent(1), None).to_pylist() == [None, None]
    assert suppress(pa.array(["a", None]), Counts().frequent(1), "o").to_pylist() == ["o", None]


def test_more_than_a_category_can_have_is_refused() -> None:
    with pytest.raises(TreatmentError) as caught:
        counted(["secret1", "secret2", "secret3"], column="city", max_distinct=2).frequent(1)
    assert caught.value.code == "treatment.distinct"
    assert "column city" in str(caught.value)
    assert "secret" not in str(caught.value)
    pairs = Counts(max_pairs=2)
    pairs.add(pa.array(["a"] * 3), pa.array([1, 2, 3]))
    with pytest.raises(TreatmentError, match="pairs"):
        pairs.frequent(1)
    assert counted(["a", "b", "a"], max_distinct=2).frequent(1).to_pylist() == ["a", "b"]


def test_memory_stays_bounded_while_parts_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rare, "FOLD_ROWS", 8)
    counts = Counts(max_distinct=20)
    for number in range(20):
        counts.add(pa.array([number]))
    with pytest.raises(TreatmentError):
        list(map(counts.add, [pa.array([number]) for number in range(20, 100)]))


def test_columns_that_do_not_go_together() -> None:
    counts = counted(VALUES)
    with pytest.raises(TreatmentError):
        counts.add(pa.array([1]))
    with pytest.raises(ValueError, match="not both"):
        counts.add(pa.array(VALUES), pa.array(WHO))
    with pytest.raises(ValueError, match="as many"):
        Counts().add(pa.array(VALUES), pa.array([1]))
    for values in (pa.array([1.5]), pa.array([True]), pa.array([b"x"])):
        with pytest.raises(TreatmentError):
            Counts().add(values)
        with pytest.raises(TreatmentError):
            suppress(values, pa.array(["a"]), None)
    with pytest.raises(TreatmentError):
        Counts().add(pa.array(["a"]), pa.array([1.5]))
    with pytest.raises(TreatmentError, match="column size"):
        suppress(pa.array([1]), pa.array(["a"]), None, column="size")


def test_unusable_settings() -> None:
    for threshold in (0, -1):
        with pytest.raises(ContractError):
            counted(VALUES).frequent(threshold)
    with pytest.raises(ContractError):
        Counts().rare(0)
    with pytest.raises(ContractError):
        suppress(pa.array([1]), pa.array([1]), "other")


@pytest.mark.parametrize(
    ("values", "subjects", "kept"),
    [
        (["a"] * 4 + ["b"] * 3, None, ["a", "b"]),
        (["a"] * 4 + ["b"] * 3 + ["c"], None, ["a"]),
        (["a"] * 4 + ["b"] * 3 + ["c"] * 2 + ["d"], None, ["a", "b"]),
        (["a"] * 3 + ["b"] * 3 + ["c"], None, ["b"]),
        (["a"] * 3 + ["c"], None, []),
        (["a"] * 3 + [None], None, ["a"]),
        (["a"] * 3 + ["b"] * 3 + ["c"] + [None] * 9, None, ["b"]),
        (["c", "d"], None, []),
        (["a"] * 3 + ["c"] * 9, [1, 2, 3] + [1] * 9, []),
        (["a"] * 3 + ["b"] * 3 + ["c"], [1, 2, 3, 1, 2, 3, None], ["b"]),
        (["a"] * 3 + ["b"] * 3 + ["c"], [1, 2, 3, 1, 2, None, None], []),
        (["a"] * 3 + ["b"] * 4, [1, 2, 3, 1, 2, 3, None], ["a", "b"]),
        (["c"] * 9, [None] * 9, []),
    ],
)
def test_what_is_kept_leaves_a_class_of_at_least_three_or_none(
    values: list[str | None], subjects: list[int | None] | None, kept: list[str]
) -> None:
    counts = Counts()
    counts.add(pa.array(values), pa.array(subjects, pa.int64()) if subjects else None)
    assert counts.kept(3).to_pylist() == kept
    assert suppress(pa.array(values), counts.kept(3), "o").to_pylist() == [
        v if v is None or v in kept else "o" for v in values
    ]


def test_values_of_rows_without_a_subject_are_rare_in_all_parts_and_merges() -> None:
    counts, other = Counts(), Counts()
    counts.add(pa.array(["a", "b"]), pa.array([1, None], pa.int64()))
    other.add(pa.array(["a", "c", None]), pa.array([2, None, None], pa.int64()))
    counts.merge(other)
    assert (counts.frequent(2).to_pylist(), counts.rare(2).to_pylist(), counts.rest(2)) == (["a"], ["b", "c"], 0)
    assert counts.kept(2).to_pylist() == []


def test_null_among_the_frequent_values_is_no_value() -> None:
    assert suppress(pa.array(["a", None, "b"]), pa.array(["a", None]), "o").to_pylist() == ["a", None, "o"]
