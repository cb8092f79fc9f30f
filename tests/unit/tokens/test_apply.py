"""Every treatment of the registry, through `treat`: equal to its function, of the type that `output_type` says."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.contracts import treatments
from cloakhouse.contracts.model import Column, ColumnClass, Reference, Treatment
from cloakhouse.contracts.treatment_faults import GENERALIZE_TYPES, fault_in
from cloakhouse.contracts.treatments import ALPHABETS, REGISTRY
from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.keys.derive import FF1, SIV, KeySource, KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens import fictional, generalize, normalise, scrub, substitute
from cloakhouse.tokens.apply import LOGICAL, Around, check, output_type, treat, untreatable, uses
from cloakhouse.tokens.bucket import bucket
from cloakhouse.tokens.cmac import cmac_tokens
from cloakhouse.tokens.ff1 import ff1_decrypt, ff1_encrypt
from cloakhouse.tokens.mask import fixed, mask
from cloakhouse.tokens.normalise import normalise as normalised
from cloakhouse.tokens.perturb import perturb
from cloakhouse.tokens.place import Place, period_of
from cloakhouse.tokens.prf import row_words, value_words
from cloakhouse.tokens.rare import suppress
from cloakhouse.tokens.render import to_base32, to_hex
from cloakhouse.tokens.rounding import round_to
from cloakhouse.tokens.shuffle import shuffle
from cloakhouse.tokens.siv import siv_tokens

DAY = dt.date(2017, 1, 1)
SAMPLES: dict[str, list[Any]] = {
    "string": ["411111", "Müller", "", None, "500000"],
    "integer": [1, -7, 2**40, None, 0],
    "number": [1.5, -0.25, 0.0, None, 99.99],
    "boolean": [True, False, None, True, False],
    "date": [dt.date(1980, 2, 29), dt.date(1999, 12, 31), DAY, None, dt.date(1900, 1, 1)],
    "timestamp": [
        dt.datetime(2017, 1, 3, 13, 37, 42),
        dt.datetime(2016, 12, 26),
        None,
        dt.datetime(2017, 1, 1),
        dt.datetime(1970, 1, 1),
    ],
}
KEYED = {"domain": "customer", "purpose": "analytics"}
BY_QUARTER = {**KEYED, "period": "quarter"}
GROUPS = {"letters": ["Müller"], "numbers": ["411111", "500000"]}
HIERARCHY = {"file": "a.csv", "level": 1, "sha256": "0" * 64, "labels": {"411111": "four", "1": "one"}}
SUBJECTS = pa.array([7, 8, 7, 8, None], pa.int64())
AROUND = Around(
    Place("people", "2017-02-06", 1, 3),
    {"c": pa.array(["x"] * 5), "household_id": SUBJECTS},
    {"c": pa.array(["411111", "Müller"])},
)


class Keys:
    """A key of its own for every use."""

    def __init__(self) -> None:
        self._made: dict[KeyUse, SecretKey] = {}

    def key(self, use: KeyUse) -> SecretKey:
        return self._made.setdefault(use, SecretKey(os.urandom(use.length)))


def two_layers(values: pa.Array, keys: KeySource, period: str = "") -> pa.Array:
    """Return a token as it is defined: CMAC under the purpose's key of CMAC under the domain's."""
    inner = cmac_tokens(values, keys.key(KeyUse.pseudonym("customer")))
    return cmac_tokens(inner, keys.key(KeyUse.layer("customer", "analytics", period)))


def reversible(values: pa.Array, keys: KeySource, period: str = "") -> pa.Array:
    return siv_tokens(values, keys.key(KeyUse.reversible(SIV, "customer", "analytics", period)))


def one_way(keys: KeySource, algorithm: str, period: str = "") -> SecretKey:
    return keys.key(KeyUse.one_way(algorithm, "customer", "analytics", period))


def noisy(values: pa.Array, keys: KeySource, bound: float, **more: Any) -> pa.Array:
    key = keys.key(KeyUse.one_way("perturb row", "c", ""))
    return perturb(values, bound, row_words(key, b"people/2017-02-06/1/3", len(values)), **more)


def shifted(values: pa.Array, keys: KeySource, kind: str, bound: float) -> pa.Array:
    words = value_words(SUBJECTS[: len(values)], keys.key(KeyUse.one_way(f"perturb {kind}", "household_id", "")))
    return perturb(values, bound, words)


Function = Callable[[pa.Array, KeySource], pa.Array]
CASES: list[tuple[str, dict[str, Any], str, Function]] = [
    *(("keep", {}, kind, lambda values, keys: values) for kind in sorted(SAMPLES)),
    *(("token", KEYED, kind, two_layers) for kind in ("string", "integer", "date")),
    ("token", {**KEYED, "form": "hex"}, "integer", lambda v, k: to_hex(two_layers(v, k))),
    ("token", {**BY_QUARTER, "form": "base32"}, "integer", lambda v, k: to_base32(two_layers(v, k, "2017Q1"))),
    ("token", {**KEYED, "normalise": "name"}, "string", lambda v, k: two_layers(normalised(v, "name"), k)),
    *(("reversible token", KEYED, kind, reversible) for kind in ("string", "integer", "date")),
    ("reversible token", {**BY_QUARTER, "form": "hex"}, "date", lambda v, k: to_hex(reversible(v, k, "2017Q1"))),
    ("mask", {}, "string", lambda v, k: mask(v, 0, 0, "*")),
    ("mask", {"keepPrefix": 1, "keepSuffix": 2, "sign": "#"}, "string", lambda v, k: mask(v, 1, 2, "#")),
    ("mask", {"with": "(hidden)"}, "string", lambda v, k: fixed(v, "(hidden)")),
    *(
        (
            "substitute",
            {**KEYED, "as": "name"},
            kind,
            lambda v, k: substitute.substitute(v, "name", "en_US", one_way(k, "substitute")),
        )
        for kind in ("string", "integer")
    ),
    (
        "substitute",
        {**BY_QUARTER, "as": "phone", "locale": "de_DE"},
        "string",
        lambda v, k: substitute.substitute(v, "phone", "de_DE", one_way(k, "substitute", "2017Q1")),
    ),
    *(
        (
            "shuffle",
            {},
            kind,
            lambda v, k: shuffle(v, k.key(KeyUse.one_way("shuffle", "c", "")), b"people/2017-02-06/1/3"),
        )
        for kind in sorted(SAMPLES)
    ),
    *(
        ("generalize", {"to": unit}, kind, lambda v, k, unit=unit: generalize.floor_time(v, unit))
        for unit in generalize.TIME_UNITS
        for kind in ("timestamp", "date")
    ),
    ("generalize", {"ageBands": [35, 55], "on": DAY}, "date", lambda v, k: generalize.age_band(v, DAY, [35, 55])),
    ("generalize", {"bins": [0, 10]}, "integer", lambda v, k: generalize.numeric_bins(v, [0, 10])),
    ("generalize", {"bins": [0, 10]}, "number", lambda v, k: generalize.numeric_bins(v, [0, 10])),
    ("generalize", {"prefix": 2}, "string", lambda v, k: generalize.prefix(v, 2)),
    ("generalize", {"groups": GROUPS}, "string", lambda v, k: generalize.recode(v, GROUPS, None)),
    ("generalize", {"groups": GROUPS, "other": "rest"}, "string", lambda v, k: generalize.recode(v, GROUPS, "rest")),
    *(
        ("generalize", {"hierarchy": HIERARCHY}, kind, lambda v, k: generalize.recode_by(v, HIERARCHY["labels"], None))
        for kind in ("string", "integer")
    ),
    ("generalize", {"clamp": {"bottom": -1, "top": 9}}, "integer", lambda v, k: generalize.clamp(v, -1, 9)),
    ("generalize", {"clamp": {"top": 1.25}}, "number", lambda v, k: generalize.clamp(v, None, 1.25)),
    ("generalize", {"clamp": {"bottom": DAY}}, "date", lambda v, k: generalize.clamp(v, DAY, None)),
    *(("perturb", {"bound": 3}, kind, lambda v, k: noisy(v, k, 3)) for kind in ("integer", "date", "timestamp")),
    ("perturb", {"bound": 2, "step": 0.5}, "number", lambda v, k: noisy(v, k, 2, step=0.5)),
    *(
        ("perturb", {"bound": 9, "perSubject": "household_id"}, kind, lambda v, k, kind=kind: shifted(v, k, kind, 9))
        for kind in ("integer", "number", "date", "timestamp")
    ),
    ("round", {"to": 5}, "integer", lambda v, k: round_to(v, 5)),
    ("round", {"to": 0.05}, "number", lambda v, k: round_to(v, 0.05)),
    *(
        ("bucket", {**KEYED, "buckets": 10}, kind, lambda v, k: bucket(v, 10, one_way(k, "bucket")))
        for kind in ("string", "integer", "date")
    ),
    (
        "suppress rare",
        {"atLeast": 2, "other": "rest"},
        "string",
        lambda v, k: suppress(v, AROUND.frequent["c"], "rest"),
    ),
    ("scrub", {}, "string", lambda v, k: scrub.scrub(v)),
    ("scrub", {"kinds": ["email"]}, "string", lambda v, k: scrub.scrub(v, ["email"])),
]
MAY_BE_NULL = ("groups", "hierarchy", "perSubject")


def column_of(treatment: str, parameters: dict[str, Any], kind: str) -> Column:
    declared = {key: value for key, value in parameters.items() if key != "hierarchy"}
    if len(declared) == len(parameters):
        assert fault_in(treatment, parameters, kind) is None
    return Column("c", kind, False, ColumnClass.SENSITIVE, Treatment(treatment, parameters))


def beside(rows: int) -> Around:
    """Return AROUND for as many rows."""
    columns = {name: values[:rows] for name, values in AROUND.columns.items()}
    return dataclasses.replace(AROUND, columns=columns)


@pytest.fixture(scope="module")
def keys() -> KeySource:
    return Keys()


def test_every_treatment_and_every_type_it_takes_is_tried() -> None:
    tried = {(name, kind) for name, _, kind, _ in CASES} | {("format-preserving token", "string")}
    wanted = {(name, kind) for name, spec in REGISTRY.items() for kind in spec.types if name != "drop"}
    assert tried == wanted - {("suppress rare", "integer")}
    choices = {
        (key, kind)
        for name, given, kind, _ in CASES
        for key in given
        if name == "generalize" and key in GENERALIZE_TYPES
    }
    assert choices == {(key, kind) for key, kinds in GENERALIZE_TYPES.items() for kind in kinds}


def test_what_a_contract_may_name_is_what_there_is() -> None:
    assert tuple(fictional.LOCALES) == treatments.LOCALES
    assert sorted(substitute.CHOICES) == sorted(treatments.SUBSTITUTES)
    assert sorted(normalise.HOWS) == sorted(treatments.NORMALISATIONS)
    assert sorted(scrub.ALL_KINDS) == sorted(treatments.FINDABLE)
    assert treatments.TIME_UNITS == generalize.TIME_UNITS


@pytest.mark.parametrize(("treatment", "parameters", "kind", "function"), CASES)
def test_a_treatment_is_its_function_and_gives_its_type(
    keys: KeySource, treatment: str, parameters: dict[str, Any], kind: str, function: Function
) -> None:
    column = column_of(treatment, parameters, kind)
    values = pa.array(SAMPLES[kind], LOGICAL[kind])
    assert not untreatable(values, column).any()
    treated = treat(values, column, keys, AROUND)
    assert treated.equals(function(values, keys))
    assert treated.type == output_type(column)
    assert len(treated) == len(values)
    if treatment != "shuffle" and not parameters.keys() & set(MAY_BE_NULL):
        assert treated.is_null().equals(values.is_null())
    empty = treat(values.slice(0, 0), column, keys, beside(0))
    assert (len(empty), empty.type) == (0, output_type(column))
    nothing = treat(pa.nulls(3, LOGICAL[kind]), column, keys, beside(3))
    assert (nothing.null_count, nothing.type) == (3, output_type(column))
    check([column])


def test_settings_that_a_treatment_cannot_take_are_found_without_data() -> None:
    fine = Column("c", "number", False, ColumnClass.SENSITIVE, Treatment("round", {"to": 0.5}))
    check([fine])
    for name, parameters in (("round", {"to": -1}), ("perturb", {"bound": 0.001})):
        with pytest.raises(ContractError):
            check([dataclasses.replace(fine, treatment=Treatment(name, parameters))])


def test_bounds_of_the_contract_hold_after_noise(keys: KeySource) -> None:
    born = Column(
        "c", "timestamp", False, ColumnClass.SENSITIVE, Treatment("perturb", {"bound": 90_000}), dt.date(2017, 1, 3)
    )
    values = pa.array([dt.datetime(2017, 1, 3, 0, 0, 1)] * 200, pa.timestamp("us"))
    moved = treat(values, born, keys, AROUND).to_pylist()
    assert min(moved) == dt.datetime(2017, 1, 3)
    assert max(moved) > dt.datetime(2017, 1, 3, 6)


@pytest.mark.parametrize("subject", [{}, {"perSubject": "household_id"}])
@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        ("date", dt.date.min, dt.date.max),
        ("timestamp", dt.datetime.min, dt.datetime(9999, 12, 31)),
    ],
)
def test_noise_never_leaves_the_calendar(
    keys: KeySource, kind: str, first: dt.date, last: dt.date, subject: dict[str, str]
) -> None:
    bound = 300 if kind == "date" else 300 * 86_400
    column = column_of("perturb", {"bound": bound, **subject}, kind)
    people = pa.array(range(200), pa.int64())
    around = dataclasses.replace(AROUND, columns={"household_id": people})
    for end in (first, last):
        moved = treat(pa.array([end] * 200, LOGICAL[kind]), column, keys, around).to_pylist()
        assert (min(moved), max(moved))[end == last] == end
        assert len(set(moved)) > 20


@pytest.mark.parametrize("name", sorted({treatment for treatment, *_ in CASES}))
def test_a_reference_needs_a_treatment_by_value(name: str) -> None:
    parameters, kind = next((p, kind) for treatment, p, kind, _ in CASES if treatment == name)
    column = dataclasses.replace(column_of(name, parameters, kind), reference=Reference("people", "id"))
    if name not in ("shuffle", "perturb", "suppress rare"):
        check([column])
        return
    with pytest.raises(ContractError) as caught:
        check([column])
    assert caught.value.code == "contract.reference"
    assert "token" in caught.value.expected
    assert name not in caught.value.expected.split("one of ")[1].split(", ")


def test_the_keys_of_a_column_are_those_of_its_purpose_and_period() -> None:
    def used(treatment: str, parameters: dict[str, Any], kind: str = "string") -> tuple[KeyUse, ...]:
        return uses(column_of(treatment, parameters, kind), "2017Q1")

    assert used("token", BY_QUARTER) == (
        KeyUse.pseudonym("customer"),
        KeyUse.layer("customer", "analytics", "2017Q1"),
    )
    assert used("token", KEYED)[1] == KeyUse.layer("customer", "analytics")
    card = {**KEYED, "length": 16}
    assert used("format-preserving token", card) == (KeyUse.reversible(FF1, "customer", "analytics"),)
    assert used("reversible token", BY_QUARTER) == (KeyUse.reversible(SIV, "customer", "analytics", "2017Q1"),)
    for name, parameters in (("keep", {}), ("mask", {}), ("scrub", {})):
        assert used(name, parameters) == ()
    assert used("perturb", {"bound": 3, "perSubject": "h"}, "date") == used(
        "perturb", {"bound": 9, "perSubject": "h"}, "date"
    )
    assert [period_of(dt.date(2026, month, 1), "quarter") for month in (1, 3, 4, 12)] == [
        "2026Q1",
        "2026Q1",
        "2026Q2",
        "2026Q4",
    ]
    assert (period_of(DAY, "month"), period_of(DAY, "year"), AROUND.place.period(None)) == ("2017-01", "2017", "")
    with pytest.raises(ValueError, match="fortnight"):
        period_of(DAY, "fortnight")


def test_two_purposes_or_periods_join_no_better_than_chance(keys: KeySource) -> None:
    values = pa.array(range(20_000), pa.int64())
    scopes = [(p, q) for p in ("analytics", "marketing") for q in ("2017-02-06", "2017-05-01")]
    made = [
        set(
            treat(
                values, column_of("token", {**BY_QUARTER, "purpose": purpose}, "integer"), keys, Around(Place("a", day))
            ).to_pylist()
        )
        for purpose, day in scopes
    ]
    assert [len(tokens) for tokens in made] == [20_000] * 4
    assert len(set.union(*made)) == 80_000
    again = treat(values, column_of("token", BY_QUARTER, "integer"), keys, Around(Place("other", "2017-03-27")))
    assert set(again.to_pylist()) == made[0]


@pytest.mark.parametrize("luhn", ["valid", "invalid"])
def test_cards_with_a_check_digit_and_separators(keys: KeySource, luhn: str) -> None:
    parameters = {**KEYED, "length": 16, "keepPrefix": 6, "luhn": luhn, "normalise": "digits"}
    column = column_of("format-preserving token", parameters, "string")
    values = pa.array(["4111 1111-1111 1111", "4111111111111111", "4111111111111112", "4111x11111111111", None])
    assert untreatable(values, column).tolist() == [False, False, True, True, False]
    first, second, _ = treat(values.take([0, 1, 4]), column, keys, AROUND).to_pylist()
    assert first == second
    assert (len(first), first[:6]) == (16, "411111")
    odd, even = first[-1::-2], first[-2::-2]
    total = sum(map(int, odd)) + sum(sum(divmod(2 * int(digit), 10)) for digit in even)
    assert (total % 10 == 0) == (luhn == "valid")


@pytest.mark.parametrize(("alphabet", "sign"), [("digits", "7"), ("base36", "z")])
def test_ff1_by_domain_alphabet_and_kept_ends(keys: KeySource, alphabet: str, sign: str) -> None:
    parameters = {"domain": "card", "purpose": "analytics", "length": 16, "keepPrefix": 6, "keepSuffix": 4}
    column = column_of("format-preserving token", {**parameters, "alphabet": alphabet}, "string")
    values = pa.array(["4111111111111111", sign * 16, None, "4111111111111111"])
    treated = treat(values, column, keys, AROUND)
    settings = {"alphabet": ALPHABETS[alphabet], "keep_prefix": 6, "keep_suffix": 4}
    key = keys.key(KeyUse.reversible(FF1, "card", "analytics"))
    assert treated.equals(ff1_encrypt(values, key, **settings))
    assert treated.type == output_type(column)
    assert ff1_decrypt(treated, key, **settings).equals(values)
    first, second, third, fourth = treated.to_pylist()
    assert (first[:6], first[-4:], third, fourth) == ("411111", "1111", None, first)
    assert first not in (None, "4111111111111111")
    assert second != sign * 16


def test_ff1_quarantines_another_length_or_alphabet_and_refuses_it_in_treat(keys: KeySource) -> None:
    parameters = {"domain": "loyalty", "purpose": "analytics", "length": 12}
    column = column_of("format-preserving token", parameters, "string")
    values = pa.array(["123456789012", "12345678901", "1234567890123", "12345678901x", "", None, "１23456789012"])
    bad = untreatable(values, column)
    assert bad.dtype == np.bool_
    assert bad.tolist() == [False, True, True, True, True, False, True]
    with pytest.raises(TreatmentError) as caught:
        treat(values, column, keys, AROUND)
    assert "12345678901x" not in str(caught.value)


def test_a_birth_after_the_day_is_quarantined_and_refused_in_treat(keys: KeySource) -> None:
    column = column_of("generalize", {"ageBands": [35], "on": DAY}, "date")
    values = pa.array([DAY, DAY + dt.timedelta(days=1), None, dt.date(1900, 1, 1)])
    assert untreatable(values, column).tolist() == [False, True, False, False]
    with pytest.raises(TreatmentError):
        treat(values, column, keys, AROUND)


def test_tokens_differ_by_domain_and_purpose_and_join_within_them(keys: KeySource) -> None:
    values = pa.array([1, 2, 3, 1], pa.int64())
    made = [
        treat(values, column_of("token", {"domain": domain, "purpose": purpose}, "integer"), keys, AROUND)
        for domain, purpose in (("customer", "analytics"), ("customer", "care"), ("basket", "analytics"))
    ]
    assert all(tokens.type == pa.binary(16) for tokens in made)
    distinct = {token for tokens in made for token in tokens.to_pylist()}
    assert len(distinct) == 9
    again = treat(values.cast(pa.int32()), column_of("token", KEYED, "integer"), keys, AROUND)
    assert again.equals(made[0])
    assert made[0][0] == made[0][3]


def test_a_sliced_column_is_treated_as_its_rows(keys: KeySource) -> None:
    for treatment, parameters, kind, _ in CASES:
        if treatment in ("shuffle", "perturb"):
            continue  # by row, not by value
        column = column_of(treatment, parameters, kind)
        values = pa.array(SAMPLES[kind], LOGICAL[kind])
        whole = treat(values, column, keys, AROUND)
        assert treat(values.slice(1, 3), column, keys, AROUND).to_pylist() == whole.to_pylist()[1:4]
