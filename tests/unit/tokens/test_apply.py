"""Every treatment of the registry, through `treat`: equal to its function, of the type that `output_type` says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.contracts.model import Column, ColumnClass, Treatment
from cloakhouse.contracts.treatments import ALPHABETS, GENERALIZE_TYPES, REGISTRY, fault_in
from cloakhouse.errors import TreatmentError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.tokens import generalize
from cloakhouse.tokens.apply import LOGICAL, TOKEN_TYPE, output_type, treat, untreatable
from cloakhouse.tokens.cmac import cmac_tokens
from cloakhouse.tokens.ff1 import ff1_decrypt, ff1_encrypt
from cloakhouse.tokens.mask import mask

DAY = dt.date(2017, 1, 1)
SAMPLES: dict[str, list[Any]] = {
    "string": ["411111", "Müller", "", None, "500000"],
    "integer": [1, -7, 2**40, None, 0],
    "number": [1.5, -0.25, 0.0, None, 99.99],
    "boolean": [True, False, None, True, False],
    "date": [dt.date(1980, 2, 29), dt.date(1999, 12, 31), DAY, None, dt.date(1900, 1, 1)],
    "timestamp": [dt.datetime(2017, 1, 3, 13, 37, 42), dt.datetime(2016, 12, 26), None] * 2,
}
KEYED = {"domain": "customer", "purpose": "analytics"}
GROUPS = {"letters": ["Müller"], "numbers": ["411111", "500000"]}

Function = Callable[[pa.Array, TokenKeys], pa.Array]
CASES: list[tuple[str, dict[str, Any], str, Function]] = [
    *(("keep", {}, kind, lambda values, keys: values) for kind in sorted(SAMPLES)),
    *(
        ("token", KEYED, kind, lambda v, k: cmac_tokens(v, k.key("AES-256-CMAC", "customer", "analytics")))
        for kind in ("string", "integer", "date")
    ),
    ("mask", {}, "string", lambda v, k: mask(v, 0, 0, "*")),
    ("mask", {"keepPrefix": 1, "keepSuffix": 2, "sign": "#"}, "string", lambda v, k: mask(v, 1, 2, "#")),
    *(
        ("generalize", {"to": unit}, kind, lambda v, k, unit=unit: generalize.floor_time(v, unit))
        for unit in generalize.TIME_UNITS
        for kind in ("timestamp", "date")
    ),
    (
        "generalize",
        {"ageBands": [35, 55], "on": DAY},
        "date",
        lambda v, k: generalize.age_band(v, DAY, [35, 55]),
    ),
    ("generalize", {"bins": [0, 10]}, "integer", lambda v, k: generalize.numeric_bins(v, [0, 10])),
    ("generalize", {"bins": [0, 10]}, "number", lambda v, k: generalize.numeric_bins(v, [0, 10])),
    ("generalize", {"prefix": 2}, "string", lambda v, k: generalize.prefix(v, 2)),
    ("generalize", {"groups": GROUPS}, "string", lambda v, k: generalize.recode(v, GROUPS, None)),
    (
        "generalize",
        {"groups": GROUPS, "other": "rest"},
        "string",
        lambda v, k: generalize.recode(v, GROUPS, "rest"),
    ),
]


def column_of(treatment: str, parameters: dict[str, Any], kind: str) -> Column:
    assert fault_in(treatment, parameters, kind) is None
    return Column("c", kind, False, ColumnClass.SENSITIVE, Treatment(treatment, parameters))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> TokenKeys:
    folder = tmp_path_factory.mktemp("keys")
    made = TokenKeys(AgeKeyService(folder / "keystore"), folder / "root.json")
    made.ensure_root()
    return made


def test_every_treatment_and_every_type_it_takes_is_tried() -> None:
    tried = {(name, kind) for name, _, kind, _ in CASES} | {("format-preserving token", "string")}
    wanted = {(name, kind) for name, spec in REGISTRY.items() for kind in spec.types if name != "drop"}
    assert tried == wanted
    choices = {(key, kind) for _, given, kind, _ in CASES for key in given if key in GENERALIZE_TYPES}
    assert choices == {(key, kind) for key, kinds in GENERALIZE_TYPES.items() for kind in kinds}


@pytest.mark.parametrize(("treatment", "parameters", "kind", "function"), CASES)
def test_a_treatment_is_its_function_and_gives_its_type(
    keys: TokenKeys, treatment: str, parameters: dict[str, Any], kind: str, function: Function
) -> None:
    column = column_of(treatment, parameters, kind)
    values = pa.array(SAMPLES[kind], LOGICAL[kind])
    assert not untreatable(values, column).any()
    treated = treat(values, column, keys)
    assert treated.equals(function(values, keys))
    assert treated.type == output_type(column)
    assert len(treated) == len(values)
    if "groups" not in parameters:
        assert treated.is_null().equals(values.is_null())
    empty = treat(values.slice(0, 0), column, keys)
    assert (len(empty), empty.type) == (0, output_type(column))
    nothing = treat(pa.nulls(3, LOGICAL[kind]), column, keys)
    assert (nothing.null_count, nothing.type) == (3, output_type(column))


@pytest.mark.parametrize(("alphabet", "sign"), [("digits", "7"), ("base36", "z")])
def test_ff1_by_domain_alphabet_and_kept_ends(keys: TokenKeys, alphabet: str, sign: str) -> None:
    parameters = {"domain": "card", "purpose": "analytics", "length": 16, "keepPrefix": 6, "keepSuffix": 4}
    column = column_of("format-preserving token", {**parameters, "alphabet": alphabet}, "string")
    values = pa.array(["4111111111111111", sign * 16, None, "4111111111111111"])
    treated = treat(values, column, keys)
    settings = {"alphabet": ALPHABETS[alphabet], "keep_prefix": 6, "keep_suffix": 4}
    key = keys.key("FF1", "card", "analytics")
    assert treated.equals(ff1_encrypt(values, key, **settings))
    assert treated.type == output_type(column)
    assert ff1_decrypt(treated, key, **settings).equals(values)
    first, second, third, fourth = treated.to_pylist()
    assert (first[:6], first[-4:], third, fourth) == ("411111", "1111", None, first)
    assert first not in (None, "4111111111111111")
    assert second != sign * 16


def test_ff1_quarantines_another_length_or_alphabet_and_refuses_it_in_treat(keys: TokenKeys) -> None:
    parameters = {"domain": "loyalty", "purpose": "analytics", "length": 12}
    column = column_of("format-preserving token", parameters, "string")
    values = pa.array(["123456789012", "12345678901", "1234567890123", "12345678901x", "", None, "１23456789012"])
    bad = untreatable(values, column)
    assert bad.dtype == np.bool_
    assert bad.tolist() == [False, True, True, True, True, False, True]
    with pytest.raises(TreatmentError) as caught:
        treat(values, column, keys)
    assert "12345678901x" not in str(caught.value)


def test_a_birth_after_the_day_is_quarantined_and_refused_in_treat(keys: TokenKeys) -> None:
    column = column_of("generalize", {"ageBands": [35], "on": DAY}, "date")
    values = pa.array([DAY, DAY + dt.timedelta(days=1), None, dt.date(1900, 1, 1)])
    assert untreatable(values, column).tolist() == [False, True, False, False]
    with pytest.raises(TreatmentError):
        treat(values, column, keys)


def test_tokens_differ_by_domain_and_purpose_and_join_within_them(keys: TokenKeys) -> None:
    values = pa.array([1, 2, 3, 1], pa.int64())
    made = [
        treat(values, column_of("token", {"domain": domain, "purpose": purpose}, "integer"), keys)
        for domain, purpose in (("customer", "analytics"), ("customer", "care"), ("basket", "analytics"))
    ]
    assert all(tokens.type == TOKEN_TYPE for tokens in made)
    distinct = {token for tokens in made for token in tokens.to_pylist()}
    assert len(distinct) == 9
    again = treat(values.cast(pa.int32()), column_of("token", KEYED, "integer"), keys)
    assert again.equals(made[0])
    assert made[0][0] == made[0][3]


def test_a_sliced_column_is_treated_as_its_rows(keys: TokenKeys) -> None:
    for treatment, parameters, kind, _ in CASES:
        column = column_of(treatment, parameters, kind)
        values = pa.array(SAMPLES[kind], LOGICAL[kind])
        whole = treat(values, column, keys)
        assert treat(values.slice(1, 3), column, keys).to_pylist() == whole.to_pylist()[1:4]
