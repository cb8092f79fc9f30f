"""Training and hold-out: whole units, the same in every run, of about the share asked for."""

from __future__ import annotations

import hashlib

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.synthesis.protocol import UNIT
from cloakhouse.synthesis.split import split_units

ROWS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["a", "b", "c", None])), min_size=0, max_size=60)


def token(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4)).digest()[:16]


def view(rows: list[tuple[int, str | None]]) -> pa.Table:
    """Return rows with their number, so that each can be told from the others."""
    return pa.table(
        {
            "row": pa.array(range(len(rows)), pa.int64()),
            "kind": pa.array([kind for _, kind in rows], pa.string()),
            UNIT: pa.array([token(unit) for unit, _ in rows], pa.binary(16)),
        }
    )


@settings(max_examples=200)
@given(ROWS, st.floats(0.01, 0.99), st.integers(1, 60), st.integers(1, 5))
def test_whole_units_go_to_one_side(
    rows: list[tuple[int, str | None]], share: float, max_rows: int, min_units: int
) -> None:
    table = view(rows)
    made = split_units(table, share, max_rows, ["kind"], min_units)
    training, holdout = (set(side.column("row").to_pylist()) for side in (made.training, made.holdout))
    units = [unit for unit, _ in rows]
    holders: dict[str | None, set[int]] = {}
    for unit, kind in rows:
        holders.setdefault(kind, set()).add(unit)
    common = {n for n, (_, kind) in enumerate(rows) if len(holders[kind]) >= min_units}

    held = {unit for unit in units if int.from_bytes(token(unit)[:8]) < share * 2**64}
    assert holdout == {n for n in common if units[n] in held}
    wanted = {n for n in common if units[n] not in held}
    assert training <= wanted
    taken = {units[n] for n in training}
    assert training == {n for n in wanted if units[n] in taken}  # whole units
    assert len(training) <= max_rows
    if len(wanted) <= max_rows:
        assert training == wanted
    assert made.suppressed_rows == len(rows) - len(common)
    assert made.training.column(UNIT).to_pylist() == [token(units[n]) for n in made.training.column("row").to_pylist()]

    again = split_units(table, share, max_rows, ["kind"], min_units)
    assert again.training.equals(made.training)
    assert again.holdout.equals(made.holdout)


@given(ROWS, st.integers(1, 40))
def test_the_cap_takes_units_until_the_next_would_exceed_it(rows: list[tuple[int, str | None]], max_rows: int) -> None:
    made = split_units(view(rows), 2**-60, max_rows, [], 1)
    units = [unit for unit, _ in rows]
    sizes = {unit: units.count(unit) for unit in units}
    total, taken = 0, set()
    for unit in sorted(sizes, key=lambda u: token(u)[8:]):
        if total + sizes[unit] > max_rows:
            break
        total += sizes[unit]
        taken.add(unit)
    assert {units[n] for n in made.training.column("row").to_pylist()} == taken


@given(ROWS, st.randoms(use_true_random=False))
def test_the_side_of_a_unit_does_not_depend_on_the_other_rows(
    rows: list[tuple[int, str | None]], random: object
) -> None:
    whole = split_units(view(rows), 0.5, 100, [], 1)
    held = {rows[n][0] for n in whole.holdout.column("row").to_pylist()}
    for at in range(0, len(rows), 7):
        part = split_units(view(rows).slice(at, 5), 0.5, 100, [], 1)
        for n in part.holdout.column("row").to_pylist():
            assert rows[n][0] in held
        for n in part.training.column("row").to_pylist():
            assert rows[n][0] not in held
