"""Each attack on tables small enough to see what it has to find."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.privacy.attacks import AttackColumn, Population
from cloakhouse.privacy.attacks import setting as settings
from cloakhouse.privacy.attacks.bounds import Estimate
from cloakhouse.privacy.attacks.encoding import distance, encode, nearest
from cloakhouse.privacy.attacks.inference import guessed
from cloakhouse.privacy.attacks.linkability import halves, linked
from cloakhouse.privacy.attacks.matches import exact, near
from cloakhouse.privacy.attacks.near import count_near, nearest_near, places
from cloakhouse.privacy.attacks.sampling import Turn, generator, rows_per_household, turns
from cloakhouse.privacy.attacks.setting import Setting
from cloakhouse.privacy.attacks.singling_out import AT_LEAST, AT_MOST, EQUAL, Condition, matching, univariate

COLUMNS = (AttackColumn("shop", True, None), AttackColumn("spent", False, 100.0), AttackColumn("items", False, None))


def rows(*cells: tuple[object, ...]) -> pa.Table:
    shop, spent, items = zip(*cells, strict=True)
    return pa.table(
        {"shop": pa.array(shop), "spent": pa.array(spent, pa.float64()), "items": pa.array(items, pa.int64())}
    )


def scene(release: pa.Table, training: pa.Table, holdout: pa.Table) -> Setting:
    sides = [Population(side, np.arange(side.num_rows)) for side in (training, holdout)]
    return Setting.of(release, sides[0], sides[1], COLUMNS, 1)


def test_distance_counts_categories_nulls_and_logs_of_numbers() -> None:
    left, right = encode(
        [rows(("a", 0.0, 3), ("a", None, 3), ("b", 100.0, 3)), rows(("a", 100.0, 3), ("a", 0.0, 3), (None, 100.0, 3))],
        COLUMNS,
    ).parts
    assert distance(left, right).tolist() == pytest.approx([1.0, 1.0, 1.0])
    encoded = encode([rows(("a", 10.0, 1)), rows(("a", 10.5, 1))], COLUMNS)
    assert distance(*encoded.parts)[0] == pytest.approx(np.log(11.5 / 11) / np.log(101), rel=1e-4)
    assert encoded.places([0, 1]) == ([0], [0])


def test_text_of_any_encoding_is_one_category() -> None:
    table = rows(("a", 1.0, 1), ("b", 1.0, 1))
    large = table.set_column(0, "shop", table["shop"].cast(pa.large_string()).dictionary_encode())
    left, right = encode([table, large], COLUMNS).parts
    assert distance(left, right).tolist() == [0.0, 0.0]


def test_the_nearest_is_found_over_blocks_with_many_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloakhouse.privacy.attacks.encoding.CHUNK", 7)
    monkeypatch.setattr("cloakhouse.privacy.attacks.encoding.BLOCK", 11)
    rng = np.random.default_rng(1)
    release = rows(*((int(s), float(v), int(v)) for s, v in zip(range(200), rng.random(200) * 100, strict=True)))
    chosen = rng.permutation(200)[:50]
    encoded = encode([release.take(pa.array(chosen)), release], COLUMNS)
    where, gaps = nearest(*encoded.parts)
    assert where.tolist() == chosen.tolist()
    assert gaps.tolist() == [0.0] * 50


def test_near_is_equal_categories_and_a_share_of_the_numbers() -> None:
    release = rows(("a", 10.0, 5), ("a", 10.9, 5), ("a", 12.5, 5), ("b", 10.0, 5))
    real = rows(("a", 10.0, 5), ("b", 10.4, 5), ("c", 10.0, 5))
    synthetic, points = places(encode([release, real], COLUMNS))
    assert count_near(synthetic.tree(), points).tolist() == [2, 1, 0]
    assert nearest_near(synthetic.tree(), points).tolist() == [0, 3, -1]


def test_credit_for_copies_is_shared_or_goes_to_the_nearest() -> None:
    release = rows(("a", 1.0, 1), ("a", 1.0, 1), ("b", 50.0, 2), ("c", 9.0, 3))
    training = rows(("a", 1.0, 1), ("a", 1.0, 1), ("b", 51.0, 2))
    holdout = rows(("d", 1.0, 1), ("a", 1.0, 1), ("c", 9.0, 3))
    turn = Turn(np.arange(3), np.arange(3))
    same, close = (match(scene(release, training, holdout)) for match in (exact, near))
    assert same.training.tolist() == [True, True, False]
    assert same.holdout.tolist() == [False, True, True]
    assert same.credit(turn, training=True).tolist() == [1.0, 1.0, 0.0]
    assert same.credit(turn, training=False).tolist() == [0.0, 2.0, 1.0]
    assert close.training[2]
    assert close.credit(turn, training=True).tolist() == [0.0, 0.0, 1.0]  # of row a there are several
    assert close.credit(turn, training=False).tolist() == [0.0, 0.0, 1.0]


def test_a_figure_that_is_not_a_number_has_no_value() -> None:
    table = rows(("a", 1.0, 1), ("b", 1.0, 1))
    found = scene(table, table, table).risk("membership", Estimate(0.1, float("nan")), 4, "why")
    assert (found.value, found.bound, found.note) == (None, None, "not a number; why")


def test_linked_if_one_row_is_nearest_by_both_halves() -> None:
    setting = scene(
        rows(("a", 1.0, 1), ("b", 50.0, 20)), rows(("a", 1.0, 1), ("b", 1.0, 1)), rows(("a", 50.0, 20), ("b", 50.0, 20))
    )
    parts = setting.encoded.places([0]), setting.encoded.places([1, 2])
    assert linked(setting.training, setting.synthetic, parts, 1).tolist() == [True, False]
    assert linked(setting.holdout, setting.synthetic, parts, 1).tolist() == [False, True]
    assert halves(5, generator(1))[0] == ([0, 2, 4], [1, 3])


def test_a_guess_is_the_value_of_the_nearest_row_in_the_other_columns() -> None:
    setting = scene(
        rows(("a", 10.0, 1), ("b", 60.0, 20)),
        rows(("a", 10.4, 1), ("b", 10.0, 20), ("b", None, 20)),
        rows(("b", 60.0, 21), ("a", 60.0, 20)),
    )
    assert guessed(setting, 1, setting.training, setting.synthetic).tolist() == [True, False, False]
    assert guessed(setting, 0, setting.holdout, setting.synthetic).tolist() == [True, False]


def test_predicates_hold_for_what_they_say() -> None:
    columns = [np.array([1.0, 2.0, 2.0, 7.0]), np.array([0.0, 0.0, 1.0, 1.0])]
    assert matching((Condition(1, EQUAL, 1.0), Condition(0, AT_LEAST, 3.0)), columns).tolist() == [3]
    assert matching((Condition(0, AT_MOST, 0.0), Condition(1, EQUAL, 0.0)), columns).tolist() == []
    found = univariate(columns, 1, generator(1))
    assert {(p[0].how, p[0].value) for p in found} == {(EQUAL, 1.0), (EQUAL, 7.0), (AT_MOST, 1.0), (AT_LEAST, 7.0)}


def test_turns_hold_every_training_household_once_and_equally_many_of_the_hold_out() -> None:
    units, others = np.repeat(np.arange(103), 3), np.arange(40)
    plan = turns(units, others, generator(2))
    assert sorted(np.concatenate([turn.training for turn in plan]).tolist()) == list(range(309))
    assert [(len(t.training) // 3, len(t.holdout)) for t in plan] == [(35, 35), (34, 34), (34, 34)]


def test_rows_are_drawn_per_household_and_households_when_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    units = np.repeat(np.arange(10), np.arange(1, 11))
    drawn = rows_per_household(units, 3, generator(1))
    assert np.bincount(units[drawn]).tolist() == [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]
    table = rows(*((str(at), 1.0, 1) for at in range(40)))
    setting = scene(table, table, table)
    assert [len(side) for side in setting.targets(1, 2, 40 * 2 * 15)] == [15, 15]
    assert [len(side) for side in setting.targets(1, 2)] == [40, 40]
    assert setting.searched().tolist() == list(range(40))
    monkeypatch.setattr(settings, "MOST_SYNTHETIC", 25)
    assert len(setting.searched()) == 25
