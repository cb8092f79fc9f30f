from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.privacy.kanonymity import class_sizes, k_anonymity, suppress_small_classes

NAMES = ["age", "region", "members"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["young", "old", "", None]),
        st.sampled_from(["1", "2", "3", None]),
        st.sampled_from([1, 2, -1, None]),
    ),
    max_size=40,
)


def as_table(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    types = [pa.string(), pa.string(), pa.int64()]
    arrays = [pa.array(list(values), kind) for values, kind in zip(columns, types, strict=True)]
    return pa.table([*arrays, pa.array(range(len(rows)), pa.int64())], names=[*NAMES, "row"])


@given(rows=ROWS, columns=st.lists(st.sampled_from(range(3)), min_size=1, unique=True))
def test_k_equals_the_smallest_count(rows: list[tuple[object, ...]], columns: list[int]) -> None:
    counted = Counter(tuple(row[at] for at in columns) for row in rows)
    table, names = as_table(rows), [NAMES[at] for at in columns]
    assert k_anonymity(table, names) == min(counted.values(), default=0)
    assert class_sizes(table, names).tolist() == sorted(counted.values())


@given(rows=ROWS, k=st.integers(1, 8))
def test_suppression_reaches_k_and_only_nulls_or_drops(rows: list[tuple[object, ...]], k: int) -> None:
    table = as_table(rows)
    result, touched = suppress_small_classes(table, NAMES, k)
    assert result.num_rows == 0 or k_anonymity(result, NAMES) >= k
    counted = Counter(rows)
    assert touched == sum(count for count in counted.values() if count < k)
    kept = {row["row"]: tuple(row[name] for name in NAMES) for row in result.to_pylist()}
    assert list(kept) == sorted(kept)
    for at, before in enumerate(rows):
        if counted[before] >= k:
            assert kept[at] == before
        elif at in kept:
            assert all(new is None or new == old for new, old in zip(kept[at], before, strict=True))
    assert len(rows) - len(kept) < k
