"""The sieve: who passes, by plain identifiers and by tokens alike, and rows that name nobody."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.contracts.model import Column, ColumnClass, Treatment
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.stages.sieve import Persons, Sieve
from cloakhouse.tokens.keyed import written
from cloakhouse.tokens.subjects import RIGHTS_TYPE, layer_of, rights_tokens, rights_uses, tokens_of_rights


class Keys:
    """Keys that follow from what they are for."""

    def key(self, use: KeyUse) -> SecretKey:
        return SecretKey(hashlib.sha256(repr(use).encode()).digest())


def column(**parameters: str) -> Column:
    given = {"domain": "customer", "purpose": "analytics", **parameters}
    return Column("household_id", "integer", True, ColumnClass.DIRECT, Treatment("token", given))


def persons(*numbers: int) -> pa.Array:
    tokens = rights_tokens(pa.array(numbers, pa.int64()), column(), Keys())
    return tokens.take(pa.array(np.argsort(np.array(tokens.to_pylist())))) if numbers else pa.array([], RIGHTS_TYPE)


def passing(
    allowed: pa.Array | None, erased: pa.Array, given: list[int | None], shape: Column | None = None
) -> list[bool]:
    """Return who passes; asked both ways, which must say the same."""
    shape = shape or column()
    sieve, values = Sieve(Persons.passing(allowed, erased), shape, Keys()), pa.array(given, pa.int64())
    plain = sieve.of_plain(values)
    rights = rights_tokens(values, shape, Keys())
    tokens = written(tokens_of_rights(rights, shape, Keys()), shape.treatment.parameters)
    assert sieve.of_tokens(tokens).tolist() == plain.tolist()
    assert sieve.of_plain(pa.chunked_array([values.slice(0, 1), values.slice(1)])).tolist() == plain.tolist()
    return [bool(one) for one in plain]


@pytest.mark.parametrize("form", ["binary", "hex", "base32"])
def test_only_persons_who_agreed_and_were_not_erased_pass(form: str) -> None:
    agreed, erased = persons(*range(0, 300, 2)), persons(*range(0, 300, 3))
    given = [*range(300), 7, 8, 8]
    expected = [n % 2 == 0 and n % 3 != 0 for n in given]
    assert passing(agreed, erased, given, column(form=form)) == expected


def test_where_no_consent_is_asked_for_all_but_the_erased_pass() -> None:
    assert passing(None, persons(5, 6), [4, 5, 6, 7, None]) == [True, False, False, True, True]
    assert passing(None, persons(), [4, None]) == [True, True]


def test_nobody_said_yes_for_a_row_without_a_person_nor_for_one_unknown() -> None:
    assert passing(persons(4), persons(), [4, 5, None]) == [True, False, False]
    assert passing(persons(), persons(), [4, None]) == [False, False]
    assert passing(persons(4), persons(4), [4]) == [False]


def test_only_without_consent_and_erasures_no_row_has_to_be_looked_at() -> None:
    assert Persons.passing(None, persons()).all_pass
    assert not Persons.passing(None, persons(1)).all_pass
    assert not Persons.passing(persons(), persons()).all_pass


def test_lists_in_any_order_and_cut_from_others_are_understood() -> None:
    many = persons(*range(20))
    backwards = many.take(pa.array(range(19, -1, -1)))
    assert passing(backwards.slice(3, 10), persons(), list(range(20))) == passing(
        many.slice(7, 10), persons(), list(range(20))
    )
    assert sum(passing(many.slice(7, 10), persons(), list(range(20)))) == 10


def test_the_token_of_another_purpose_is_nobodys() -> None:
    """A rights token comes of a token only under the purpose that the column has."""
    other = column(purpose="marketing")
    tokens = tokens_of_rights(persons(1, 2), other, Keys())
    assert layer_of(other) != layer_of(column())
    assert rights_uses(other) == rights_uses(column())
    assert not Sieve(Persons.passing(persons(1, 2), persons()), column(), Keys()).of_tokens(tokens).any()
