"""Shares of the split on many units, rare categories, and units that are none."""

from __future__ import annotations

import hashlib
from collections import Counter

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError
from cloakhouse.synthesis.derive import ORDER
from cloakhouse.synthesis.protocol import GROUP, UNIT
from cloakhouse.synthesis.split import Split, in_order, shard_of, split_units


def tokens(count: int, salt: bytes = b"") -> list[bytes]:
    return [hashlib.sha256(salt + n.to_bytes(4)).digest()[:16] for n in range(count)]


def view(units: pa.Array, **columns: object) -> pa.Table:
    return pa.table({**columns, "row": pa.array(range(len(units))), UNIT: units})


def units_of(made: Split) -> tuple[int, int]:
    return tuple(len(set(side.column(UNIT).to_pylist())) for side in (made.training, made.holdout))  # type: ignore[return-value]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_shares_are_near_what_was_asked_for(share: float) -> None:
    table = view(pa.array(tokens(20_000), pa.binary(16)))
    made = split_units(table, share, 10**6, [], 1)
    training, holdout = units_of(made)
    assert training + holdout == 20_000
    assert abs(holdout / 20_000 - share) < 0.012  # 3.4 standard deviations at the widest


def test_the_cap_is_no_second_draw_of_the_same_word() -> None:
    """Units kept under the cap are spread over the training side, as the cap orders by the token's other half."""
    units = tokens(20_000)
    table = view(pa.array(units, pa.binary(16)))
    whole = split_units(table, 0.2, 10**6, [], 1).training.column("row").to_pylist()
    capped = split_units(table, 0.2, 4_000, [], 1).training.column("row").to_pylist()
    assert len(capped) == 4_000
    assert set(capped) < set(whole)
    high = sum(units[n][0] >= 0x99 for n in capped)  # half of the training side's range
    assert 1_750 < high < 2_250


def test_rare_categories_are_left_out_of_both_sides_by_units_and_not_by_rows() -> None:
    units = tokens(100)
    rows = units * 3 + [units[0]] * 50  # one unit with a category of its own, in 50 rows
    kind = ["common"] * 300 + ["odd"] * 50
    age = ["young"] * 100 + ["old"] * 100 + [None] * 150
    made = split_units(
        view(pa.array(rows, pa.binary(16)), kind=kind, age=age), 0.3, 10**6, ["kind", "age"], min_units=5
    )
    assert made.suppressed_rows == 50
    found = Counter(made.training.column("kind").to_pylist() + made.holdout.column("kind").to_pylist())
    assert found == {"common": 300}
    assert {"young", "old", None} == set(made.training.column("age").to_pylist())  # null is a category like others


def test_a_sliced_view_reads_its_own_tokens() -> None:
    units = pa.array(tokens(1_000), pa.binary(16))
    whole = split_units(view(units), 0.5, 10**6, [], 1).holdout.column("row").to_pylist()
    table = view(units).slice(100, 700)
    part = split_units(table, 0.5, 10**6, [], 1).holdout.column("row").to_pylist()
    assert part == [n for n in whole if 100 <= n < 800]
    chunked = pa.concat_tables([table.slice(0, 13), table.slice(13)])
    assert split_units(chunked, 0.5, 10**6, [], 1).holdout.column("row").to_pylist() == part


def test_no_rows_give_no_units() -> None:
    made = split_units(view(pa.array([], pa.binary(16)), kind=pa.array([], pa.string())), 0.2, 10, ["kind"], 5)
    assert made.suppressed_rows == 0
    assert (made.training.num_rows, made.holdout.num_rows) == (0, 0)


@pytest.mark.parametrize(
    "units",
    [
        pa.array([1, 2, 3], pa.int64()),
        pa.array(["a", "b", "c"]),
        pa.array([b"a" * 8] * 3, pa.binary(8)),
        pa.array([*tokens(2), None], pa.binary(16)),
    ],
    ids=["numbers", "texts", "short", "null"],
)
def test_a_unit_that_is_no_token_is_refused(units: pa.Array) -> None:
    with pytest.raises(ContractError) as caught:
        split_units(view(units), 0.2, 10, [], 5)
    assert caught.value.code == "contract.unit"


def test_without_cap_and_categories_a_unit_changes_no_other_units_side() -> None:
    """Neighbours differ in one unit: what the others give to the training rows is the same."""
    units = tokens(500)
    rows = pa.array(units * 3, pa.binary(16))
    table = view(rows, kind=["a"] * 1499 + ["odd"])
    whole = split_units(table, 0.3)
    assert whole.suppressed_rows == 0
    for left_out in units[:20]:
        keep = pa.array([token != left_out for token in rows.to_pylist()])
        part = split_units(table.filter(keep), 0.3)
        kept = [token != left_out for token in whole.training.column(UNIT).to_pylist()]
        assert part.training.equals(whole.training.filter(pa.array(kept)))


def test_shards_hold_whole_units_in_about_equal_shares() -> None:
    units = pa.array(tokens(8_000) * 2, pa.binary(16))
    shards = shard_of(units, 4)
    assert (shards[:8_000] == shards[8_000:]).all()
    assert all(1_800 < count < 2_200 for count in Counter(shards[:8_000].tolist()).values())


def test_rows_in_order_stand_by_unit_then_group_then_time() -> None:
    one, two = tokens(2)
    table = pa.table(
        {
            "row": [0, 1, 2, 3, 4],
            UNIT: pa.array([two, one, two, one, two], pa.binary(16)),
            GROUP: pa.array([b"b" * 16, b"a" * 16, b"a" * 16, b"a" * 16, b"b" * 16], pa.binary(16)),
            ORDER: pa.array([5, 2, 1, 1, 3], pa.timestamp("us")),
        }
    )
    found = in_order(table).column("row").to_pylist()
    of_two, of_one = [2, 4, 0], [3, 1]
    assert found == (of_two + of_one if two < one else of_one + of_two)
