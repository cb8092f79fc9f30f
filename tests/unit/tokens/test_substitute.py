"""Substitutes: forms by country, telephone numbers, consistency, layouts, the lists' version, refusals."""

from __future__ import annotations

import hashlib
import json
import re

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens import fictional
from cloakhouse.tokens.fictional import fiction
from cloakhouse.tokens.substitute import CHOICES, LOCALES, SUBSTITUTION_VERSION, distinct, substitute

KEY, OTHER = SecretKey(bytes(range(32))), SecretKey(bytes(range(1, 33)))
VALUES = pa.array([f"customer {number}" for number in range(3000)])
STREET = {
    "en_US": r"\d{3} [A-Z][\w ]+",
    "en_GB": r"\d{1,3} [A-Z][\w ]+",
    "de_DE": r"[A-Z][\w ]+ \d{1,3}",
    "fr_FR": r"\d{1,3} [\w '-]+",
    "es_ES": r"[A-Z][\w ]+, \d{1,3}",
    "it_IT": r"[A-Z][\w ']+ \d{1,3}",
    "nl_NL": r"[A-Z]\w+ \d{1,3}",
    "pt_BR": r"[A-Z][\w ]+, \d{1,3}",
}
POSTCODE = {
    "en_US": r"\d{5}",
    "en_GB": r"[A-Z]{2}\d \d[A-Z]{2}",
    "de_DE": r"\d{5}",
    "fr_FR": r"(?!00|9[6-9])\d{5}",
    "es_ES": r"(?:0[1-9]|[1-4]\d|5[0-2])\d{3}",
    "it_IT": r"\d{5}",
    "nl_NL": r"[1-9]\d{3} (?!SA|SD|SS)[A-Z]{2}",
    "pt_BR": r"\d{5}-\d{3}",
}
PHONE = {
    "en_US": r"[2-7]\d\d-555-01\d\d",
    "en_GB": r"(?:01(?:1[3-8]|[2-6]1) 496 0|0191 498 0|020 7946 0|028 9649 6|029 2018 0|01632 960|07700 900)\d{3}",
    "de_DE": r"(?:030 23125|069 90009|040 66969|0221 4710|089 99998)\d{3}",
    "fr_FR": r"(?:01 99 00|02 61 91|03 53 01|04 65 71|05 36 49|06 39 98) \d\d \d\d",
    "es_ES": r"3\d\d \d{3} \d{3}",
    "it_IT": r"9\d\d \d{7}",
    "nl_NL": r"06 9\d{7}",
    "pt_BR": r"\(20\) 9\d{4}-\d{4}",
}
LISTS_BY_VERSION = {1: "ed783da570629f0055d73bdc9022cfda7312e74f8c277b3bd61db3b1d9c01df9"}
SUBSTITUTES_BY_VERSION = {1: "f1e3e1a738791f426176f261f78c7be369361515e725648129cc5d6deff2e977"}


def made(as_: str, locale: str, key: SecretKey = KEY) -> list[str]:
    result: list[str] = substitute(VALUES, as_, locale, key).to_pylist()
    return result


def test_the_lists_of_this_version() -> None:
    """Other lists give other substitutes: raise SUBSTITUTION_VERSION, and only then add its digest here."""
    assert fictional.digest() == LISTS_BY_VERSION[SUBSTITUTION_VERSION]


def test_the_substitutes_of_this_version() -> None:
    everything = [made(as_, locale)[:20] for as_ in CHOICES for locale in LOCALES]
    assert hashlib.sha256(json.dumps(everything).encode()).hexdigest() == SUBSTITUTES_BY_VERSION[SUBSTITUTION_VERSION]


@pytest.mark.parametrize("locale", LOCALES)
def test_lists_are_long_enough_and_say_nothing_twice(locale: str) -> None:
    lists = fiction(locale)
    least = {"given": 64, "family": 64, "streets": 32, "towns": 24}
    for name, size in least.items():
        entries = getattr(lists, name)
        assert len(set(entries)) == len(entries) >= size, name
        assert all(entry and entry == entry.strip() and entry[0].isalpha() for entry in entries), name
    for names in (lists.given, lists.family):
        assert len({fictional.ascii_word(name) for name in names}) == len(names)


@pytest.mark.parametrize("locale", LOCALES)
def test_forms(locale: str) -> None:
    lists = fiction(locale)
    towns = "|".join(map(re.escape, lists.towns))
    address = lists.address.replace("{line}", STREET[locale])
    address = address.replace("{postcode}", POSTCODE[locale]).replace("{town}", f"(?:{towns})")
    names = {f"{given} {family}" for given in lists.given for family in lists.family}
    assert set(made("name", locale)) <= names
    assert set(made("given name", locale)) == set(lists.given)  # 3000 values show every one
    assert set(made("family name", locale)) == set(lists.family)
    assert set(made("city", locale)) == set(lists.towns)
    local = r"[a-z]+(?:-[a-z]+)?"
    for as_, pattern in {
        "email": rf"{local}\.{local}\.\d{{6}}@example\.(?:com|net|org)",
        "phone": PHONE[locale],
        "street": STREET[locale],
        "postcode": POSTCODE[locale],
        "address": address,
    }.items():
        wrong = [text for text in made(as_, locale) if not re.fullmatch(pattern, text)]
        assert wrong == [], as_
    assert "".join(made("email", locale)).isascii()


def test_the_names_of_one_value_agree() -> None:
    for name, given, family, email in zip(
        *(made(as_, "de_DE") for as_ in ("name", "given name", "family name", "email")), strict=True
    ):
        assert name == f"{given} {family}"
        assert email.startswith(f"{fictional.ascii_word(given)}.{fictional.ascii_word(family)}.")


@pytest.mark.parametrize("as_", CHOICES)
def test_the_same_under_one_key_and_others_under_another(as_: str) -> None:
    first = made(as_, "fr_FR")
    assert made(as_, "fr_FR") == first
    shared = sum(one == other for one, other in zip(first, made(as_, "fr_FR", OTHER), strict=True))
    assert shared < 200  # of 3000, by chance: 100 of 30 towns


def test_draws_are_spread_evenly() -> None:
    values = pa.array(range(60_000), pa.int64())
    counts = substitute(values, "city", "it_IT", KEY).value_counts().field("counts").to_pylist()
    assert len(counts) == 30
    assert sum((count - 2000) ** 2 / 2000 for count in counts) < 70  # chi-squared, 29 degrees: p < 1e-4 above


def test_how_many_there_are() -> None:
    lists = fiction("en_US")
    names = len(lists.given) * len(lists.family)
    assert distinct("name", "en_US") == names
    assert distinct("family name", "en_US") == len(lists.family)
    assert distinct("email", "en_US") == names * 10**6 * 3
    assert distinct("phone", "en_US") == 4000
    seen = len(set(made("phone", "en_US")))
    assert abs(seen - 4000 * (1 - (1 - 1 / 4000) ** 3000)) < 100
    assert len(set(made("email", "en_US"))) == 3000


@pytest.mark.parametrize("as_", CHOICES)
@pytest.mark.parametrize("locale", LOCALES)
def test_a_word_has_enough_for_every_draw_from_it(as_: str, locale: str) -> None:
    from cloakhouse.tokens.substitute import _recipe

    room = [1, 1]
    for piece in _recipe(as_, fiction(locale)):
        room[piece.word] *= len(piece.choices)
    assert max(room) <= 2**32  # so that no draw is off by more than 2^-32


def test_nulls_empty_text_and_layouts() -> None:
    texts = ["Ann", None, "", "Bob", "Ann", " "]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        result = substitute(pa.array(["x", *texts], kind).slice(1), "name", "en_GB", KEY)
        assert result.type == pa.string()
        ann, null, empty, bob, again, blank = result.to_pylist()
        assert (null, empty) == (None, "")
        assert ann == again
        assert len({ann, bob, blank}) == 3
    values = pa.array(texts)
    assert substitute(values.dictionary_encode(), "name", "en_GB", KEY).equals(result)
    chunked = substitute(pa.chunked_array([values, values.slice(0, 0)]), "name", "en_GB", KEY)
    assert chunked.equals(pa.chunked_array([result, result.slice(0, 0)]))
    for nothing in (pa.array([], pa.string()), pa.nulls(2, pa.string()), pa.nulls(2, pa.int32())):
        assert substitute(nothing, "email", "en_GB", KEY).equals(nothing.cast(pa.string()))


def test_integers_of_any_width_and_rows_beyond_one_batch() -> None:
    wide = pa.array(range(70_000), pa.int64())
    assert substitute(wide, "name", "pt_BR", KEY).equals(substitute(wide.cast(pa.uint32()), "name", "pt_BR", KEY))
    last = substitute(wide.slice(69_998), "name", "pt_BR", KEY)
    assert substitute(wide, "name", "pt_BR", KEY).slice(69_998).equals(last)
    seven = substitute(pa.array([7, None]), "address", "nl_NL", KEY).to_pylist()
    assert seven[1] is None
    assert seven[0] != substitute(pa.array(["7"]), "address", "nl_NL", KEY)[0].as_py()


@pytest.mark.parametrize(("as_", "locale"), [("nickname", "en_US"), ("name", "xx_XX"), ("", "")])
def test_unusable_settings(as_: str, locale: str) -> None:
    with pytest.raises(ContractError):
        substitute(VALUES, as_, locale, KEY)
    with pytest.raises(ContractError):
        distinct(as_, locale)


@pytest.mark.parametrize("values", [pa.array([1.5]), pa.array([True]), pa.array([b"x"]), pa.chunked_array([[1.5]])])
def test_other_types(values: pa.Array) -> None:
    with pytest.raises(TreatmentError):
        substitute(values, "name", "en_US", KEY)
