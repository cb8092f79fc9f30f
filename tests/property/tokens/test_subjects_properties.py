"""A person has one rights token: from the plain identifier, and from the token of any purpose, in any form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.contracts.model import Column, ColumnClass, Treatment
from cloakhouse.errors import ContractError
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.apply import Around, treat
from cloakhouse.tokens.keyed import read_back
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.subjects import RIGHTS_TYPE, layer_of, rights_of_tokens, rights_tokens, tokens_of_rights


class Keys:
    """A key for each use, made from its fields."""

    def key(self, use: KeyUse) -> SecretKey:
        text = "|".join((use.root, use.algorithm, use.domain, use.purpose, use.period))
        return SecretKey(text.encode().ljust(64, b".")[-32:] if len(text) > 32 else text.encode().ljust(32, b"."))


KEYS: Any = Keys()


def person_column(kind: str, purpose: str, form: str, how: str = "exact") -> Column:
    parameters = {"domain": "customer", "purpose": purpose, "form": form, "normalise": how}
    return Column("person", kind, True, ColumnClass.DIRECT, Treatment("token", parameters))


COLUMNS = st.builds(
    person_column,
    st.just("string"),
    st.sampled_from(["analytics", "sharing"]),
    st.sampled_from(["binary", "hex", "base32"]),
    st.sampled_from(["exact", "email", "name"]),
)
NAMES = st.lists(st.none() | st.text("abAB éß@.", min_size=1, max_size=8).filter(str.strip), max_size=12)


def treated(values: pa.Array, column: Column) -> pa.Array:
    return treat(values, column, KEYS, Around(Place("people", "2017-01-01", 0)))


@given(names=NAMES, column=COLUMNS)
def test_the_rights_token_of_a_value_is_that_of_its_token(names: list[str | None], column: Column) -> None:
    values = pa.array(names, pa.string())
    plain = rights_tokens(values, column, KEYS)
    assert plain.type == RIGHTS_TYPE
    assert rights_of_tokens(treated(values, column), column, KEYS).equals(plain)
    assert plain.null_count == values.null_count


@given(names=NAMES, column=COLUMNS, cut=st.integers(0, 12))
def test_a_chunked_column_has_the_same_rights_tokens(names: list[str | None], column: Column, cut: int) -> None:
    values = pa.array(names, pa.string())
    chunks = pa.chunked_array([values[:cut], values[cut:]], pa.string())
    assert rights_tokens(chunks, column, KEYS).equals(rights_tokens(values, column, KEYS))
    tokens = treated(values, column)
    parts = pa.chunked_array([tokens[:cut], tokens[cut:]], tokens.type)
    assert rights_of_tokens(parts, column, KEYS).equals(rights_of_tokens(tokens, column, KEYS))


@given(ids=st.lists(st.integers(1, 2**53), min_size=1, unique=True, max_size=12), purpose=st.sampled_from("ab"))
def test_the_way_back_ends_at_the_token_of_the_column(ids: list[int], purpose: str) -> None:
    column = person_column("integer", purpose, "hex")
    values = pa.array(ids, pa.int64())
    rights = rights_tokens(values, column, KEYS)
    tokens = read_back(treated(values, column), column.treatment.parameters, column="person")
    assert tokens_of_rights(rights, column, KEYS).equals(tokens)
    assert not set(rights.to_pylist()) & set(tokens.to_pylist())
    assert len(set(rights.to_pylist())) == len(ids)


def test_persons_of_two_domains_and_columns_of_two_purposes_have_nothing_in_common() -> None:
    values, column = pa.array([1, 2, 3]), person_column("integer", "analytics", "binary")
    elsewhere = replace(column, treatment=Treatment("token", {**column.treatment.parameters, "domain": "visitor"}))
    other = person_column("integer", "sharing", "binary")
    assert rights_tokens(values, column, KEYS).equals(rights_tokens(values, other, KEYS))
    assert set(rights_tokens(values, elsewhere, KEYS).to_pylist()).isdisjoint(
        rights_tokens(values, column, KEYS).to_pylist()
    )
    assert not treated(values, column).equals(treated(values, other))


@pytest.mark.parametrize("treatment", [Treatment("keep", {}), Treatment("token", {"domain": "a", "period": "day"})])
def test_a_column_that_can_not_name_persons_for_good_is_refused(treatment: Treatment) -> None:
    column = replace(person_column("integer", "analytics", "binary"), treatment=treatment)
    with pytest.raises(ContractError):
        layer_of(column)
