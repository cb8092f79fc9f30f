"""What is normal depends on the amounts and not on their order, and a limit is never below them all."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.ledger.alert_rules import DEFAULTS, MOST_ENTRIES, chosen, normal, subject_of

AMOUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=40)


@given(AMOUNTS, st.integers(0, 100), st.randoms(use_true_random=False))
def test_a_limit_is_above_all_but_one_and_knows_no_order(
    amounts: list[int], least: int, shuffled: random.Random
) -> None:
    found = normal(amounts, least, DEFAULTS)
    mixed = list(amounts)
    shuffled.shuffle(mixed)
    assert normal(mixed, least, DEFAULTS) == found
    assert sum(amount > found.limit for amount in amounts) <= 1
    assert found.limit >= max(least, 3 * found.median)


@given(AMOUNTS, st.integers(2, 50))
def test_many_times_more_work_by_all_is_that_many_times_as_normal(amounts: list[int], times: int) -> None:
    one, many = normal(amounts, 0, DEFAULTS), normal([times * amount for amount in amounts], 0, DEFAULTS)
    assert many.median == times * one.median
    assert many.limit <= times * one.limit * (1 + 1e-9)


@given(st.lists(st.integers(0, 10**9), max_size=60))
def test_chosen_entries_are_some_of_them_with_the_first_and_the_last(numbers: list[int]) -> None:
    found = chosen(numbers)
    assert set(found) <= set(numbers)
    assert len(found) == min(len(set(numbers)), MOST_ENTRIES)
    assert not numbers or (found[0], found[-1]) == (min(numbers), max(numbers))


@given(st.lists(st.text(max_size=300), max_size=3))
def test_a_subject_is_never_empty_nor_too_long(parts: list[str]) -> None:
    assert 1 <= len(subject_of(*parts)) <= 200
